"""A configuration in, a run folder (`keras_fpn.runs`) out: data, model, optimizer and `fit` put together.

A resumed run equals an uninterrupted one: the order and the variation of the data are functions of (seed,
position), the samples of the losses of (seed, step), and model and optimizer are in last.keras. With
`training.deterministic` they are equal to the last bit; without, TensorFlow adds gradients in any order.
"""

import contextlib
import dataclasses
import math
import os
import signal
from pathlib import Path
from typing import NamedTuple

import keras
import tensorflow as tf

from keras_fpn import evaluation, optimizers, report, runs
from keras_fpn.callbacks import COCOEvaluation, LearningRateLog, RichProgress
from keras_fpn.checkpoints.transfer import start_from, weights_file
from keras_fpn.config import Config, load_run_config
from keras_fpn.data.coco import find_coco_layout, read_coco
from keras_fpn.data.pipeline import load_coco, readable_errors
from keras_fpn.detector import architecture
from keras_fpn.errors import UserError
from keras_fpn.files import read_json, write_json, write_text
from keras_fpn.metrics import Measurement, all_families
from keras_fpn.model_files import load_model
from keras_fpn.progress import Count
from keras_fpn.proposal_files import read_proposals
from keras_fpn.read_only import plain
from keras_fpn.results import best_of_each, predict_batches


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


@dataclasses.dataclass(frozen=True)
class Schedule:
    """The length of a run. An epoch is a stretch of `steps_per_epoch` batches; the last may be shorter."""

    total_steps: int
    steps_per_epoch: int

    @property
    def epochs(self) -> int:
        return math.ceil(self.total_steps / self.steps_per_epoch)


class _Stretch(NamedTuple):
    first_epoch: int
    end_epoch: int
    steps_per_epoch: int


def with_data(config: Config, data_dir=None) -> Config:
    """Return `config` with absolute data paths: those of the COCO layout in `data_dir`, or its own.

    Raises:
        UserError: no known layout in `data_dir`, or no data named at all.
    """
    if data_dir:
        layout = find_coco_layout(data_dir)
        train = {"annotations": layout.train_annotations, "images": layout.train_images}
        val = {"annotations": layout.val_annotations, "images": layout.val_images}
    else:
        train, val = {}, {}
    tree = config.model_dump()
    for name, found in (("train", train), ("val", val)):
        split = tree["data"][name] | found
        for key in ("annotations", "images"):
            if split[key] is None:
                raise UserError(
                    f"data.{name}.{key} is not set; give --data DIR or --set data.{name}.{key}=PATH"
                )
        tree["data"][name] = {key: value and os.path.abspath(value) for key, value in split.items()}
    return Config.model_validate(tree)


def with_proposals(data_set, path, most):
    """Return a `CocoDataset` with the proposals of its images, every one of them checked.

    Args:
        path: a folder that `keras-fpn propose` wrote.
        most: how many of an image are used, the best.

    Raises:
        UserError: see `proposal_files.read_proposals` and `GivenProposals.for_data_set`.
    """
    given = read_proposals(path)
    with Count("check proposals", len(data_set)) as count:
        return dataclasses.replace(data_set, proposals=given.for_data_set(data_set, most, count))


def with_weights(config: Config, path=None) -> Config:
    """Return `config` with the absolute path of the weights that training starts from: `path`, or its own if any.

    Raises:
        UserError: there is no such file.
    """
    path = path or config.training.weights
    if path is None:
        return config
    tree = config.model_dump()
    tree["training"]["weights"] = str(weights_file(path))
    return Config.model_validate(tree)


def train(config: Config, run_dir, *, extra_callbacks=()) -> Outcome:
    """Train a new model as `config` says and leave the run in `run_dir` (see `keras_fpn.runs`).

    `config.data` must name its files (`with_data`). Ctrl-C ends the run after the step at hand, with a
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
    model.compile(optimizer=_optimizer(config, schedule))
    run_dir = Path(run_dir)
    with contextlib.nullcontext() if run_dir.exists() else runs.new_run_folder(run_dir, None):
        write_text(run_dir / "config.yaml", as_built(config, model).to_yaml())
        with readable_errors():
            batch = next(iter(training_dataset(config, train_set, cache=False)))
        runs.draw_train_batch(batch, train_set.class_names, model.output_fields, run_dir / "train_batch.jpg")
        print(_start_lines(model, config, schedule, train_set, val_set, run_dir), flush=True)
        if transfer:
            print("\n".join(transfer.lines()), flush=True)
        return _run(model, config, schedule, run_dir, data, extra_callbacks)


def resume(run_dir, *, extra_callbacks=()) -> Outcome:
    """Go on with an interrupted run; of a finished one, say so and return its outcome.

    Raises:
        UserError: `run_dir` is no run folder.
    """
    run_dir = Path(run_dir)
    for name in ("config.yaml", "last.keras"):
        if not (run_dir / name).is_file():
            raise UserError(
                f"{run_dir}: no run to resume, {name} is missing; train writes it at the first checkpoint"
            )
    config = load_run_config(run_dir / "config.yaml")
    if (run_dir / "metrics.json").is_file():
        metrics = read_json(run_dir / "metrics.json")
        rows = runs.read_results(run_dir / "results.csv")
        step = int(rows[-1]["step"]) if rows else 0
        print(f"{run_dir}: already finished{f', all {step} steps' if rows else ''}; nothing to do")
        return Outcome(run_dir, step, step, metrics)
    set_determinism(config)
    data = read_data(config)
    schedule = make_schedule(config, data[0])
    model = load_model(run_dir / "last.keras")
    if getattr(model, "optimizer", None) is None:
        raise UserError(f"{run_dir / 'last.keras'}: holds no optimizer, so no run can go on from it; start a new run")
    step = int(model.optimizer.iterations)
    print(f"resuming {run_dir} at step {step} of {schedule.total_steps}", flush=True)
    return _run(model, config, schedule, run_dir, data, extra_callbacks)


def build_model(config: Config, classes):
    """Return an untrained detector for the `class_names` and `category_ids` of a data set."""
    return architecture(config.model.architecture).for_data(
        classes, profile=config.model.profile, seed=config.training.seed, **config.model.differences()
    )


def make_schedule(config: Config, train_set) -> Schedule:
    """Return the length of a run on the training images of a `CocoDataset`.

    Raises:
        UserError: the warm-up is longer than the run.
    """
    settings = config.training
    num_images = sum(config.data.keep_empty or len(record.boxes) > 0 for record in train_set.records)
    steps_per_epoch = settings.steps_per_epoch or math.ceil(num_images / config.data.batch_size)
    total_steps = settings.steps or settings.epochs * steps_per_epoch
    if settings.warmup_steps >= total_steps:
        raise UserError(
            f"training.warmup_steps: {settings.warmup_steps} steps do not fit a run of {total_steps};"
            f" set training.warmup_steps={total_steps // 10}"
        )
    return Schedule(total_steps, min(steps_per_epoch, total_steps))


def training_dataset(config: Config, train_set, skip_batches=0, cache=None):
    """Return the endless `tf.data.Dataset` of batches of a `CocoDataset`, from batch `skip_batches` on."""
    data, resize = config.data, config.model.resize
    return load_coco(
        train_set,
        batch_size=data.batch_size,
        min_side=data.min_sides,
        max_side=resize.max_side,
        rounding=resize.rounding,
        interpolation=resize.interpolation,
        size_divisor=resize.size_divisor,
        canvas=data.canvas,
        horizontal_flip=data.horizontal_flip,
        scale_jitter=data.scale_jitter,
        fields=_object_fields(config),
        group_by_aspect_ratio=data.group_by_aspect_ratio,
        keep_empty=data.keep_empty,
        shuffle=True,
        repeat=True,
        seed=config.training.seed,
        skip_batches=skip_batches,
        cache=data.cache if cache is None else cache,
    )


def _object_fields(config):
    return architecture(config.model.architecture).object_fields


def evaluation_dataset(model, data_set, batch_size=1):
    """Return the `tf.data.Dataset` of a `CocoDataset` in its order, resized by the model's own rule."""
    fields = [name for name in model.object_fields if name in data_set.fields]  # only drawn
    return load_coco(data_set, batch_size=batch_size, fields=fields, **model.settings["resize"])


def measure(model, data_set, *, batch_size=1, evaluator=None, most_results=None):
    """Evaluate `model` on a `CocoDataset`, with a progress bar.

    Args:
        evaluator: a `COCOEvaluator` of its annotations; made if not given.
        most_results: how many of an image to return, the best; all by default. The metrics look at all of them. (Of
            5000 images the 1000 segments of each take some 6 GB.)

    Returns:
        `(metrics, results, evaluator)`: the metrics that the model is measured by (of a detector those of its
        detections and proposals), the detections as COCO results best first, and the `COCOEvaluator` that made them
        (for its curves).

    Raises:
        UserError: the classes of the annotations are not the model's, or the data are bad.
    """
    model.check_classes(data_set.class_names, data_set.category_ids, data_set.annotations)
    if "proposals" in model.further_inputs and data_set.proposals is None:
        raise UserError(
            f"{data_set.annotations}: {model.title} needs proposals of these images; give --proposals DIR, a folder"
            " that keras-fpn propose wrote (from Python: with_proposals)"
        )
    evaluator = evaluator or _evaluator(data_set)
    dataset = evaluation_dataset(model, data_set, batch_size)
    measurement, results, done = Measurement(evaluator, model.metric_families), [], 0
    with Count("evaluate", len(data_set.records)) as count, readable_errors():
        for image_ids, found, proposed in predict_batches(model, dataset):
            measurement.add({"detections": found, "proposals": proposed})
            results += best_of_each(found, most_results)
            done += len(image_ids)
            count(done)
    return measurement.metrics(), sorted(results, key=lambda result: -result["score"]), evaluator


def _evaluator(data_set):
    return evaluation.COCOEvaluator(data_set.annotations, leave_out=data_set.dropped)


def set_determinism(config):
    """Seed what draws, and with `training.deterministic` have TensorFlow add up in one order from here on."""
    keras.utils.set_random_seed(config.training.seed)
    if config.training.deterministic:
        tf.config.experimental.enable_op_determinism()


def read_data(config):
    """Return the training and the validation `CocoDataset` and the `COCOEvaluator` of the latter.

    Raises:
        UserError: one of the files is wrong, they do not belong together, or there is nothing to learn from.
    """
    data = config.data
    needs_proposals = "proposals" in architecture(config.model.architecture).further_inputs
    if needs_proposals:
        _check_proposals_named(data)
    train_set, val_set = (
        read_coco(split.annotations, split.images, invalid_boxes=data.invalid_boxes, fields=_object_fields(config))
        for split in (data.train, data.val)
    )
    if (train_set.category_ids, train_set.class_names) != (val_set.category_ids, val_set.class_names):
        raise UserError(
            f"{data.val.annotations}: its categories differ from those of {data.train.annotations};"
            " give both the same list"
        )
    number = config.model.num_classes
    if number not in (None, len(train_set.class_names)):
        raise UserError(
            f"model.num_classes: {number}, but {data.train.annotations} has"
            f" {len(train_set.class_names)} categories; leave it null"
        )
    if not any((record.is_crowd == 0).any() for record in train_set.records):
        raise UserError(f"{data.train.annotations}: no image has an object, so nothing can be learnt; annotate some")
    if needs_proposals:
        train_set = with_proposals(train_set, data.train.proposals, data.train_proposals)
        val_set = with_proposals(val_set, data.val.proposals, data.test_proposals)
    return train_set, val_set, _evaluator(val_set)


def _check_proposals_named(data):
    for name, split in (("train", data.train), ("val", data.val)):
        if split.proposals is None:
            raise UserError(
                f"data.{name}.proposals is not set, and Fast R-CNN needs proposals; give --set"
                f" data.{name}.proposals=DIR, a folder that keras-fpn propose MODEL --annotations {split.annotations}"
                f" --images {split.images} --out DIR wrote"
            )


def _optimizer(config, schedule):
    settings = config.training
    learning_rate = optimizers.WarmupMultiStep(
        settings.learning_rate,
        warmup_steps=settings.warmup_steps,
        warmup_factor=settings.warmup_factor,
        milestones=[round(share * schedule.total_steps) for share in settings.milestones],
        gamma=settings.gamma,
    )
    return optimizers.SGD(
        learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        global_clipnorm=settings.clip_norm,
    )


def _freeze(model, parts):
    model.freeze(parts)
    if not model.trainable_variables:
        raise UserError(f"training.freeze: {', '.join(parts)} are all that {model.title} has; leave one to be trained")


def as_built(config, model):
    """`config` with every setting as the model has it (a backbone may bring pixel statistics of its own)."""
    tree = config.model_dump()
    tree["model"] |= plain(model.settings)
    return Config.model_validate(tree)


def _run(model, config, schedule, run_dir, data, extra_callbacks):
    train_set, val_set, evaluator = data
    first = int(model.optimizer.iterations)
    callbacks = _callbacks(model, config, run_dir, val_set, evaluator, extra_callbacks)
    try:
        step = _fit(model, config, schedule, run_dir, train_set, callbacks)
        if step < schedule.total_steps:
            return Outcome(run_dir, step, schedule.total_steps)
        rates = next(callback for callback in callbacks if isinstance(callback, LearningRateLog))
        learning_rate = None if first else (rates.steps, rates.values)
        if not (run_dir / "model.keras").exists():  # a bad validation image came in the way
            runs.save_plain_model(model, run_dir / "model.keras")
        metrics = finish(config, run_dir, val_set, evaluator, learning_rate)
    except UserError as error:
        if isinstance(error, _Diverged) or not (run_dir / "last.keras").exists():
            raise
        raise UserError(f"{error}; then go on: keras-fpn train --resume {run_dir}") from None
    except KeyboardInterrupt:
        if not (run_dir / "last.keras").exists():
            raise
        return Outcome(run_dir, int(model.optimizer.iterations), schedule.total_steps)
    return Outcome(run_dir, step, schedule.total_steps, metrics)


def _fit(model, config, schedule, run_dir, train_set, callbacks):
    """Call `model.fit` from the optimizer's step on; returns the step reached: less than all after Ctrl-C."""
    stop = _StopOnSignal()
    callbacks = [stop, *callbacks]
    first = int(model.optimizer.iterations)
    try:
        for stretch in _stretches(int(model.optimizer.iterations), schedule):
            dataset = training_dataset(config, train_set, skip_batches=int(model.optimizer.iterations))
            with readable_errors():
                model.fit(
                    dataset,
                    initial_epoch=stretch.first_epoch,
                    # Of the whole run, not of this stretch: callbacks ask which epoch is the last.
                    epochs=schedule.epochs,
                    steps_per_epoch=stretch.steps_per_epoch,
                    callbacks=[*callbacks, _StopAfter(stretch.end_epoch)],
                    shuffle=False,  # the data set has its own order
                    verbose=0,
                )
            if stop.asked:
                break
    except _Interrupted:
        _end(callbacks)
        runs.save_model(model, run_dir / "last.keras")
    except BaseException as error:
        _end(callbacks)  # above all the live bar, which would garble the message
        is_bad_image = isinstance(error, UserError) and not isinstance(error, _Diverged)
        if is_bad_image and int(model.optimizer.iterations) > first:  # met between two steps
            runs.save_model(model, run_dir / "last.keras")
        raise
    return int(model.optimizer.iterations)


def _end(callbacks):
    for callback in callbacks:
        callback.on_train_end()


def _stretches(step, schedule):
    """Return the `_Stretch`es from `step` to the end: each a call of `fit`.

    An epoch that was interrupted is completed in a call of its own, and so is a short last one.
    """
    stretches, size = [], schedule.steps_per_epoch
    while step < schedule.total_steps:
        epoch, done = divmod(step, size)
        whole = (schedule.total_steps - step) // size if not done else 0
        if whole:
            stretches.append(_Stretch(epoch, epoch + whole, size))
            step += whole * size
        else:
            rest = min(size - done, schedule.total_steps - step)
            stretches.append(_Stretch(epoch, epoch + 1, rest))
            step += rest
    return stretches


def _callbacks(model, config, run_dir, val_set, evaluator, extra_callbacks):
    """In the order in which they must see an epoch end: measure, write, keep, show."""
    settings = config.training
    callbacks = [_StopWhenDiverged(), LearningRateLog()]
    if settings.evaluate_every:
        dataset = evaluation_dataset(model, val_set, config.data.evaluation_batch_size)
        callbacks.append(
            COCOEvaluation(
                dataset,
                evaluator,
                every=settings.evaluate_every,
                max_images=settings.evaluation_images,
            )
        )
    callbacks += [
        runs.ResultsFile(run_dir / "results.csv"),
        keras.callbacks.TensorBoard(str(run_dir / "logs"), write_graph=False),
        *extra_callbacks,
        runs.Checkpoints(run_dir),
        RichProgress(),
    ]
    return callbacks


def finish(config, run_dir, val_set, evaluator, learning_rate=None, sections=()):
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
        most_results=all_families(model.metric_families)[0].most_results,
    )
    write_json(run_dir / "results.json", results)
    dataset = evaluation_dataset(model, val_set, batch_size)
    runs.write_findings(run_dir, config, model, dataset, metrics, evaluator, learning_rate)
    for section in sections:
        report.add_section(run_dir / "report.html", section)
    metrics = evaluation.metrics_to_json(metrics)
    write_json(run_dir / "metrics.json", metrics)
    return metrics


def _start_lines(model, config, schedule, train_set, val_set, run_dir):
    lines = (
        f"{len(train_set)} training and {len(val_set)} validation images,"
        f" {len(train_set.class_names)} classes; {model.count_params():,} parameters;"
        f" {schedule.total_steps} steps of {config.data.batch_size} images; writing {run_dir}"
    )
    backbone = config.model.backbone
    if backbone.weights is None and config.training.weights is None and backbone.freeze_at:
        lines += (
            "\nnote: the backbone starts from random weights and is partly frozen, which learns little;"
            "\n      without weights use --set model.backbone.norm=batch_norm model.backbone.freeze_at=0"
        )
    if model.frozen:
        lines += f"\nfrozen: {', '.join(model.frozen)}"
    sizes, size = config.data.min_sides, config.model.resize.min_side
    if size not in sizes:
        lines += (
            f"\nnote: trained at a shorter side of {', '.join(map(str, sizes))} (data.min_sides) and evaluated at"
            f" {size} (model.resize.min_side)"
        )
    return lines


class _Diverged(UserError):
    """A loss that is no number: weights and all that is measured of them are of no use from here on."""


class _StopWhenDiverged(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        bad = [name for name, value in (logs or {}).items() if not math.isfinite(value)]
        if bad:
            raise _Diverged(
                f"{', '.join(bad)} became {logs[bad[0]]} at step {int(self.model.optimizer.iterations)}; lower"
                " training.learning_rate or set training.clip_norm=10, and start a new run"
            )


class _Interrupted(Exception):
    """Raised between two steps, so that model and optimizer are whole."""


class _StopOnSignal(keras.callbacks.Callback):
    """Ctrl-C and SIGTERM end the run after the step at hand; a second Ctrl-C ends it at once."""

    def __init__(self):
        super().__init__()
        self.asked, self._before = False, {}

    def on_train_begin(self, logs=None):
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._before[number] = signal.signal(number, self._ask)
            except ValueError:  # not the main thread: whoever runs us there sees to signals
                return

    def _ask(self, number, frame):
        self.asked = True
        self._restore()
        print("\nstopping after this step (once more: at once)", flush=True)

    def _restore(self):
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def on_train_batch_end(self, batch, logs=None):
        # After the last step the epoch comes to its end, so that its row and its measurement are not lost.
        if self.asked and batch + 1 < self.params["steps"]:
            raise _Interrupted

    def on_epoch_end(self, epoch, logs=None):
        if self.asked:
            self.model.stop_training = True

    def on_train_end(self, logs=None):
        self._restore()


class _StopAfter(keras.callbacks.Callback):
    """Ends `fit` before epoch `end`."""

    def __init__(self, end):
        super().__init__()
        self._end = end

    def on_epoch_end(self, epoch, logs=None):
        if epoch + 1 >= self._end:
            self.model.stop_training = True
