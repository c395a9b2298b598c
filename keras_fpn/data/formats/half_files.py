"""Annotation files of a folder by halves, told by names of files and folders."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from keras_fpn.console.errors import UserError
from keras_fpn.data.formats.half_names import WORDS, half_in
from keras_fpn.data.formats.json_files import MOST
from keras_fpn.data.listing import folders_in, names_ending
from keras_fpn.data.objects import shown

_Place = TypeVar("_Place")


def divided(
    found: Mapping[str, _Place], what: str, unread: Mapping[str, Path] | None = None
) -> dict[str, _Place] | None:
    """Places by halves: one alone is "all", several say by their names which half each is.

    Args:
        found: `{name: place}`.
        what: where it was found and what it is, such as "/data: annotation files of Label Studio", for an error.
        unread: further files by such names, which may have been meant and are not what is looked for.

    Returns:
        None where nothing was found; halves in the order of `WORDS`.

    Raises:
        UserError: there are several and a name tells no half, or two tell the same; or one half is there alone, and a
            file that is named as the other one cannot be read as such.
    """
    if len(found) < 2:
        _check_other_half(found, unread or {})
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


def _check_other_half(found: Iterable[str], unread: Mapping[str, Path]) -> None:
    """Refuse one half alone beside a file of the other one that is damaged: it would be lost, and nothing said."""
    wanted = {"train": "val", "val": "train"}
    other = next((wanted.get(half_in(name) or "") for name in found), None)
    for name, file in unread.items():
        if other is not None and half_in(name) == other:
            raise UserError(
                f"{file}: its name says {other}, and it cannot be read as the other half can; write or export it again,"
                " or remove it"
            )


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
        others = _of_ending(folder, next(iter(own.values())))
        return divided(own, f"{folder}: {what}", {file.name: file for file in others if file.name not in own})
    inside: dict[str, Path] = {}
    for name, place in half_folders(folder).items():
        files = list(files_in(place))
        if len(files) > 1:
            names = ", ".join(shown(file.name) for file in files)
            raise UserError(f"{place}: several {what} in the folder of one half ({names}); keep one, or name one")
        if files:
            inside[name] = files[0]
    unread = {
        name: file for name, place in half_folders(folder).items() if inside and name not in inside
        for file in _of_ending(place, next(iter(inside.values())))[:1]
    }  # fmt: skip
    return divided(inside, f"{folder}: folders with {what}", unread)


def _of_ending(folder: Path, file: Path) -> list[Path]:
    """The files of a folder that have the ending of a file; none where each picture has one."""
    names = [name for name in names_ending(folder, file.suffix.lower()) if not name.startswith(".")]
    return [folder / name for name in names] if len(names) <= MOST else []
