"""A few pictures of a data set looked at before training: formats that cannot be read, and brightness that is lost."""

import logging
import warnings
from collections.abc import Sequence
from io import BytesIO

import numpy as np

from keras_fpn.console.errors import UserError
from keras_fpn.console.picture_files import FORMATS
from keras_fpn.data.coco import CocoDataset, Record
from keras_fpn.data.objects import shown
from keras_fpn.data.picture_contents import content_of

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
    names = enumerate(record.file_name for record in data_set.records)
    called = (index for index, name in names if name.lower().endswith((".tif", ".tiff")))
    records = [data_set.records[index] for index in [*called, *chosen][:1] + chosen[1:]]
    contents = [_content(record) for record in records]
    for record, content in zip(records, contents, strict=True):
        if content[:4] in _TIFF:
            raise UserError(
                f"{shown(record.name)}: image {record.image_id} of {data_set.annotations} is a TIFF picture, which is"
                " not read here; convert such pictures to PNG or JPEG and name these in the annotations"
            )
    pictures = [pair for pair in zip(records, contents, strict=True) if has_16_bits(pair[1])]
    _tell_of_dark(pictures, data_set)


def _content(record: Record) -> bytes:
    try:
        return content_of(record)
    except UserError:  # told when it is decoded
        return b""


def has_16_bits(content: bytes) -> bool:
    """Whether a file begins as a PNG of 16 bits a channel; its first 25 bytes tell."""
    return content[:8] == _PNG and content[_BIT_DEPTH : _BIT_DEPTH + 1] == b"\x10"


def _tell_of_dark(pictures: Sequence[tuple[Record, bytes]], data_set: CocoDataset) -> None:
    """A line where the brightest of the 16-bit pictures looked at uses a small part of the range."""
    shares = [(brightest(content, record.height, record.width), record) for record, content in pictures]
    found = [(share, record) for share, record in shares if share is not None]
    if not found or not is_dark(max(share for share, _ in found)):
        return
    share, record = max(found, key=lambda pair: pair[0])
    log.warning(
        "%s: the 16-bit pictures of %s that were looked at have %s",
        shown(record.name), data_set.annotations, darkness(share),
    )  # fmt: skip


def is_dark(share: float) -> bool:
    """Whether 16-bit pictures whose brightest value is this share of the range use a small part of it."""
    return share < _DARK


def darkness(share: float) -> str:
    """Words for 16-bit pictures whose brightest value is this share of the range, and what to do about them."""
    highest = max(round(share * 65535), 1)
    return (
        f"values up to {highest} of 65535, which become {highest // 257} of 255, almost black; multiply their values by"
        f" {65535 // highest}, or write 8-bit pictures"
    )


def brightest(content: bytes, height: int, width: int) -> float | None:
    """The largest value of a picture, transparency aside, as a share of the range.

    None where it cannot be read, has another size than this, or is very large.
    """
    from PIL import Image

    if height * width > _LARGE:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(BytesIO(content), formats=FORMATS) as image:
                if image.size != (width, height):
                    return None
                bands, pixels = image.getbands(), np.asarray(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    if bands[-1] == "A":
        pixels = pixels[..., :-1]
    # Pillow keeps the 16 bits of grey pictures alone, and of others the upper 8.
    return float(pixels.max()) / (255 if pixels.dtype == np.uint8 else 65535)
