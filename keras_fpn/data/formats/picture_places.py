"""Where the pictures are that a tool's file names: by paths of another machine, addresses, or names alone."""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from keras_fpn.console.errors import UserError
from keras_fpn.data.formats.half_files import folders
from keras_fpn.data.formats.half_names import half_in
from keras_fpn.data.formats.picture_folders import picture_size
from keras_fpn.data.objects import shown

_USUAL = ("images", "img", "imgs", "jpegimages", "data")
_ANNOTATION_FOLDERS = ("annotations", "annotation", "ann", "labels", "json", "jsons")
_LOOKED_AT = 5  # names: enough to tell a folder by


def name_inside(images: str | os.PathLike, named: str) -> str:
    """The name of a picture relative to the image folder, with slashes.

    Args:
        images: the image folder.
        named: what the tool calls the file: a name, a path of any machine, with slashes or back-slashes, or an address.

    Returns:
        The longest end of the path that is a file in the folder, at last one with its ending in other letters. Where
        none is: the path, if it leads into the folder, and its last part otherwise.
    """
    plain = _plain(named)
    parts = [part for part in plain.split("/") if part not in ("", ".")]
    ends = ["/".join(parts[start:]) for start in range(len(parts)) if ".." not in parts[start:]]
    for change in (str, str.upper, str.lower):
        for stem, ending in map(os.path.splitext, ends):
            if os.path.isfile(os.path.join(images, stem + change(ending))):
                return stem + change(ending)
    leads_elsewhere = plain.startswith("/") or ".." in parts or (parts and re.fullmatch("[A-Za-z]:", parts[0]))
    return "/".join(parts[-1:] if leads_elsewhere else parts)


def size_of(source: str, images: str | os.PathLike, name: str) -> tuple[int, int]:
    """Height and width of a picture as it is looked at, where the tool's file does not say them.

    Raises:
        UserError: the picture is not there, or cannot be read.
    """
    place = os.path.join(images, name)
    if not os.path.isfile(place):
        raise UserError(
            f"{shown(place)}: this picture of {source} is not there, and its size stands nowhere else; check the image"
            " folder, or remove the entry"
        )
    size = picture_size(place)
    return size.height, size.width


def _plain(named: str) -> str:
    """A path with slashes; of an address the path alone."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", named):
        return "/" + urlsplit(named).path.lstrip("/")
    return named.replace("\\", "/")


def image_folder(places: Iterable[Path], named: Sequence[str]) -> Path:
    """The folder that the pictures lie in: of some places the first that has one of those named.

    Where none has one, it is the first place that there is; an error about a missing picture names it.
    """
    there = [place for place in places if place.is_dir()]
    for place in there:
        if any((place / name_inside(place, name)).is_file() for name in named[:_LOOKED_AT]):
            return place
    return there[0]


def places_beside(file: Path, half: str | None = None) -> list[Path]:
    """Folders in which the pictures of an annotation file usually lie, the likeliest first.

    `images/` beside the file or the file's own folder, before them folders of the half; the same one folder up where
    the file lies in `annotations/`, or in a folder of a half.
    """
    found = []
    is_inside = file.parent.name.lower() in _ANNOTATION_FOLDERS or half_in(file.parent.name)
    for place in (file.parent, file.parent.parent) if is_inside else (file.parent,):
        usual = [each for each in folders(place) if each.name.lower() in _USUAL]
        inside = [each for outer in (*usual, place) for each in folders(outer)] if half else []
        found += [*(each for each in inside if half_in(each.name) == half), *usual, place]
    return found
