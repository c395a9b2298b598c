"""A configuration in, a run folder (`run_folder`) out: data, model, optimizer and `fit` put together.

A resumed run equals an uninterrupted one: the order and the variation of the data are functions of (seed,
position), the samples of the losses of (seed, step), and model and optimizer are in last.keras. With
`training.deterministic` they are equal to the last bit; without, TensorFlow adds gradients in any order.

Nothing of a run is lost: at the end of an epoch its row and its checkpoint are on disk before it is evaluated, and a
run that was killed in between does that evaluation first when it goes on.
"""

import contextlib
import dataclasses
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from keras_fpn.checkpoints.transfer import start_from
from keras_fpn.config.building import as_built, build_model
from keras_fpn.config.loading import Config
from keras_fpn.console import disk
from keras_fpn.console.errors import UserError
from keras_fpn.console.files import check_output, read_json, write_json, write_text
from keras_fpn.data.coco import CocoDataset
from keras_fpn.data.decode import readable_errors
from keras_fpn.data.sources import Names
from keras_fpn.evaluation.coco import COCOEvaluator, metrics_to_json
from keras_fpn.evaluation.measuring import evaluation_dataset, measure
from keras_fpn.metrics import all_families
from keras_fpn.models import writing
from keras_fpn.models.files import load_model
from keras_fpn.reporting import report
from keras_fpn.training import checkpoints, lock, new_run, restart, run_folder, unsettled
from keras_fpn.training.callbacks import COCOEvaluation, LearningRateLog, RichProgress
from keras_fpn.training.datasets import read_data, training_dataset
from keras_fpn.training.named_files import with_weights
from keras_fpn.training.progress import step_of
from keras_fpn.training.scale_notes import scale_notes
from keras_fpn.training.schedule import make_optimizer, make_schedule, stretches_from
from keras_fpn.training.stopping import Diverged, Interrupted, StopAfter, StopOnSignal, StopWhenDiverged


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run ended: `metrics` (COCO names) when it was finished, None when it was interrupted before."""

    run_dir: Path
    step: int
    total_steps: int
    metrics: dict | None = None

    @property
    def interrupted(self) -> bool:
        return self.metrics is None


def train(
    config: Config, run_dir: str | os.PathLike, *, extra_callbacks: Sequence[keras.callbacks.Callback] = ()
) -> Outcome:
    """Train a new model as `config` says and leave the run in `run_dir` (see `run_folder`).

    `config.data` must name its files (`named_files.with_data`). Ctrl-C ends the run after the step at hand, with a
    checkpoint. A start that fails leaves no folder behind.

    Raises:
        UserError: the data or the configuration is wrong.
    """
    set_determinism(config)
    data = train_set, val_set, _ = read_data(config)
    schedule = make_schedule(config, train_set)
    model = build_model(config, train_set)
    config = with_weights(config)
    transfer = start_from(model, config.training.weights) if config.training.weights else None
    _freeze(model, config.training.freeze)
    model.compile(optimizer=make_optimizer(config, schedule))
    run_dir = Path(run_dir)
    with new_run.folder_of_its_own(run_dir), disk.told(run_dir):
        config = as_built(config, model)
        write_text(run_dir / "config.yaml", config.to_yaml())
        restart.record(run_dir, config)
        with readable_errors():
            batch = next(iter(training_dataset(config, train_set, cache=False)))
        run_folder.draw_train_batch(batch, train_set.class_names, model.output_fields, run_dir / "train_batch.jpg")
        print(_start_lines(model, config, schedule, train_set, val_set, run_dir), flush=True)
        if transfer:
            print("\n".join(transfer.lines()), flush=True)
        return _run(model, config, schedule, run_dir, data, extra_callbacks)


def resume(
    run_dir: str | os.PathLike,
    *,
    extra_callbacks: Sequence[keras.callbacks.Callback] = (),
    data_dir: Names | None = None,
    overrides: Sequence[str] = (),
    accept_changes: bool = False,
) -> Outcome:
    """Go on with an interrupted run; of a finished one, say so and return its outcome.

    One that was stopped before its first checkpoint begins anew with its config.yaml.

    Args:
        data_dir, overrides: where the data of the run lies now, as the folder of `named_files.with_data` or as settings
            such as "data.val.images=DIR".
        accept_changes: go on although settings or annotations have changed since the run began.

    Raises:
        UserError: `run_dir` is no run folder; another process trains there; its checkpoints are damaged; settings or
            data have changed.
    """
    run_dir = Path(run_dir)
    restart.check_begun(run_dir)
    if (run_dir / "metrics.json").is_file():
        restart.check_finished(run_dir, data_dir, overrides, accept_changes)
        return _finished(run_dir)
    with lock.held(run_dir):
        is_new = not new_run.has_checkpoint(run_dir)
        config = restart.config_to_go_on_with(
            run_dir, data_dir=data_dir, overrides=overrides, accept_changes=accept_changes, is_new=is_new
        )
        if is_new:
            print(f"{run_dir}: stopped before its first checkpoint; begins anew with its config.yaml", flush=True)
            return train(config, run_dir, extra_callbacks=extra_callbacks)
        with disk.told(run_dir):
            return _go_on(config, run_dir, extra_callbacks)


def _finished(run_dir):
    metrics = read_json(run_dir / "metrics.json")
    rows = run_folder.read_results(run_dir / "results.csv", run_folder.FACTS)
    step = int(rows[-1]["step"]) if rows else 0
    print(f"{run_dir}: already finished{f', all {step} steps' if rows else ''}; nothing to do")
    return Outcome(run_dir, step, step, metrics)


def _go_on(config, run_dir, extra_callbacks):
    set_determinism(config)
    data = read_data(config)
    schedule = make_schedule(config, data[0])
    file = checkpoints.newest_whole(run_dir)
    model = load_model(file)
    if getattr(model, "optimizer", None) is None:
        raise UserError(f"{file}: holds no optimizer, so no run can go on from it; start a new run")
    print(f"resuming {run_dir} at step {step_of(model)} of {schedule.total_steps}", flush=True)
    return _run(model, config, schedule, run_dir, data, extra_callbacks)


def set_determinism(config: Config) -> None:
    """Seed what draws, and with `training.deterministic` have TensorFlow add up in one order from here on."""
    keras.utils.set_random_seed(config.training.seed)
    if config.training.deterministic:
        tf.config.experimental.enable_op_determinism()


def _freeze(model, parts):
    model.freeze(parts)
    if not model.trainable_variables:
        raise UserError(f"training.freeze: {', '.join(parts)} are all that {model.title} has; leave one to be trained")


def _run(model, config, schedule, run_dir, data, extra_callbacks):
    train_set, val_set, evaluator = data
    first = step_of(model)
    watch = _watch(model, config, run_dir, val_set, evaluator, extra_callbacks)
    try:
        with disk.told(run_dir):
            unsettled.settle(model, schedule, run_dir / "results.csv", watch.evaluation, watch.best)
            if not _fit(model, config, schedule, train_set, watch):
                return Outcome(run_dir, watch.last.step, schedule.total_steps)
            learning_rate = None if first else (watch.rates.steps, watch.rates.values)
            if not (run_dir / "model.keras").exists():
                writing.save_plain_model(model, run_dir / "model.keras")
            metrics = finish(config, run_dir, val_set, evaluator, learning_rate)
    except UserError as error:
        if isinstance(error, Diverged) or watch.last.step is None:
            raise
        raise UserError(f"{error}; then go on: keras-fpn train --resume {run_dir}") from None
    except KeyboardInterrupt:
        if watch.last.step is None:
            raise
        return Outcome(run_dir, watch.last.step, schedule.total_steps)
    return Outcome(run_dir, step_of(model), schedule.total_steps, metrics)


def _fit(model, config, schedule, train_set, watch):
    """Call `model.fit` from the optimizer's step on; returns whether it came to the end of the run."""
    first = step_of(model)
    try:
        for stretch in stretches_from(first, schedule):
            dataset = training_dataset(config, train_set, skip_batches=step_of(model))
            with readable_errors():
                model.fit(
                    dataset,
                    initial_epoch=stretch.first_epoch,
                    # Of the whole run, not of this stretch: callbacks ask which epoch is the last.
                    epochs=schedule.epochs,
                    steps_per_epoch=stretch.steps_per_epoch,
                    callbacks=[*watch.callbacks, StopAfter(stretch.end_epoch)],
                    shuffle=False,  # the data set has its own order
                    verbose=0,
                )
            if watch.stop.asked:
                return False
    except Interrupted:
        watch.last.save(model)
        _end(watch.callbacks)
        return False
    except BaseException as error:
        _end(watch.callbacks)  # above all the live bar, which would garble the message
        # A bad image, or a screen that is gone: met between two steps.
        is_whole = isinstance(error, (UserError, OSError)) and not isinstance(error, Diverged)
        if is_whole and disk.reason(error) is None and step_of(model) > first:
            watch.last.save(model)
        raise
    return True


def _end(callbacks):
    for callback in callbacks:
        with contextlib.suppress(OSError):  # the terminal may be gone
            callback.on_train_end()


@dataclasses.dataclass(frozen=True)
class _Watch:
    """All that looks on while a run trains."""

    callbacks: list
    stop: StopOnSignal
    last: run_folder.LastCheckpoint
    best: run_folder.Checkpoints
    rates: LearningRateLog
    evaluation: COCOEvaluation | None


def _watch(model, config, run_dir, val_set, evaluator, extra_callbacks):
    """In the order in which they must see an epoch end: keep, measure, write, keep the best, show."""
    settings = config.training
    check_output(run_dir / "logs", folder=True)
    stop, rates, evaluation = StopOnSignal(), LearningRateLog(), None
    if settings.evaluate_every:
        evaluation = COCOEvaluation(
            evaluation_dataset(model, val_set, config.data.evaluation_batch_size),
            evaluator,
            every=settings.evaluate_every,
            max_images=settings.evaluation_images,
        )
    last = run_folder.LastCheckpoint(run_dir, step_of(model) or None)
    results, best = run_folder.ResultsFile(run_dir / "results.csv"), run_folder.Checkpoints(run_dir)
    callbacks = [
        StopWhenDiverged(),
        stop,
        rates,
        *([checkpoints.KeepByClock(last, settings.checkpoint_minutes)] if settings.checkpoint_minutes else []),
        checkpoints.KeepEpoch(last, results, stop),
        *([evaluation] if evaluation else []),
        results,
        keras.callbacks.TensorBoard(str(run_dir / "logs"), write_graph=False),
        *extra_callbacks,
        best,
        RichProgress(),
    ]
    return _Watch(callbacks, stop, last, best, rates, evaluation)


def finish(
    config: Config,
    run_dir: Path,
    val_set: CocoDataset,
    evaluator: COCOEvaluator,
    learning_rate: tuple[Sequence[int], Sequence[float]] | None = None,
    sections: Iterable[report.Section] = (),
) -> dict[str, Any]:
    """Measure model.keras and write what is told of it; metrics.json is the last file of a run.

    Args:
        val_set, evaluator: of `read_data`.
        learning_rate: `(steps, values)` of every step, for its curve.
        sections: `report.Section`s that the report gets besides.
    """
    model = load_model(run_dir / "model.keras")
    batch_size = config.data.evaluation_batch_size
    metrics, results, _ = measure(
        model,
        val_set,
        batch_size=batch_size,
        evaluator=evaluator,
        max_results=all_families(model.metric_families)[0].max_results,
    )
    write_json(run_dir / "results.json", results)
    dataset = evaluation_dataset(model, val_set, batch_size)
    run_folder.write_findings(run_dir, config, model, dataset, metrics, evaluator, learning_rate)
    for section in sections:
        report.add_section(run_dir / "report.html", section)
    metrics = metrics_to_json(metrics)
    write_json(run_dir / "metrics.json", metrics)
    return metrics


def _start_lines(model, config, schedule, train_set, val_set, run_dir):
    lines = (
        f"{len(train_set)} training and {len(val_set)} validation images,"
        f" {len(train_set.class_names)} classes; {model.count_params():,} parameters;"
        f" {schedule.total_steps} steps of {config.data.batch_size} images; writing {run_dir}"
    )
    backbone = dict(config.model.backbone)  # not all can be frozen, or have weights of Keras
    if not backbone.get("weights") and config.training.weights is None and backbone.get("freeze_at"):
        norm = "model.backbone.norm=batch_norm " if "norm" in backbone else ""
        lines += (
            "\nnote: the backbone starts from random weights and is partly frozen, which learns little;"
            f"\n      without weights use --set {norm}model.backbone.freeze_at=0"
        )
    if model.frozen:
        lines += f"\nfrozen: {', '.join(model.frozen)}"
    lines += "".join(f"\n{note}" for note in scale_notes(config, train_set))
    return lines
