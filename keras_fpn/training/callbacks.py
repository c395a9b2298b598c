"""Keras callbacks of detector training: COCO metrics in the logs, pictures, progress on the screen.

Order matters in the list given to `fit`: `COCOEvaluation` and `LearningRateLog` put values into the logs
that only the callbacks after them see (ModelCheckpoint, EarlyStopping, CSVLogger, TensorBoard, RichProgress).
"""

import sys
import time
from pathlib import Path

import keras
from PIL import Image

from keras_fpn.console.text import plain
from keras_fpn.evaluation.coco import COCOEvaluator
from keras_fpn.inference.results import compile_inference, predict_batches
from keras_fpn.metrics import METRIC_FAMILIES, Measurement, all_families
from keras_fpn.reporting import visualize
from keras_fpn.training.progress import learning_rate_of, step_of


class COCOEvaluation(keras.callbacks.Callback):
    """Measures COCO metrics at the end of an epoch and puts them into the logs: val_AP, val_AP50, val_APs...

    Which ones, the model's `metric_families` say: of an `RPN` they are val_proposals/AR100, val_proposals/AR1000 ...,
    of `SegmentProposals` val_segments/AR100 ...

    Example:
        callbacks=[COCOEvaluation(dataset, "instances_val.json"), ModelCheckpoint(path, monitor="val_AP",
        mode="max", save_best_only=True), EarlyStopping(monitor="val_AP", mode="max", patience=5)]

    dataset: a finite `load_coco` dataset. annotations: its instances JSON, path or dict, or a `COCOEvaluator`.
    every: epochs between measurements; the last epoch is always measured. In epochs without one the metrics
        are -1, no improvement for anybody: ModelCheckpoint would save a model that has no metric at all.
    prefix: of the names in the logs. max_images: measure on the first batches with that many images only.
    proposals: also what is measured of the proposals of a detector: the average recall of its RPN, as
        val_proposals/AR100 ...
    per_class: also metrics of single classes, val_AP/<class>.

    Metrics are over the images that the dataset gives. Metrics that the annotations leave undefined (no
    object of that size) stay out of the logs.
    """

    def __init__(
        self, dataset, annotations, every=1, prefix="val_", max_images=None, proposals=False, per_class=False
    ):
        super().__init__()
        if every < 1:
            raise ValueError(f"every is {every}; it must be at least 1")
        self.dataset, self.every, self.prefix, self.max_images = dataset, every, prefix, max_images
        self.with_proposals, self.per_class = proposals, per_class
        given = isinstance(annotations, COCOEvaluator)
        self.evaluator = annotations if given else COCOEvaluator(annotations)
        self.metrics = None  # of the last measurement
        self._inference, self._compiled_for = None, None

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        logs = {} if logs is None else logs
        last = epoch + 1 == (self.params or {}).get("epochs")
        due = last or (epoch + 1) % self.every == 0
        families = all_families(self._families())
        names = [name for family in families for name in family.names(self.evaluator.class_names)]
        metrics = self.measure() if due else dict.fromkeys(names, -1.0)
        for name, value in metrics.items():
            is_of_class = any(family.class_of(name) is not None for family in families)
            if (value != -1.0 or not due) and (self.per_class or not is_of_class):
                logs[self.prefix + name] = value

    def _families(self):
        """Of the model's `metric_families` those that are measured."""
        every = self.model.metric_families
        return {key: families for key, families in every.items() if key != "proposals" or self.with_proposals}

    def measure(self) -> dict[str, float]:
        """The metrics of the model as it is, by name."""
        if self._compiled_for is not self.model:
            self._inference, self._compiled_for = compile_inference(self.model, self.dataset), self.model
        batches = predict_batches(self.model, self.dataset, self.with_proposals, self._inference)
        image_ids, measurement = [], Measurement(self.evaluator, self._families())
        told = time.monotonic()
        for ids, found, proposed in batches:
            image_ids += ids
            measurement.add({"detections": found, "proposals": proposed})
            if time.monotonic() - told > 20 and not sys.stdout.isatty():
                told = time.monotonic()
                print(f"measured {len(image_ids)} images", flush=True)
            if self.max_images is not None and len(image_ids) >= self.max_images:
                break
        self.metrics = measurement.metrics(image_ids)
        return self.metrics


class LearningRateLog(keras.callbacks.Callback):
    """Puts the learning rate of the epoch's last step into the logs as "learning_rate".

    `steps` and `values` keep it for every step of the run, for a curve that shows the warm-up.
    """

    def __init__(self):
        super().__init__()
        self.steps, self.values = [], []

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self.steps.append(step_of(self.model))
        self.values.append(self._current())

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if logs is not None:
            logs["learning_rate"] = self.values[-1] if self.values else self._current()

    def _current(self):
        return learning_rate_of(self.model)


class DetectionPictures(keras.callbacks.Callback):
    """After an epoch, one sheet of ground truth beside detections on the first images of a dataset.

    dataset: a `load_coco` dataset. folder: gets epoch_001.jpg and so on. log_dir: also sends the sheet to
    TensorBoard there (where it is installed). count: images on the sheet. every: epochs between sheets.
    threshold: the lowest score drawn.
    """

    def __init__(self, dataset, folder=None, log_dir=None, count=4, every=1, threshold=0.5):
        super().__init__()
        self.dataset, self.count, self.every, self.threshold = dataset, count, every, threshold
        self.folder = None if folder is None else Path(folder)
        self.log_dir = log_dir
        self._inference, self._compiled_for, self._writer = None, None, None

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        last = epoch + 1 == (self.params or {}).get("epochs")
        if not last and (epoch + 1) % self.every:
            return
        sheet = self.draw()
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            visualize.save_picture(sheet, self.folder / f"epoch_{epoch + 1:03d}.jpg")
        if self.log_dir is not None:
            self._to_tensorboard(sheet, epoch)

    def draw(self) -> Image.Image:
        """The sheet of the model as it is, a PIL image."""
        if self._compiled_for is not self.model:
            self._inference, self._compiled_for = compile_inference(self.model, self.dataset), self.model
        pairs = []
        for inputs, targets in self.dataset:
            found = self._inference(inputs)["detections"]
            names, fields = self.model.class_names, self.model.output_fields
            pairs += visualize.ground_truth_and_detections(inputs, targets, found, names, self.threshold, fields)
            if len(pairs) >= self.count:
                break
        pairs = pairs[: self.count]
        pictures = [picture for pair in pairs for picture in pair]
        titles = ("ground truth", "detections") * len(pairs)
        return visualize.contact_sheet(pictures, columns=4, titles=titles)

    def _to_tensorboard(self, sheet, epoch):
        import numpy as np
        import tensorflow as tf

        if self._writer is None:
            self._writer = tf.summary.create_file_writer(str(self.log_dir))
        with self._writer.as_default():
            try:
                tf.summary.image("detections", np.asarray(sheet)[None], step=epoch)
            except ImportError:  # TensorFlow writes pictures only where tensorboard is installed
                self.log_dir = None
        self._writer.flush()


class RichProgress(keras.callbacks.Callback):
    """Progress of `fit(verbose=0)`: a live bar on a terminal, elsewhere plain lines, no control characters.

    Either way one line per epoch stays: loss, recalls, metrics, learning rate, seconds. Put it last.

    line_every: seconds between the lines where there is no terminal. live: force the bar on or off.
    """

    def __init__(self, line_every=20.0, live=None):
        super().__init__()
        self.line_every, self.live = line_every, live
        self._bar, self._traced = None, False

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        live = sys.stdout.isatty() if self.live is None else self.live
        if live and self._bar is None:
            self._bar = _make_bar()
            self._task = self._bar.add_task("starting", total=None, numbers="")
            self._bar.start()

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._epoch, self._begin = epoch, time.monotonic()
        self._rate_from: tuple[float, int] | None = None
        self._told = time.monotonic()
        if not self._traced:
            self._traced = True
            self._show(f"{self._name()}: building the training graph, the first step takes longest", 0)
            if self._bar is None:
                self._print(f"{self._name()}: building the training graph, the first step takes longest")

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        now, done, total = time.monotonic(), batch + 1, self.params.get("steps")
        if self._rate_from is None:  # the first step traces and compiles: no measure of the others
            self._rate_from = (now, done)
        rate = (done - self._rate_from[1]) / max(now - self._rate_from[0], 1e-9)
        numbers = self._numbers(done, total, rate, logs or {})
        if self._bar is not None:
            self._show(f"{self._name()} {'evaluating' if done == total else ''}", done, total, numbers)
        elif now - self._told > self.line_every:
            self._told = now
            self._print(f"{self._name()}  step {done}{f'/{total}' if total else ''}  {numbers}")

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        seconds = time.monotonic() - self._begin
        self._print(f"{self._name()}  {_summary(logs or {})}  {_duration(seconds)}")

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _name(self):
        return f"epoch {self._epoch + 1}/{self.params.get('epochs', '?')}"

    def _numbers(self, done, total, rate, logs):
        parts = [f"loss {logs['loss']:.4g}"] if "loss" in logs else []
        if rate > 0:
            parts.append(f"{rate:.2f} steps/s" if rate >= 1 else f"{1 / rate:.2f} s/step")
            if total:
                left = total - done + (self.params.get("epochs", 0) - self._epoch - 1) * total
                parts.append(f"{_duration(left / rate)} left")
        return "  ".join(parts)

    def _show(self, description, done, total=None, numbers=""):
        if self._bar is not None:
            self._bar.update(
                self._task, description=description, completed=done, total=total, numbers=numbers
            )

    def _print(self, line):
        if self._bar is not None:
            self._bar.console.print(plain(line), markup=False, highlight=False, soft_wrap=True)
        else:
            print(line, flush=True)


def _make_bar():
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TextColumn("{task.fields[numbers]}"), transient=True)


def _summary(logs):
    """The numbers of an epoch that fit a line; the others are in results.csv and TensorBoard."""
    recalls = [name for name in logs if name.endswith("_recall") and not name.startswith("val_")]
    measured = [f"val_{name}" for family in METRIC_FAMILIES for name in family.epoch_line]
    measured = [name for name in measured if logs.get(name, -1.0) >= 0]  # -1: not in this epoch
    parts = [f"{name} {logs[name]:.3f}" for name in ("loss", *recalls, "val_loss", *measured) if name in logs]
    if "learning_rate" in logs:
        parts.append(f"learning_rate {logs['learning_rate']:.3g}")
    return "  ".join(parts)


def _duration(seconds):
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{seconds:02d}"
    return f"{minutes}:{seconds:02d}"
