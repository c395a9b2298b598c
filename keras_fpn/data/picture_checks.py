"""A few pictures of a data set looked at before training: formats that cannot be read, and brightness that is lost."""

import logging
import warnings
from collections.abc import Sequence

import numpy as np

from keras_fpn.console.errors import UserError
from keras_fpn.console.picture_files import FORMATS
from keras_fpn.data.coco import CocoDataset, Record
from keras_fpn.data.objects import shown

log = logging.getLogger(__name__)

_LOOKED_AT = 8
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PNG = b"\x89PNG\r\n\x1a\n"
_BIT_DEPTH = 24  # the byte of a PNG file that has it
_DARK = 1 / 8  # of the range: below it, 16 bits hold 12 or fewer
_LARGE = 2**26  # pixels; larger pictures take too long to look at


def check_pictures(data_set: CocoDataset) -> None:
    """Look at up to 8 pictures of a data set, one that is called TIFF among them.

    Raises:
        UserError: one of them is a TIFF picture, whatever its name.
    """
    number = len(data_set.records)
    chosen = sorted({round(place * (number - 1) / (_LOOKED_AT - 1)) for place in range(_LOOKED_AT)})
    called = (index for index, each in enumerate(data_set.records) if each.path.lower().endswith((".tif", ".tiff")))
    records = [data_set.records[index] for index in [*called, *chosen][:1] + chosen[1:]]
    starts = [_start_of(record) for record in records]
    for record, start in zip(records, starts, strict=True):
        if start[:4] in _TIFF:
            raise UserError(
                f"{shown(record.path)}: image {record.image_id} of {data_set.annotations} is a TIFF picture, which is"
                " not read here; convert such pictures to PNG or JPEG and name these in the annotations"
            )
    _tell_of_dark([record for record, start in zip(records, starts, strict=True) if _has_16_bits(start)], data_set)


def _start_of(record: Record) -> bytes:
    try:
        with open(record.path, "rb") as file:
            return file.read(_BIT_DEPTH + 1)
    except OSError:  # told when it is decoded
        return b""


def _has_16_bits(start: bytes) -> bool:
    return start[:8] == _PNG and start[_BIT_DEPTH : _BIT_DEPTH + 1] == b"\x10"


def _tell_of_dark(records: Sequence[Record], data_set: CocoDataset) -> None:
    """A line where the brightest of the 16-bit pictures looked at uses a small part of the range."""
    found = [(share, record) for record in records if (share := _brightest(record)) is not None]
    if not found or max(share for share, _ in found) >= _DARK:
        return
    share, record = max(found, key=lambda pair: pair[0])
    highest = max(round(share * 65535), 1)
    log.warning(
        "%s: the 16-bit pictures of %s that were looked at have values up to %d of 65535, which become %d of 255,"
        " almost black; multiply their values by %d, or write 8-bit pictures",
        shown(record.path), data_set.annotations, highest, highest // 257, 65535 // highest,
    )  # fmt: skip


def _brightest(record: Record) -> float | None:
    """The largest value of a picture, transparency aside, as a share of the range; None where it cannot be read."""
    from PIL import Image

    if record.height * record.width > _LARGE:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(record.path, formats=FORMATS) as image:
                if image.size != (record.width, record.height):
                    return None
                bands, pixels = image.getbands(), np.asarray(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    if bands[-1] == "A":
        pixels = pixels[..., :-1]
    # Pillow keeps the 16 bits of grey pictures alone, and of others the upper 8.
    return float(pixels.max()) / (255 if pixels.dtype == np.uint8 else 65535)
