"""The checkpoint that a run goes on from: the newest that is whole. And those inside of an epoch, by the clock."""

import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import keras

from keras_fpn.console.errors import UserError
from keras_fpn.training.run_folder import LastCheckpoint, ResultsFile
from keras_fpn.training.stopping import StopOnSignal


def newest_whole(run_dir: Path) -> Path:
    """Return last.keras of a run; where it is damaged, it gives its place to previous.keras, which is told.

    Raises:
        UserError: neither is whole.
    """
    last, previous = run_dir / "last.keras", run_dir / "previous.keras"
    if _is_whole(last):
        return last
    found = "is damaged" if last.exists() else "is missing"
    if not _is_whole(previous):
        rest = f"{previous.name} is damaged, too" if previous.exists() else f"there is no {previous.name}"
        raise UserError(f"{last}: {found} and {rest}, so no run can go on from it; start a new run")
    print(f"{last}: {found}; going on from {previous.name}, the checkpoint before it", flush=True)
    previous.replace(last)
    return last


def _is_whole(file):
    """Whether a `.keras` file was written to its end and reads as it was written."""
    if not file.is_file() or not zipfile.is_zipfile(file):
        return False
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, NotImplementedError, zlib.error):
        return False


class KeepEpoch(keras.callbacks.Callback):
    """At the end of an epoch, before it is evaluated: its row so far, then last.keras; then a signal may end the run.

    In that order, so that a checkpoint at the end of an epoch never is without the row.
    """

    def __init__(self, last: LastCheckpoint, results: ResultsFile, stop: StopOnSignal):
        super().__init__()
        self._last, self._results, self._stop = last, results, stop

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._results.write(epoch, logs or {})
        self._last.save(self.model)
        self._stop.nothing_is_at_hand()


class KeepByClock(keras.callbacks.Callback):
    """last.keras every so many minutes within an epoch."""

    def __init__(self, last: LastCheckpoint, minutes: float, clock: Callable[[], float] = time.monotonic):
        super().__init__()
        self._last, self._seconds, self._clock = last, 60 * minutes, clock
        self._kept = clock()

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._kept = self._clock()  # the end of the epoch before was kept

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        is_last = batch + 1 == self.params.get("steps")  # its epoch is kept in a moment
        if not is_last and self._clock() - self._kept >= self._seconds:
            self._last.save(self.model)
            self._kept = self._clock()
