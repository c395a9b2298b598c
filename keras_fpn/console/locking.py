"""One process at a time: a file that the system locks, and lets go when its process ends, however it ends."""

import contextlib
import errno
import os
import time
from collections.abc import Callable, Iterator
from typing import IO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_EVERY = 0.2  # seconds between two tries
_TAKEN = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK)


@contextlib.contextmanager
def locked(path: str | os.PathLike, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Keep every other process and thread that asks for the same file out until this one is done.

    The file is made if absent, and stays. Where the file system knows no locks nobody is kept out.

    Args:
        path: of the file, in a folder that is there.
        waiting: called once if another has the lock.

    Raises:
        OSError: the file cannot be made.
    """
    with open(path, "ab") as file:
        has_told = False
        while not _taken(file):
            if not has_told:
                waiting()
                has_told = True
            time.sleep(_EVERY)
        try:
            yield
        finally:
            _let_go(file)


@contextlib.contextmanager
def hold(folder: str | os.PathLike) -> Iterator[None]:
    """Tell others, by `is_held`, that this process is there that works in a folder; Windows has no such locks."""
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        _taken(handle)
        yield
    finally:
        os.close(handle)


def is_held(folder: str | os.PathLike) -> bool:
    """Whether a process holds a folder, of this container or of another with the same disk."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # gone by now; or Windows, which opens no folders
        return False
    try:
        return not _taken(handle)
    finally:
        os.close(handle)


def _taken(file: IO[bytes] | int) -> bool:
    """Whether the lock is ours now, as far as there are locks; a number is that of an open folder."""
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
    except OSError as error:
        return error.errno not in _TAKEN
    return True


def _let_go(file):
    with contextlib.suppress(OSError):
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_UN)
        else:
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined,unused-ignore]
