"""Pictures brought over to where a data set is written.

The one place that knows how: `arriving` says what will come of the picture of an image entry, and `bring` brings it.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from keras_fpn.console.errors import UserError
from keras_fpn.data.conversion.sources import Source
from keras_fpn.data.formats.picture_folders import PictureSize, content_size, picture_size
from keras_fpn.data.image_files import inside
from keras_fpn.data.objects import short, shown
from keras_fpn.data.picture_contents import Place, place_of, read_content


class Arriving(NamedTuple):
    """A picture on its way.

    Attributes:
        file: path of the picture, or of the TFRecord file that it lies in.
        place: where in that; None of a file of its own.
        name: the name that it has, relative to its folder, with slashes.
        size: its size, as its header says.
    """

    file: str
    place: Place | None
    name: str
    size: PictureSize


def arriving(source: Source, entry: Mapping[str, Any], file: str) -> Arriving:
    """Tell what comes of the picture of an image entry.

    Raises:
        UserError: it is no picture, or has another size than the entry says; in a TFRecord file, its name leads out of
            the folder that it would be written to.
    """
    place = place_of(entry)
    if place is None:
        name = os.path.relpath(file, source.images).replace(os.sep, "/")
        size = picture_size(file)
    else:
        name = _name_in(source, entry)
        size = content_size(_content(file, place, entry), f"{file}: image {entry['id']}")
    claimed = int(entry["width"]), int(entry["height"])
    if claimed not in (size.stored, (size.width, size.height)):
        raise UserError(
            f"{source.annotations}: image {entry['id']} is said to have {claimed[0]} x {claimed[1]} pixels (width x"
            f" height), and its file {shown(entry['file_name'])} has {size.width} x {size.height}; correct its size"
        )
    return Arriving(file, place, name, size)


def bring(picture: Arriving, target: Path) -> None:
    """Write a picture, byte for byte; the folder of `target` is made."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if picture.place is None:
        shutil.copyfile(picture.file, target)
    else:
        target.write_bytes(read_content(picture.file, picture.place))


def _name_in(source, entry) -> str:
    name = inside(entry["file_name"].replace("\\", "/"))
    if name is None or name == ".":
        raise UserError(
            f'{source.annotations}: image {entry["id"]} has "file_name" {short(entry["file_name"])}, which leads out of'
            " the folder that it would be written to; correct it"
        )
    return name


def _content(file, place, entry) -> bytes:
    try:
        return read_content(file, place)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise UserError(
            f"{shown(file)}: image {entry['id']} cannot be read ({why}); write or download the file again"
        ) from None
