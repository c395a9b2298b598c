"""How far a piece of work is: a live bar on a terminal, now and then a plain line in a log."""

import sys
import time

_LINE_EVERY = 15.0  # seconds between the lines of a log


class Count:
    """A context manager that is called with the number of things done.

        with Count("evaluate", total=200, unit="images") as count:
            count(8)

    On a terminal it shows a bar with the time left; elsewhere a line every 15 s and one at the end, without
    control characters. Written to stdout. `total` is None where nobody knows.
    """

    def __init__(self, title, total, unit="images"):
        self._title, self._total, self._unit = title, total, unit
        self._bar = None

    def __enter__(self):
        self._start = self._told = time.monotonic()
        self._done = 0
        if sys.stdout.isatty():
            self._bar = _bar()
            self._task = self._bar.add_task(self._title, total=self._total)
            self._bar.start()
        return self

    def __call__(self, done, total=None, unit=None):
        """Tell that `done` things are done; `total` may correct the number there are, `unit` say more of them."""
        self._done, self._total, self._unit = done, total or self._total, unit or self._unit
        if self._bar:
            self._bar.update(self._task, completed=done, total=self._total)
        elif time.monotonic() - self._told > _LINE_EVERY:
            self._told = time.monotonic()
            of = f" of {self._total}" if self._total else ""
            print(f"{self._title}: {done}{of} {self._unit}", flush=True)

    def __exit__(self, kind, error, traceback):
        if self._bar:
            self._bar.stop()
        elif kind is None:
            seconds = time.monotonic() - self._start
            print(f"{self._title}: {self._done} {self._unit} in {seconds:.1f} s", flush=True)


def _bar():
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeRemainingColumn(), TextColumn("left"))
