"""Screen kept free of what libraries write to it, and of what texts of files would do to it."""

import contextlib
import gc
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO

from keras_fpn.console.text import plain_lines

_COLLECTIONS = gc.get_threshold()  # as Python begins


def look_less_often() -> None:
    """Let the garbage collector be while the command's own files are imported: looking through them is a tenth of that.

    `import_quietly` sets it back, since models are cycles that hold much memory.
    """
    gc.set_threshold(200_000, *_COLLECTIONS[1:])


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Within this context nothing reaches stderr, not from C++ libraries either, whatever their log level."""
    sys.stderr.flush()
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)


def import_quietly() -> None:
    """Import TensorFlow without the notes of its libraries."""
    gc.set_threshold(*_COLLECTIONS)
    with quiet_stderr():
        import tensorflow  # noqa: F401


@contextlib.contextmanager
def plain_output() -> Iterator[None]:
    """Within this context what is printed holds no control characters, and none that the encoding cannot hold.

    They are spelt out, such as `\\x1b`. The live bars of `rich` are let through.
    """
    with contextlib.ExitStack() as stack:
        for name in ("stdout", "stderr"):
            stack.enter_context(_plain_stream(name))
        yield


@contextlib.contextmanager
def _plain_stream(name):
    raw = getattr(sys, name)
    if raw is None:  # a program without a console
        yield
        return
    errors = getattr(raw, "errors", None)
    can_be_told = hasattr(raw, "reconfigure")
    if can_be_told:
        raw.reconfigure(errors="backslashreplace")
    stream = _PlainStream(raw, name)
    setattr(sys, name, stream)
    try:
        yield
    finally:
        if getattr(sys, name) is stream:
            setattr(sys, name, raw)
        if can_be_told and not raw.closed:
            with contextlib.suppress(OSError):  # it flushes, perhaps to a pipe that nobody reads any more
                raw.reconfigure(errors=errors)


class _PlainStream:
    """A text stream that spells out control characters, and otherwise is the one that it wraps."""

    def __init__(self, raw: TextIO, name: str):
        self._raw, self._name = raw, name
        self.rich_proxied_file = raw  # where `rich` writes if it finds this

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def write(self, text: str) -> int:
        # While a live bar is shown, rich stands in our place and writes through us what it has made of our lines.
        is_ours = getattr(sys, self._name) is self
        with self._named():
            self._raw.write(plain_lines(text) if is_ours else text)
        return len(text)

    def flush(self) -> None:
        with self._named():
            self._raw.flush()

    @contextlib.contextmanager
    def _named(self):
        try:
            yield
        except OSError as error:  # a full disk, or nobody who reads
            raise OSError(error.errno, error.strerror, self._name) from error

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)
