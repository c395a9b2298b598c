"""Folders as they are listed: one may hold 100,000 files, and every format looks into it."""

import contextlib
import os
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple


class _Listing(NamedTuple):
    """Names of what lies directly in a folder: its folders in order, and its other entries by their endings."""

    folders: list[str]
    others: dict[str, list[str]]


_KEPT: ContextVar[dict[str, _Listing] | None] = ContextVar("listings", default=None)


@contextlib.contextmanager
def listed_once() -> Iterator[None]:
    """Within this context each folder is read from the disk once, and what is written to it meanwhile is not seen."""
    if _KEPT.get() is not None:
        yield
        return
    token = _KEPT.set({})
    try:
        yield
    finally:
        _KEPT.reset(token)


def folders_in(folder: str | os.PathLike) -> list[Path]:
    """The folders that lie directly in a folder, links to folders among them, by name.

    Raises:
        OSError: there is no such folder, or it cannot be listed.
    """
    return [Path(folder, name) for name in _listing(folder).folders]


def names_ending(folder: str | os.PathLike, *endings: str) -> list[str]:
    """The names with an ending, such as ".json" in whatever letters, of all but folders directly in a folder, in order.

    Raises:
        OSError: there is no such folder, or it cannot be listed.
    """
    others = _listing(folder).others
    return sorted(name for ending in endings for name in others.get(ending, ()))


def _listing(folder) -> _Listing:
    kept, path = _KEPT.get(), os.fspath(folder)
    if kept is None:
        return _read(path)
    if path not in kept:
        kept[path] = _read(path)
    return kept[path]


def _read(path) -> _Listing:
    folders: list[str] = []
    others: dict[str, list[str]] = {}
    with os.scandir(path) as entries:
        for entry in entries:
            if _is_folder(entry):
                folders.append(entry.name)
            else:
                others.setdefault(os.path.splitext(entry.name)[1].lower(), []).append(entry.name)
    for names in (folders, *others.values()):
        names.sort()
    return _Listing(folders, others)


def _is_folder(entry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False
