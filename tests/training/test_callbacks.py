"""Callbacks in a real `fit`: metrics reach the callbacks after them, progress is readable in a log."""

import csv
import json
import subprocess
import sys
import textwrap
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_fpn import FasterRCNN
from keras_fpn.parts.output_fields import STANDARD
from keras_fpn.training.callbacks import COCOEvaluation, DetectionPictures, LearningRateLog, RichProgress

BOXES = np.array([[4, 4, 20, 24], [10, 2, 30, 12], [1, 8, 9, 16], [12, 12, 28, 28]], np.float32)
CLASSES = np.array([0, 1, 0, 1])


class OneWeightDetector(keras.Model):
    """Finds every box when its weight has reached 1, and boxes that are too wide before."""

    category_ids = [5, 9]
    class_names = ["cup", "plate"]
    output_fields = STANDARD
    metric_families = FasterRCNN.metric_families

    def __init__(self):
        super().__init__()
        self.reach = self.add_weight(shape=(), initializer="zeros", name="reach")
        self.traces = 0

    def call(self, inputs):
        return tf.reduce_mean(tf.cast(inputs["images"], tf.float32), axis=(1, 2)) * 0 + self.reach

    def inference(self, inputs):
        self.traces += 1
        index = tf.cast(inputs["images"][:, 0, 0, 0], tf.int32)
        boxes = tf.gather(BOXES, index)[:, None] * tf.stack([1.0, 1.0, 2.0 - self.reach, 1.0])
        scores = tf.ones_like(boxes[..., 0])
        count = tf.ones_like(index)
        classes = tf.gather(tf.constant(CLASSES, tf.int32), index)[:, None]
        detections = {"boxes": boxes, "scores": scores, "classes": classes, "num_detections": count}
        return {
            "detections": detections,
            "proposals": {"boxes": boxes, "scores": scores, "num_proposals": count},
        }


@pytest.fixture
def annotations():
    sizes = BOXES[:, 2:] - BOXES[:, :2]
    return {
        "images": [{"id": index + 1} for index in range(4)],
        "categories": [{"id": 5, "name": "cup"}, {"id": 9, "name": "plate"}],
        "annotations": [
            {"image_id": i + 1, "category_id": [5, 9][CLASSES[i]], "bbox": [*BOXES[i, :2], *sizes[i]]}
            for i in range(4)
        ],
    }


@pytest.fixture
def dataset():
    images = np.broadcast_to(np.arange(4, dtype=np.uint8)[:, None, None, None], (4, 40, 40, 3))
    inputs = {"images": images, "image_sizes": np.full((4, 2), 32, np.int32)}
    targets = {
        "boxes": BOXES[:, None],
        "classes": CLASSES[:, None].astype(np.int32),
        "image_ids": np.arange(1, 5),
        "original_sizes": np.full((4, 2), 32, np.int32),
    }
    return tf.data.Dataset.from_tensor_slices((inputs, targets)).batch(3)


def fit(callbacks, epochs=4, steps=3, learning_rate=0.5):
    """Train the weight from 0 towards 1 with a squared loss."""
    model = OneWeightDetector()
    model.compile(optimizer=keras.optimizers.SGD(learning_rate), loss="mse")
    inputs = {"images": np.zeros((2, 8, 8, 3), np.uint8)}
    data = tf.data.Dataset.from_tensors((inputs, np.ones((2, 3), np.float32))).repeat()
    # shuffle=False: Keras 3.15 warns otherwise that it cannot shuffle a tf.data.Dataset.
    history = model.fit(
        data, epochs=epochs, steps_per_epoch=steps, callbacks=callbacks, verbose=0, shuffle=False
    )
    return model, history.history


def test_checkpoint_and_early_stopping_see_val_ap(annotations, dataset, tmp_path):
    path = tmp_path / "best.weights.h5"
    evaluation = COCOEvaluation(dataset, annotations)
    callbacks = [
        evaluation,
        keras.callbacks.ModelCheckpoint(
            path, monitor="val_AP", mode="max", save_best_only=True, save_weights_only=True
        ),
        keras.callbacks.EarlyStopping(monitor="val_AP", mode="max", patience=2),
        keras.callbacks.CSVLogger(tmp_path / "log.csv"),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # of a monitor without a value
        model, history = fit(callbacks, epochs=20, steps=2, learning_rate=0.2)
    assert history["val_AP"][0] < history["val_AP"][-1] == 1.0
    assert len(history["val_AP"]) < 20 and path.exists()
    assert {"val_AP50", "val_AR100", "val_APs"} <= set(history) and "val_APl" not in history
    assert "val_AP/cup" not in history and evaluation.metrics["AP/cup"] == 1.0
    assert model.traces == 1
    with (tmp_path / "log.csv").open() as file:
        assert float(list(csv.DictReader(file))[-1]["val_AP"]) == 1.0


def test_skipped_epochs_never_look_like_an_improvement(annotations, dataset, tmp_path):
    path = tmp_path / "{epoch}.weights.h5"
    monitor = keras.callbacks.ModelCheckpoint(
        path, monitor="val_AP", mode="max", save_best_only=True, save_weights_only=True
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # of a monitor without a value
        _, history = fit([COCOEvaluation(dataset, annotations, every=3), monitor], epochs=7)
    measured = [epoch for epoch, value in enumerate(history["val_AP"]) if value >= 0]
    assert measured == [2, 5, 6]  # every third, and the last
    saved = {int(file.name.split(".")[0]) - 1 for file in tmp_path.glob("*.weights.h5")}  # named from 1
    assert saved - {0} <= set(measured)


def test_metrics_are_over_the_images_measured(annotations, dataset):
    evaluation = COCOEvaluation(dataset, annotations, max_images=2, proposals=True, per_class=True)
    _, history = fit([evaluation], epochs=8)
    # The batch of 3 images is the smallest that has 2; the fourth must not count as missed.
    assert history["val_AP"][-1] == 1.0
    assert history["val_proposals/AR100"][-1] == 1.0 and history["val_AP/cup"][-1] == 1.0


def test_learning_rate_reaches_the_logs(dataset):
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([3], [0.1, 0.01])
    log = LearningRateLog()
    _, history = fit([log], epochs=2, steps=3, learning_rate=schedule)
    assert history["learning_rate"] == pytest.approx([0.1, 0.01])
    assert log.steps == [1, 2, 3, 4, 5, 6] and log.values[-1] == pytest.approx(0.01)


# In a process of its own: devices are divided before TensorFlow first looks at them.
TWO_DEVICES = """
    import json, sys
    import keras, numpy as np, tensorflow as tf
    from keras_fpn.models.optimizers import SGD, WarmupMultiStep
    from keras_fpn.training.callbacks import LearningRateLog
    from keras_fpn.training.run_folder import ResultsFile

    halves = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], halves)
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        rate = WarmupMultiStep(0.1, warmup_steps=4) if sys.argv[2] == "schedule" else 0.1
        model.compile(optimizer=SGD(rate), loss="mse")
    data = tf.data.Dataset.from_tensors((np.ones((2, 1), np.float32), np.ones((2, 1), np.float32))).repeat()
    rates = LearningRateLog()
    model.fit(data, epochs=2, steps_per_epoch=3, callbacks=[rates, ResultsFile(sys.argv[1])], verbose=0, shuffle=False)
    print(json.dumps([rates.steps, rates.values]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("rate", ["schedule", "constant"])
def test_several_devices(rate, tmp_path):
    table = tmp_path / "results.csv"
    arguments = [sys.executable, "-c", textwrap.dedent(TWO_DEVICES), str(table), rate]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    steps, values = json.loads(done.stdout)
    assert steps == [1, 2, 3, 4, 5, 6] and values[3:] == pytest.approx([0.1] * 3)
    with table.open() as file:
        rows = [(float(row["step"]), float(row["steps"]), float(row["learning_rate"])) for row in csv.DictReader(file)]
    assert rows == [(3, 3, pytest.approx(values[2])), (6, 3, pytest.approx(0.1))]


def test_pictures_to_files_and_tensorboard(dataset, tmp_path):
    folder = tmp_path / "pictures"
    fit([DetectionPictures(dataset, folder, log_dir=tmp_path / "logs", every=2, count=2)], epochs=3)
    assert sorted(path.name for path in folder.iterdir()) == ["epoch_002.jpg", "epoch_003.jpg"]
    assert list((tmp_path / "logs").glob("events*"))


def test_progress_in_a_log_is_plain_lines(annotations, dataset, capsys):
    fit([COCOEvaluation(dataset, annotations), LearningRateLog(), RichProgress(line_every=0)], epochs=2)
    text = capsys.readouterr().out
    assert "\r" not in text and "\x1b" not in text
    lines = text.splitlines()
    assert lines[0].startswith("epoch 1/2: building")
    summaries = [line for line in lines if "val_AP50" in line]
    assert [line.split("  ")[0] for line in summaries] == ["epoch 1/2", "epoch 2/2"]
    assert any("step 2/3" in line and "left" in line for line in lines)


def test_progress_with_the_live_bar_keeps_a_line_per_epoch(capsys):
    progress = RichProgress(live=True)
    fit([LearningRateLog(), progress], epochs=2)
    progress.on_train_end()  # a second end, as after Ctrl-C, is harmless
    text = capsys.readouterr().out
    assert text.count("learning_rate 0.5") == 2
