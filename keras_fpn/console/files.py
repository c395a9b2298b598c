"""Files whole or not at all: written under a temporary name beside their place, brought to the disk, then renamed.

A temporary name holds the number of its process: two that write the same file do not meet, and of one that was killed
is known whose it was. In containers all numbers are 1: a temporary folder has a name of its own, too, and the system
keeps a lock on it for as long as its process is there.
"""

import contextlib
import errno
import glob
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keras_fpn.console import locking
from keras_fpn.console.errors import UserError
from keras_fpn.console.processes import is_running

_TEMPORARY = re.compile(r"\..+\.(\d+)\.(unfinished|tmp(\.\w+)?)")


def check_output(path: str | os.PathLike, *, folder: bool = False) -> None:
    """Refuse a place that cannot be written before the work begins rather than after it.

    Raises:
        UserError: `path` is a folder (or, for `folder`, a file), a device or a pipe, or lies where nothing may be
            written.
    """
    path = Path(path)
    if path.exists() and path.is_dir() != folder:
        found, wanted = ("file", "folder") if folder else ("folder", "file")
        raise UserError(f"{path}: is a {found}; give the name of a {wanted}")
    if path.exists() and not (path.is_dir() or path.is_file()):
        raise UserError(f"{path}: is a device or a pipe, which a file would replace; give the name of a file")
    there = next(place for place in (path, *path.absolute().parents) if place.exists())
    if there != path and not there.is_dir():
        raise UserError(f"{path}: cannot be written, since {there} is a file; choose another place")
    if not os.access(there, os.W_OK):
        raise UserError(f"{path}: cannot be written, since {there} is read-only; choose another place")


def check_empty(path: str | os.PathLike) -> None:
    """Refuse a folder to write that has something in it already.

    Raises:
        UserError: it has.
    """
    if Path(path).is_dir() and any(Path(path).iterdir()):
        raise UserError(f"{path}: is not empty, and files in it might be overwritten; choose another OUT or remove it")


def temporary_name(path: str | os.PathLike) -> Path:
    """Return where this process writes a file before it takes the place of `path`: beside it, with the same ending."""
    path = Path(path)
    return path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")


def is_temporary(name: str) -> bool:
    """Whether a file or folder of this name is one that is still being written, or was when its process was killed."""
    return _TEMPORARY.fullmatch(name) is not None


def clear_leftovers(folder: str | os.PathLike, pattern: str = ".*") -> None:
    """Remove the temporary files and folders of processes that are gone; the caller is the only one that writes there.

    Those of this process's number, too: it has written nothing yet, so they are of an earlier one.

    Args:
        folder: that they are in.
        pattern: of the names that are looked at, see `Path.glob`.
    """
    for leftover in filter(_is_left, Path(folder).glob(pattern)):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def _is_left(path):
    """Whether this is the temporary file or folder of a process that is gone."""
    match = _TEMPORARY.fullmatch(path.name)
    if not match or (int(match[1]) != os.getpid() and is_running(int(match[1]))):
        return False
    return not (path.is_dir() and locking.is_held(path))


@contextlib.contextmanager
def whole_or_not_at_all(path: str | os.PathLike, temporary: Path, older: Path | None = None) -> Iterator[None]:
    """Rename the temporary file that is written inside; where that fails, remove it, and let the error name `path`.

    older: name under which the file that was at `path` stays.
    """
    path = Path(path)
    try:
        with errors_name(path):
            yield
            sync(temporary)
            if older is not None and path.exists():
                _keep_as(path, older)
            temporary.replace(path)
            sync(path.absolute().parent)
    finally:
        temporary.unlink(missing_ok=True)


def _keep_as(path, older):
    """Let a file have another name, too: at no time is there none of its own name where the disk has hard links."""
    link = temporary_name(older)
    link.unlink(missing_ok=True)
    try:
        os.link(path, link)
    except (OSError, NotImplementedError, AttributeError):
        path.replace(older)
    else:
        link.replace(older)


def sync(path: Path) -> None:
    """Bring a file or a folder to the disk, so that a power cut after its renaming finds all of it."""
    if path.is_dir() and os.name == "nt":  # Windows opens no folders
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system that knows no such thing
            raise
    finally:
        os.close(handle)


def _sync_all(folder):
    for each in [*folder.rglob("*"), folder]:
        if each.is_file() or each.is_dir():
            sync(each)


@contextlib.contextmanager
def errors_name(path: str | os.PathLike) -> Iterator[None]:
    """An `OSError` inside names `path` instead of a temporary file; a full disk is told without any name."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


@contextlib.contextmanager
def built_aside(path: str | os.PathLike) -> Iterator[Path]:
    """Give a path in a temporary folder; what lies there at the end, file or folder, takes the place of `path`.

    Until then an older `path` stays as it is, and where the work inside fails, or is stopped, it is all that is left:
    folders on the way that were made for it are removed again. Other files of the temporary folder come along where
    there are none of their names beside `path`. What processes that were killed left of this `path` is removed.
    """
    path = Path(path)
    made = [folder for folder in path.absolute().parents if not folder.exists()]
    try:
        with errors_name(path), _folder_beside(path) as aside:
            yield aside / path.name
            _sync_all(aside)
            _take_the_place_of(path, aside)
            sync(path.absolute().parent)
            made = []
            _bring_along(path.parent, aside)
    finally:
        for folder in made:
            with contextlib.suppress(OSError):  # something else is in it by now
                folder.rmdir()


@contextlib.contextmanager
def _folder_beside(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    clear_leftovers(path.parent, f".{glob.escape(path.name)}.*.unfinished")
    ending = f".{os.getpid()}.unfinished"
    aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=ending, dir=path.parent))
    try:
        with locking.hold(aside):
            yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _take_the_place_of(path, aside):
    # A folder cannot be renamed over another: the old one steps aside first, and back where the new one cannot come.
    old = aside / "old" / path.name
    has_old = path.is_dir()
    if has_old:
        old.parent.mkdir()
        path.replace(old)
    try:
        (aside / path.name).replace(path)
    except BaseException:
        if has_old:
            old.replace(path)
        raise


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write a file whole or not at all: to a temporary name, then renamed; its folder is made if absent."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    with whole_or_not_at_all(path, temporary):
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike, content: Any) -> None:
    """Write `content` as JSON, whole or not at all."""
    write_text(path, json.dumps(content, indent=1) + "\n")


def read_json(path: str | os.PathLike, mend: str = "remove it, and it will be made again") -> Any:
    """Return the content of a JSON file; `mend` is what to do about one that is damaged."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: not a whole JSON file ({error}); {mend}") from None


def _bring_along(folder, aside):
    for companion in aside.iterdir():
        if companion.is_file() and not (folder / companion.name).exists():
            companion.replace(folder / companion.name)


def size_of(path: str | os.PathLike) -> int:
    """Bytes of a file, or of all the files in a folder."""
    path = Path(path)
    files = [path] if path.is_file() else [item for item in path.rglob("*") if item.is_file()]
    return sum(file.stat().st_size for file in files)
