"""Ways in which `fit` ends before its time: Ctrl-C, a loss that is no number, the end of a stretch."""

import math
import signal

import keras

from keras_fpn.console.errors import UserError


class Diverged(UserError):
    """A loss that is no number: weights and all that is measured of them are of no use from here on."""


class StopWhenDiverged(keras.callbacks.Callback):
    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        logs = logs or {}
        bad = [name for name, value in logs.items() if not math.isfinite(value)]
        if bad:
            raise Diverged(
                f"{', '.join(bad)} became {logs[bad[0]]} at step {int(self.model.optimizer.iterations)}; lower"
                " training.learning_rate or set training.clip_norm=10, and start a new run"
            )


class Interrupted(Exception):
    """Raised between two steps, so that model and optimizer are whole."""


class StopOnSignal(keras.callbacks.Callback):
    """Ctrl-C and SIGTERM end the run after the step at hand; a second Ctrl-C ends it at once."""

    def __init__(self):
        super().__init__()
        self.asked, self._before = False, {}

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
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

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        # After the last step the epoch comes to its end, so that its row and its measurement are not lost.
        if self.asked and batch + 1 < self.params["steps"]:
            raise Interrupted

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if self.asked:
            self.model.stop_training = True

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        self._restore()


class StopAfter(keras.callbacks.Callback):
    """Ends `fit` before epoch `end`."""

    def __init__(self, end):
        super().__init__()
        self._end = end

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if epoch + 1 >= self._end:
            self.model.stop_training = True
