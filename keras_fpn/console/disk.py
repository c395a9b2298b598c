"""A disk that takes nothing more, full or read-only: told in one line, whichever library meets it."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from keras_fpn.console.errors import UserError

MENDS = {
    errno.ENOSPC: "make room on its disk",
    errno.EDQUOT: "make room in your quota",
    errno.EROFS: "make its disk writable",
    errno.EFBIG: "take a disk that holds files of this size",
}


@contextlib.contextmanager
def told(place: Path) -> Iterator[None]:
    """Turn the error of a full or read-only disk into a `UserError`, which names the file, or else `place`."""
    try:
        yield
    except Exception as error:
        number = reason(error)
        if number is None:
            raise
        file = getattr(error, "filename", None) or place
        raise UserError(f"{file}: {os.strerror(number)}; {MENDS[number]}") from error


def reason(error: BaseException) -> int | None:
    """Return the `errno` of a disk that takes nothing more, or None for any other error.

    TensorFlow and HDF5 give the number, if at all, in the words of the message.
    """
    number = getattr(error, "errno", None)
    if number in MENDS:
        return number
    is_tensorflows = type(error).__module__.startswith("tensorflow.")
    if number is None and (is_tensorflows or isinstance(error, (OSError, RuntimeError))):
        text = str(error)
        return next((each for each in MENDS if os.strerror(each) in text or f"errno = {each}," in text), None)
    return None
