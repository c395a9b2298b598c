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
from keras_fpn.data.formats.picture_folders import PictureSize, picture_size
from keras_fpn.data.objects import shown


class Arriving(NamedTuple):
    """A picture on its way.

    Attributes:
        file: path of the picture.
        name: the name that it has, relative to its folder, with slashes.
        size: its size, as its header says.
    """

    file: str
    name: str
    size: PictureSize


def arriving(source: Source, entry: Mapping[str, Any], file: str) -> Arriving:
    """Tell what comes of the picture of an image entry.

    Raises:
        UserError: it is no picture, or has another size than the entry says.
    """
    if "record" in entry:
        raise UserError(
            f"{source.annotations}: image {entry['id']} lies in {shown(str(file))}, and pictures in TFRecord files are"
            " not written as files; convert a data set of picture files"
        )
    size = picture_size(file)
    claimed = int(entry["width"]), int(entry["height"])
    if claimed not in (size.stored, (size.width, size.height)):
        raise UserError(
            f"{source.annotations}: image {entry['id']} is said to have {claimed[0]} x {claimed[1]} pixels (width x"
            f" height), and its file {shown(entry['file_name'])} has {size.width} x {size.height}; correct its size"
        )
    return Arriving(file, os.path.relpath(file, source.images).replace(os.sep, "/"), size)


def bring(picture: Arriving, target: Path) -> None:
    """Copy a picture, byte for byte; the folder of `target` is made."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(picture.file, target)
