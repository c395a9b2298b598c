"""State of the disk at each moment of an epoch, the checkpoint a run goes on from, and a disk that is full."""

import errno
import os
import types
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_fpn.console import disk
from keras_fpn.console.errors import UserError
from keras_fpn.metrics import DETECTIONS
from keras_fpn.training import checkpoints, progress, run_folder, stopping, training, unsettled
from keras_fpn.training.schedule import Schedule


class Small(keras.Model):
    """One weight, and the families of metrics that a detector has."""

    metric_families = {"detections": (DETECTIONS,)}

    def __init__(self):
        super().__init__()
        self.weight = self.add_weight(shape=(), initializer="zeros", name="weight")

    def call(self, inputs):
        return inputs * self.weight


class Measured(keras.callbacks.Callback):
    """In the place of `COCOEvaluation`: gives its values in turn, or does something else."""

    every = 1

    def __init__(self, *values, then=None):
        super().__init__()
        self.values, self.then = list(values), then

    def on_epoch_end(self, epoch, logs=None):
        if self.then is not None:
            self.then()
        logs["val_AP"] = self.values.pop(0)


@pytest.fixture
def saved(monkeypatch):
    """Small models are kept as archives with their step; `saved` is what was written, in order."""
    names = []

    def save_model(model, path, older=None):
        names.append((path.name, progress.step_of(model)))
        if older is not None and path.exists():
            path.replace(older)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("step", str(progress.step_of(model)))

    monkeypatch.setattr(run_folder, "save_model", save_model)
    monkeypatch.setattr(run_folder, "save_plain_model", lambda model, path, plain: save_model(model, path))
    return names


def _fit(folder, callbacks, epochs=2, steps=4, model=None, initial_epoch=0):
    """Train with what keeps a run, as `training` puts it together."""
    model = model or Small()
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")
    stop, last = stopping.StopOnSignal(), run_folder.LastCheckpoint(folder)
    results = run_folder.ResultsFile(folder / "results.csv")
    before, after = callbacks(last)
    data = tf.data.Dataset.from_tensors((np.ones((2, 1), np.float32), np.ones((2, 1), np.float32))).repeat()
    every = [stop, *before, checkpoints.KeepEpoch(last, results, stop), *after, results, run_folder.Checkpoints(folder)]
    try:
        model.fit(data, epochs=epochs, steps_per_epoch=steps, initial_epoch=initial_epoch, callbacks=every, verbose=0,
                  shuffle=False)  # fmt: skip
    finally:
        stop.on_train_end()
    return model, last


def _step_in(file):
    with zipfile.ZipFile(file) as archive:
        return int(archive.read("step"))


def test_the_checkpoint_and_the_row_are_there_before_the_evaluation(saved, tmp_path):
    seen = []

    def look():
        rows = run_folder.read_results(tmp_path / "results.csv")
        seen.append((_step_in(tmp_path / "last.keras"), [row["step"] for row in rows], "val_AP" in rows[-1]))

    _fit(tmp_path, lambda last: ([], [Measured(0.2, 0.1, then=look)]))
    assert seen == [(4, [4], False), (8, [4, 8], False)]
    assert saved == [("last.keras", 4), ("model.keras", 4), ("last.keras", 8)]
    rows = run_folder.read_results(tmp_path / "results.csv", run_folder.FACTS)
    assert [(row["val_AP"], row["steps"]) for row in rows] == [(0.2, 4), (0.1, 4)]
    assert _step_in(tmp_path / "previous.keras") == 4


@pytest.mark.parametrize(("ap", "best"), [(0.3, 8), (0.1, 4)])
def test_a_run_killed_while_it_evaluates_owes_nothing_but_that(saved, tmp_path, capsys, ap, best):
    with pytest.raises(RuntimeError, match="killed"):
        _fit(tmp_path, lambda last: ([], [_dies_at_second(0.2)]))
    model = _at(8)
    unsettled.settle(model, Schedule(12, 4), tmp_path / "results.csv", Measured(ap), run_folder.Checkpoints(tmp_path))
    rows = run_folder.read_results(tmp_path / "results.csv", run_folder.FACTS)
    assert [(row["step"], row["val_AP"]) for row in rows] == [(4, 0.2), (8, ap)] and rows[1]["loss"] > 0
    assert _step_in(tmp_path / "model.keras") == best
    assert "epoch 2/3: its evaluation, before which the run was stopped" in capsys.readouterr().out


def _dies_at_second(value):
    def die():
        if len(measured.values) == 1:
            raise RuntimeError("killed")

    measured = Measured(value, 0.0, then=die)
    return measured


def _at(step):
    return types.SimpleNamespace(
        optimizer=types.SimpleNamespace(iterations=tf.constant(step)), metric_families=Small.metric_families
    )


def test_of_an_epoch_that_was_measured_only_the_best_is_kept_again(saved, tmp_path):
    rows = [{"epoch": 1, "step": 4, "seconds": 1, "val_AP": 0.2}, {"epoch": 2, "step": 8, "seconds": 1, "val_AP": 0.4}]
    run_folder.write_results(tmp_path / "results.csv", rows)
    best = run_folder.Checkpoints(tmp_path)
    unsettled.settle(_at(8), Schedule(12, 4), tmp_path / "results.csv", Measured(), best)
    assert saved == [("model.keras", 8)]  # the kill may have come before it
    unsettled.settle(_at(6), Schedule(12, 4), tmp_path / "results.csv", Measured(), best)
    assert len(saved) == 1 and len(run_folder.read_results(tmp_path / "results.csv")) == 1  # epoch 2 comes again


def test_an_epoch_that_was_not_to_be_measured_is_not(saved, tmp_path):
    run_folder.write_results(tmp_path / "results.csv", [{"epoch": 1, "step": 4, "seconds": 1, "loss": 2.0}])
    measured = Measured()
    measured.every = 2
    unsettled.settle(_at(4), Schedule(12, 4), tmp_path / "results.csv", measured, run_folder.Checkpoints(tmp_path))
    assert "val_AP" not in run_folder.read_results(tmp_path / "results.csv")[0]


def test_a_checkpoint_every_so_many_minutes(saved, tmp_path):
    clock = types.SimpleNamespace(now=0.0)

    class Tick(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            clock.now += 20

    def callbacks(last):
        return [Tick(), checkpoints.KeepByClock(last, 0.5, lambda: clock.now)], [Measured(0.1)]

    _fit(tmp_path, callbacks, epochs=1, steps=6)
    # 40 and 80 seconds after the beginning; after 120 the epoch ends.
    assert [item for item in saved if item[0] == "last.keras"] == [("last.keras", step) for step in (2, 4, 6)]


def test_the_row_says_over_how_many_steps_its_means_are(tmp_path):
    results, model = run_folder.ResultsFile(tmp_path / "results.csv"), _at(3)
    results.set_model(model)
    results.on_epoch_begin(0)  # goes on inside the epoch
    model.optimizer.iterations = tf.constant(4)
    results.on_epoch_end(0, {"loss": 1.5})
    [row] = run_folder.read_results(tmp_path / "results.csv", run_folder.FACTS)
    assert (row["step"], row["steps"], row["loss"]) == (4, 1, 1.5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"loss\n1\n", "'epoch' is missing"),
        (b"epoch,loss\n1,2\n", "'step' is missing"),
        (b"epoch,step,seconds\n1,4,2\n2\n", "'step' is missing"),
        (b"", "'epoch' is missing"),
        (b"epoch,step\n1,\xff\n", "not a table of numbers"),
        (b"epoch,step,seconds\n1,4,2,9\n", "not a table of numbers"),
    ],
)
def test_a_damaged_table_is_one_line(content, message, tmp_path):
    (tmp_path / "results.csv").write_bytes(content)
    with pytest.raises(UserError, match=f"results.csv: .*{message}.*mend or remove it") as told:
        run_folder.read_results(tmp_path / "results.csv", run_folder.FACTS)
    assert "\n" not in str(told.value)


# The newest checkpoint that is whole.


def _archive(file, text):
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("model", text * 1000)


def _flip(file):
    content = bytearray(file.read_bytes())
    content[1000] ^= 255
    file.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: os.truncate(file, file.stat().st_size // 2),
        lambda file: os.truncate(file, 0),
        lambda file: file.write_text("no zip"),
        lambda file: file.unlink(),
        _flip,
    ],
)
def test_a_damaged_checkpoint_gives_its_place_to_the_one_before(damage, tmp_path, capsys):
    last, previous = tmp_path / "last.keras", tmp_path / "previous.keras"
    _archive(last, "new")
    _archive(previous, "old")
    assert checkpoints.newest_whole(tmp_path) == last and capsys.readouterr().out == ""
    damage(last)
    assert checkpoints.newest_whole(tmp_path) == last
    assert "going on from previous.keras, the checkpoint before it" in capsys.readouterr().out
    with zipfile.ZipFile(last) as archive:
        assert archive.read("model").startswith(b"old")
    os.truncate(last, 10)
    with pytest.raises(UserError, match=r"last.keras: is damaged and there is no previous.keras, .*start a new run"):
        checkpoints.newest_whole(tmp_path)
    previous.touch()
    with pytest.raises(UserError, match=r"previous.keras is damaged, too"):
        checkpoints.newest_whole(tmp_path)


# A disk that takes nothing more.


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "a.csv"), "a.csv: No space left on device; make room"),
        (OSError(errno.EROFS, "Read-only file system"), "place: Read-only file system; make its disk writable"),
        (OSError("Can't write data (file write failed: errno = 28, error message = 'No')"), "place: No space left"),
        (tf.errors.ResourceExhaustedError(None, None, "logs/x; No space left on device"), "place: No space left"),
    ],
)
def test_a_full_or_read_only_disk_is_one_line(error, message, tmp_path):
    with pytest.raises(UserError, match=message) as told, disk.told("place"):
        raise error
    assert "\n" not in str(told.value)


def test_other_errors_stay_what_they_are():
    others = FileNotFoundError(2, "No such file", "x"), RuntimeError("bad"), ValueError("No space left on device")
    for error in others:
        with pytest.raises(type(error)), disk.told("place"):
            raise error


def test_a_full_disk_leaves_the_last_checkpoint_whole(tmp_path, monkeypatch):
    model = Small()
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")
    model.build((1,))
    last = run_folder.LastCheckpoint(tmp_path)
    last.save(model)
    before = (tmp_path / "last.keras").read_bytes()
    model.optimizer.iterations.assign_add(1)

    def save(path):
        with open("/dev/full", "wb", buffering=0) as file:
            file.write(b"x")

    monkeypatch.setattr(model, "save", save)
    with pytest.raises(UserError, match="last.keras: No space left on device; make room"), disk.told(tmp_path):
        last.save(model)
    assert (tmp_path / "last.keras").read_bytes() == before and last.step == 0
    assert [path.name for path in tmp_path.iterdir()] == ["last.keras"]


@pytest.fixture
def ends(monkeypatch, tmp_path):
    """`ends(fit, finish)`: a run whose checkpoint is of step 4, and whose `fit` and report do as they are told."""

    def run(fit, finish=None):
        kept = types.SimpleNamespace(step=4)
        rates = types.SimpleNamespace(steps=[], values=[])
        watch = types.SimpleNamespace(last=kept, rates=rates, evaluation=None, best=None)
        monkeypatch.setattr(training, "_watch", lambda *_: watch)
        monkeypatch.setattr(training, "_fit", fit)
        monkeypatch.setattr(training, "finish", finish)
        monkeypatch.setattr(unsettled, "settle", lambda *_: None)
        (tmp_path / "model.keras").touch()
        return training._run(_at(6), None, Schedule(8, 4), tmp_path, (None, None, None), ())

    return run


def _raises(error):
    def call(*_):
        raise error

    return call


def test_a_full_disk_while_the_report_is_written_is_one_line(ends):
    full = OSError(errno.ENOSPC, "No space left on device", "report.html")
    with pytest.raises(UserError, match="report.html: No space left on device; make room .*; then go on: .*--resume"):
        ends(lambda *_: True, _raises(full))


def test_the_step_that_is_told_is_that_of_the_checkpoint(ends):
    for error in (KeyboardInterrupt(), stopping.Interrupted()):
        assert ends(_raises(error)).step == 4  # and not 6, which is lost
