"""Screen kept free of what libraries write to it."""

import contextlib
import os
import sys
from collections.abc import Iterator


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
    with quiet_stderr():
        import tensorflow  # noqa: F401
