"""Ways in which `fit` ends before its time: Ctrl-C, a loss that is no number, the end of a stretch."""

import contextlib
import math
import signal

import keras

from keras_fpn.console.errors import UserError
from keras_fpn.console.signals import requests_to_end
from keras_fpn.training.progress import step_of


class Diverged(UserError):
    """A loss that is no number: weights and all that is measured of them are of no use from here on."""


class StopWhenDiverged(keras.callbacks.Callback):
    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        logs = logs or {}
        bad = [name for name, value in logs.items() if not math.isfinite(value)]
        if bad:
            raise Diverged(
                f"{', '.join(bad)} became {logs[bad[0]]} at step {step_of(self.model)}; lower"
                " training.learning_rate or set training.clip_norm=10, and start a new run"
            )


class Interrupted(KeyboardInterrupt):
    """Raised where model and optimizer are whole: between two steps, or when the end of an epoch is on disk."""


class StopOnSignal(keras.callbacks.Callback):
    """Ctrl-C, SIGTERM and SIGHUP end the run after the step at hand; a second one ends it at once.

    While an epoch is evaluated no step is at hand: the run ends there and then, and `fit` is left by `Interrupted`.
    """

    def __init__(self):
        super().__init__()
        self.asked, self._before, self._idle = False, {}, False

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        self._idle = False
        for number in (signal.SIGINT, *requests_to_end()):
            try:
                self._before[number] = signal.signal(number, self._ask)
            except ValueError:  # not the main thread: whoever runs us there sees to signals
                return

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._idle = False

    def nothing_is_at_hand(self) -> None:
        """From here to the next epoch the run may end anywhere: all that it did is on disk.

        Raises:
            Interrupted: the run was asked to end.
        """
        self._idle = True
        if self.asked:
            raise Interrupted

    def _ask(self, number, frame):
        self.asked = True
        self._restore()
        when = "stopping" if self._idle else "stopping after this step (once more: at once)"
        with contextlib.suppress(OSError):  # the terminal may be gone
            print(f"\n{when}", flush=True)
        if self._idle:
            raise Interrupted

    def _restore(self):
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        # After the last step the epoch comes to its end, so that its row is not lost.
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
