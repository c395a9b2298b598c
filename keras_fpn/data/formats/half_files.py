"""Annotation files of a folder by halves, told by names of files and folders."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from keras_fpn.console.errors import UserError
from keras_fpn.data.formats.half_names import WORDS, half_in
from keras_fpn.data.listing import folders_in
from keras_fpn.data.objects import shown

_Place = TypeVar("_Place")


def divided(found: Mapping[str, _Place], what: str) -> dict[str, _Place] | None:
    """Places by halves: one alone is "all", several say by their names which half each is.

    Args:
        found: `{name: place}`.
        what: where it was found and what it is, such as "/data: annotation files of Label Studio", for an error.

    Returns:
        None where nothing was found; halves in the order of `WORDS`.

    Raises:
        UserError: there are several and a name tells no half, or two tell the same.
    """
    if len(found) < 2:
        return {"all": next(iter(found.values()))} if found else None
    by_half: dict[str, _Place] = {}
    for name, place in found.items():
        half = half_in(name)
        if half is None or half in by_half:
            names = ", ".join(sorted(map(shown, found)))
            raise UserError(
                f"{what}: several ({names}), and their names do not tell train from val; name them so, or name one in"
                " the config"
            )
        by_half[half] = place
    return {half: by_half[half] for half in WORDS if half in by_half}


def half_folders(folder: Path) -> dict[str, Path]:
    """The sub-folders that are named as halves: `{name: folder}`."""
    return {each.name: each for each in folders(folder) if half_in(each.name)}


def folders(folder: Path) -> list[Path]:
    """The sub-folders by name, without hidden ones."""
    return [each for each in folders_in(folder) if not each.name.startswith(".")]


def find_files(folder: Path, files_in: Callable[[Path], Iterable[Path]], what: str) -> dict[str, Path] | None:
    """Annotation files of a folder by halves: in the folder itself, or else in its folders `train`, `val` and others.

    Args:
        files_in: gives the annotation files that lie directly in a folder.
        what: see `divided`.

    Raises:
        UserError: see `divided`.
    """
    own = {file.name: file for file in files_in(folder)}
    if own:
        return divided(own, f"{folder}: {what}")
    inside: dict[str, Path] = {}
    for name, place in half_folders(folder).items():
        files = list(files_in(place))
        if len(files) > 1:
            names = ", ".join(shown(file.name) for file in files)
            raise UserError(f"{place}: several {what} in the folder of one half ({names}); keep one, or name one")
        if files:
            inside[name] = files[0]
    return divided(inside, f"{folder}: folders with {what}")
