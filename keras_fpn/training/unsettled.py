"""The last epoch of a run that was stopped after its checkpoint and before all that follows from it was done."""

import math
from pathlib import Path

from keras_fpn.models.detector import Detector
from keras_fpn.training.callbacks import COCOEvaluation
from keras_fpn.training.progress import step_of
from keras_fpn.training.run_folder import FACTS, Checkpoints, read_results, write_results
from keras_fpn.training.schedule import Schedule


def settle(
    model: Detector, schedule: Schedule, results: Path, evaluation: COCOEvaluation | None, best: Checkpoints
) -> None:
    """Evaluate the epoch that a model is at the end of, where that is owed, and keep the model if it is the best.

    Args:
        results: results.csv. Rows of epochs after the checkpoint, which will be trained again, are taken out.
    """
    step, all_rows = step_of(model), read_results(results, FACTS)
    rows = [row for row in all_rows if row["step"] <= step]
    if len(rows) < len(all_rows):
        write_results(results, rows)
    if not step or (step % schedule.steps_per_epoch and step != schedule.total_steps):
        return
    epoch = math.ceil(step / schedule.steps_per_epoch) - 1
    has_row = bool(rows) and rows[-1]["step"] == step
    is_measured = has_row and any(name.startswith("val_") for name in rows[-1])
    is_due = evaluation is not None and (epoch + 1 == schedule.epochs or (epoch + 1) % evaluation.every == 0)
    if evaluation is not None and is_due and not is_measured:
        print(f"epoch {epoch + 1}/{schedule.epochs}: its evaluation, before which the run was stopped", flush=True)
        evaluation.set_model(model)
        evaluation.set_params({"epochs": schedule.epochs})
        logs: dict[str, float] = {}
        evaluation.on_epoch_end(epoch, logs)
        row = rows.pop() if has_row else {"epoch": epoch + 1, "step": step, "seconds": 0.0}
        write_results(results, [*rows, row | logs])
    best.set_model(model)
    best.on_epoch_end(epoch)
