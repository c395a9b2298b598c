"""The run folder: what a training run keeps on disk, every file whole or not there at all.

config.yaml      every setting, resolved: what `train --resume` goes on with
model.keras      the best model by its main metric (val_AP; of an RPN val_proposals/AR1000), or the last one where
                 nothing was evaluated on the way
last.keras       model and optimizer at the last checkpoint: of an epoch it is there before its evaluation begins
previous.keras   the checkpoint before that one, for when last.keras is damaged
results.csv      a row for each epoch: losses, recalls, learning rate, val_AP ...; "steps" are those that the means are
                 over, fewer than an epoch has where the run went on inside of it
began.json       settings and data that the run began with, to notice what is changed before it goes on (`restart`)
run.lock         while a process trains there: which one (`lock`)
logs/            the same for TensorBoard
train_batch.jpg  what the network is fed
val_detections.jpg, results.json
                 what it finds in the validation images: some beside the ground truth, all as COCO results (of
                 segments the 100 best of each image; evaluate --json writes all)
report.html      metrics, curves and pictures on one page
metrics.json     COCO metrics of model.keras; its presence says that the run is finished
"""

import csv
import io
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from keras_fpn import __version__
from keras_fpn.config.loading import Config
from keras_fpn.console.errors import UserError
from keras_fpn.console.files import write_text
from keras_fpn.evaluation.coco import COCOEvaluator
from keras_fpn.metrics import all_families, families_in
from keras_fpn.models.detector import Detector
from keras_fpn.models.writing import save_model, save_plain_model
from keras_fpn.parts.output_fields import OutputField
from keras_fpn.reporting import report, visualize
from keras_fpn.training.progress import step_of

# Columns of results.csv that every row of a run has.
FACTS = ("epoch", "step", "seconds")


def read_results(path: str | os.PathLike, needs: Sequence[str] = ("epoch",)) -> list[dict]:
    """Return the rows of a results.csv, numbers as float, empty cells left out; [] where there is no file.

    Raises:
        UserError: it is no table of numbers, or a row has nothing in one of the columns that it `needs`.
    """
    if not Path(path).is_file():
        return []
    try:
        with Path(path).open(newline="", encoding="utf-8") as file:
            table = csv.DictReader(file)
            rows = [{name: float(cell) for name, cell in row.items() if cell} for row in table]
            names = table.fieldnames or ()
    except (ValueError, TypeError, csv.Error) as error:
        raise UserError(f"{path}: not a table of numbers ({error}); mend or remove it") from None
    missing = [name for name in needs if name not in names or not all(name in row for row in rows)]
    if missing:
        raise UserError(f"{path}: not a whole table, {missing[0]!r} is missing in it; mend or remove it")
    return rows


def write_results(path: str | os.PathLike, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the rows of a results.csv, dicts of whichever columns they have."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, table.getvalue())


class ResultsFile(keras.callbacks.Callback):
    """results.csv: a row for each epoch, whichever columns it has; rows of repeated epochs are replaced.

    Takes the -1 with which `COCOEvaluation` marks an epoch without measurement out of the logs.
    """

    def __init__(self, path):
        super().__init__()
        self._path = path
        self._start = time.monotonic()
        self._first_step = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._first_step = step_of(self.model)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        logs = {} if logs is None else logs
        for name in [name for name, value in logs.items() if name.startswith("val_") and value == -1]:
            del logs[name]
        self.write(epoch, logs)
        self._start = time.monotonic()

    def write(self, epoch: int, logs: Mapping[str, float]) -> None:
        """Write the row of an epoch as far as it is known."""
        rows = [row for row in read_results(self._path) if row["epoch"] <= epoch]
        step, seconds = step_of(self.model), round(time.monotonic() - self._start, 1)
        facts = {"epoch": epoch + 1, "step": step, "seconds": seconds}
        if self._first_step is not None:
            facts["steps"] = step - self._first_step
        rows.append(facts | {name: float(value) for name, value in logs.items()})
        write_results(self._path, rows)


class Checkpoints(keras.callbacks.Callback):
    """model.keras when an epoch is the best so far by the model's main metric, or where there is none."""

    def __init__(self, run_dir):
        super().__init__()
        self._run_dir, self._plain = run_dir, None

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        rows = read_results(self._run_dir / "results.csv")
        metric = f"val_{all_families(self.model.metric_families)[0].main}"
        scores = [row[metric] for row in rows if metric in row]
        evaluated = bool(rows) and metric in rows[-1]
        if not scores or (evaluated and scores[-1] >= max(scores)):
            self._plain = save_plain_model(self.model, self._run_dir / "model.keras", self._plain)


class LastCheckpoint:
    """last.keras, and the one before it as previous.keras.

    step: of the optimizer at what is on disk, None where there is nothing.
    """

    def __init__(self, run_dir: Path, step: int | None = None):
        self._file = run_dir / "last.keras"
        self.step = step

    def save(self, model: keras.Model) -> None:
        """Keep a model as it is, unless just that is kept already."""
        step = step_of(model)
        if step != self.step:
            save_model(model, self._file, self._file.with_name("previous.keras"))
            self.step = step


def draw_train_batch(
    batch: tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]],
    class_names: Sequence[str],
    fields: Sequence[OutputField],
    path: str | os.PathLike,
) -> None:
    """Write a picture of one batch as the network sees it: wrong boxes or names show before they cost a day.

    Args:
        batch: (inputs, targets) of `load_coco`.
        fields: `OutputField`s of the model: what the targets have of them is drawn, too.
    """
    inputs, targets = batch
    pictures, keys = [], visualize.ground_truth_keys(fields)
    for index, (height, width) in enumerate(inputs["image_sizes"].numpy()[:16]):
        ground_truth = {name: targets[name][index].numpy() for name in keys if name in targets}
        image = inputs["images"][index, :height, :width].numpy()
        pictures.append(visualize.draw_ground_truth(image, ground_truth, class_names, fields))
    visualize.save_picture(visualize.contact_sheet(pictures), path)


def write_findings(
    run_dir: Path,
    config: Config,
    model: Detector,
    dataset: tf.data.Dataset,
    metrics: Mapping[str, Any],
    evaluator: COCOEvaluator,
    learning_rate: tuple[Sequence[int], Sequence[float]] | None = None,
    count: int = 8,
) -> None:
    """Write val_detections.jpg and report.html of a trained model.

    Args:
        dataset: validation images, of `load_coco`; the first `count` are drawn.
        metrics, evaluator: what `COCOEvaluator` measured, and itself for its curves.
        learning_rate: `(steps, values)` of every step; without it the curve is that of results.csv.
    """
    pairs = visualize.gallery(model, dataset, count)
    titles = ["ground truth", "detections"] * len(pairs)
    pictures = [picture for pair in pairs for picture in pair]
    visualize.save_picture(visualize.contact_sheet(pictures, titles=titles), run_dir / "val_detections.jpg")
    rows = read_results(run_dir / "results.csv")
    report.write_report(
        run_dir / "report.html",
        title=f"{model.title}: {run_dir.name}",
        metrics=metrics,
        history=rows,
        curves={family.name: family.curves(evaluator) for family in families_in(metrics)},
        pictures=pairs,
        facts=_facts(config, model, evaluator, rows),
        learning_rate=learning_rate,
    )


def _facts(config, model, evaluator, rows):
    backbone, channels = config.model.backbone, {feature.shape[-1] for feature in model.pyramid.output.values()}
    width = f"width {backbone.width}, " if hasattr(backbone, "width") else ""
    return {
        "backbone": f"{backbone.name}, {width}weights {dict(backbone).get('weights') or 'random'}",
        "pyramid": f"{', '.join(model.pyramid.output)}; {', '.join(map(str, sorted(channels)))} channels",
        "conventions": config.model.profile,
        "parameters": f"{model.count_params():,}",
        "training": f"{rows[-1].get('step', 0) if rows else 0:.0f} steps of {config.data.batch_size} images",
        "seed": f"{config.training.seed}",
        "training time": f"{sum(row.get('seconds', 0) for row in rows) / 60:.1f} minutes",
        "validation images": f"{len(evaluator.image_ids)}",
        "machine": f"{os.cpu_count()} CPU cores, {len(tf.config.list_physical_devices('GPU'))} GPUs",
        "versions": f"keras_fpn {__version__}, TensorFlow {tf.__version__}, Keras {keras.__version__}",
        "date": time.strftime("%Y-%m-%d"),
    }
