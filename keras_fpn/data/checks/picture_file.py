"""A picture of a data set: a file of its own, or one that lies in a TFRecord file."""

import io
import os
from collections.abc import Mapping
from typing import Any, BinaryIO, NamedTuple

from keras_fpn.data.picture_contents import RECORD, Place, check_place, place_of, read_content


class PictureFile(NamedTuple):
    """Where a picture is: its file, and its place in it where that is a TFRecord file."""

    path: str
    place: Place | None = None

    def read(self) -> bytes:
        """The encoded picture.

        Raises:
            OSError, ValueError: it cannot be read.
        """
        return read_content(self.path, self.place)

    def open(self) -> BinaryIO:
        """The encoded picture, to be read from its first byte on.

        Raises:
            OSError, ValueError: see `read`.
        """
        return open(self.path, "rb") if self.place is None else io.BytesIO(self.read())

    def to_json(self) -> dict[str, Any]:
        """Where it is, as JSON takes it."""
        return {"path": self.path} if self.place is None else {"path": self.path, **self.place._asdict()}


def of_record(source: str, image: Mapping[str, Any], folder: str) -> PictureFile | None:
    """The picture of an image entry that names a TFRecord file; None where that is not there.

    Raises:
        UserError: the entry does not say where in it the picture is.
    """
    check_place(source, {"id": image.get("id"), RECORD: image[RECORD]})
    path = os.path.join(folder, image[RECORD]["file"])
    return PictureFile(path, place_of(image)) if os.path.isfile(path) else None
