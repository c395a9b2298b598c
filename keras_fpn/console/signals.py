"""A polite request to end, from a scheduler, a shell or a closed terminal, treated as Ctrl-C.

Half-done work is put away. Windows has no SIGHUP; and where it is ignored, as under nohup, it stays so.
"""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

Handler = Callable[[int, FrameType | None], Any]


def requests_to_end() -> list[signal.Signals]:
    """Return the signals, besides Ctrl-C, that ask a program to end and that are not ignored."""
    hang_up = getattr(signal, "SIGHUP", None)
    if hang_up is None or signal.getsignal(hang_up) == signal.SIG_IGN:
        return [signal.SIGTERM]
    return [signal.SIGTERM, hang_up]


@contextlib.contextmanager
def sigterm_as_ctrl_c() -> Iterator[None]:
    """Within this context SIGTERM and SIGHUP raise `KeyboardInterrupt`."""

    def interrupt(number, frame):
        raise KeyboardInterrupt

    with handled(requests_to_end(), interrupt):
        yield


@contextlib.contextmanager
def ends_at_once(line: str, code: int) -> Iterator[None]:
    """Within this context Ctrl-C, SIGTERM and SIGHUP write `line` to stderr and end the process.

    For imports: an exception inside one of a C library may come out as another one, or not at all. Nothing that is
    half-done may be around.
    """
    stderr = os.dup(2)  # as it is now: libraries are imported with another

    def end(number, frame):
        with contextlib.suppress(OSError):
            os.write(stderr, f"{line}\n".encode())
        os._exit(code)

    try:
        with handled([signal.SIGINT, *requests_to_end()], end):
            yield
    finally:
        os.close(stderr)


@contextlib.contextmanager
def handled(numbers: list[signal.Signals], handler: Handler) -> Iterator[None]:
    """Within this context `handler` gets these signals; only in the main thread, others never see signals."""
    before = {}
    try:
        with contextlib.suppress(ValueError):  # not the main thread: whoever runs us there sees to signals
            for number in numbers:
                before[number] = signal.signal(number, handler)
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
