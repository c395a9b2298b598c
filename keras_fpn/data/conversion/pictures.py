"""Pictures brought over to where a data set is written: byte for byte, or as PNG where the graph does not read them.

The one place that knows how: `arriving` says what will come of the picture of an image entry, and `bring` brings it.
"""

import os
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from keras_fpn.console.errors import UserError
from keras_fpn.data import rewriting
from keras_fpn.data.conversion.sources import Source
from keras_fpn.data.formats.picture_folders import PictureSize, content_size, picture_size
from keras_fpn.data.image_files import inside
from keras_fpn.data.objects import short, shown
from keras_fpn.data.picture_contents import Place, place_of, read_content
from keras_fpn.data.rewriting import Rewritten


class Arriving(NamedTuple):
    """A picture on its way.

    Attributes:
        file: path of the picture, or of the TFRecord file that it lies in.
        place: where in that; None of a file of its own.
        name: the name that it has, relative to its folder, with slashes; the ending is that of what is written.
        size: its size, as its header says.
        rewritten: its PNG, where the graph of training does not read it as it is.
    """

    file: str
    place: Place | None
    name: str
    size: PictureSize
    rewritten: Rewritten | None


class Written(NamedTuple):
    """Account of a writer.

    Attributes:
        renamed: how many pictures have other names than they had.
        companions: how many objects have each key that is in the companion files alone.
        rewritten: path and kind of each picture that is PNG now, without its content.
    """

    renamed: int
    companions: Counter[str]
    rewritten: list[tuple[str, Rewritten]]


def arriving(source: Source, entry: Mapping[str, Any], file: str) -> Arriving:
    """Tell what comes of the picture of an image entry.

    Raises:
        UserError: it is no picture, or has another size than the entry says; see `name_of`.
    """
    place, name, title = place_of(entry), name_of(source, entry, file), f"{file}: image {entry['id']}"
    content = None if place is None else _content(file, place, entry)
    rewritten = rewriting.rewritten(file if content is None else content, title)
    if rewritten is not None:
        name, content = os.path.splitext(name)[0] + rewritten.suffix, rewritten.content
    size = picture_size(file) if content is None else content_size(content, title)
    claimed = int(entry["width"]), int(entry["height"])
    if claimed not in (size.stored, (size.width, size.height)):
        raise UserError(
            f"{source.annotations}: image {entry['id']} is said to have {claimed[0]} x {claimed[1]} pixels (width x"
            f" height), and its file {shown(entry['file_name'])} has {size.width} x {size.height}; correct its size"
        )
    return Arriving(file, place, name, size, rewritten)


def name_of(source: Source, entry: Mapping[str, Any], file: str) -> str:
    """The name of the picture of an image entry, relative to its folder, with slashes.

    Raises:
        UserError: in a TFRecord file, it leads out of the folder that it would be written to.
    """
    if place_of(entry) is None:
        return os.path.relpath(file, source.images).replace(os.sep, "/")
    name = inside(entry["file_name"].replace("\\", "/"))
    if name is None or name == ".":
        raise UserError(
            f'{source.annotations}: image {entry["id"]} has "file_name" {short(entry["file_name"])}, which leads out of'
            " the folder that it would be written to; correct it"
        )
    return name


def bring(picture: Arriving, target: Path) -> None:
    """Write a picture; the folder of `target` is made."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if picture.rewritten is not None:
        target.write_bytes(picture.rewritten.content)
    elif picture.place is None:
        shutil.copyfile(picture.file, target)
    else:
        target.write_bytes(read_content(picture.file, picture.place))


def as_told(picture: Arriving) -> list[tuple[str, Rewritten]]:
    """The picture for `Written.rewritten`, if it is one of these."""
    return [] if picture.rewritten is None else [(picture.file, picture.rewritten._replace(content=b""))]


def _content(file, place, entry) -> bytes:
    try:
        return read_content(file, place)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise UserError(
            f"{shown(file)}: image {entry['id']} cannot be read ({why}); write or download the file again"
        ) from None
