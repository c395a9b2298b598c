"""A few pictures of a data set looked at before training: brightness that is lost."""

import logging
import sys
import warnings
from collections.abc import Sequence
from io import BytesIO

import numpy as np
from PIL import TiffImagePlugin

from keras_fpn.console.errors import UserError
from keras_fpn.console.picture_files import FORMATS, kind_of, opened_content
from keras_fpn.data.coco import CocoDataset, Record
from keras_fpn.data.objects import shown
from keras_fpn.data.picture_contents import content_of

log = logging.getLogger(__name__)

_LOOKED_AT = 8
_TIFF_BITS = 258  # tag of the bits of a value
_PNG = b"\x89PNG\r\n\x1a\n"
_BIT_DEPTH = 24  # the byte of a PNG file that has it
_DARK = 1 / 8  # of the range: below it, 16 bits hold 12 or fewer
_LARGE = 2**26  # pixels; larger pictures take too long to look at


def check_pictures(data_set: CocoDataset) -> None:
    """Look at up to 8 pictures of a data set, and tell of 16-bit ones that become almost black."""
    number = len(data_set.records)
    chosen = sorted({round(place * (number - 1) / (_LOOKED_AT - 1)) for place in range(_LOOKED_AT)})
    contents = ((data_set.records[index], _content(data_set.records[index])) for index in chosen)
    _tell_of_dark([pair for pair in contents if has_16_bits(pair[1]) or _is_deep_tiff(pair[1])], data_set)


def _content(record: Record) -> bytes:
    try:
        return content_of(record)
    except UserError:  # told when it is decoded
        return b""


def has_16_bits(content: bytes) -> bool:
    """Whether a file begins as a PNG of 16 bits a channel; its first 25 bytes tell."""
    return content[:8] == _PNG and content[_BIT_DEPTH : _BIT_DEPTH + 1] == b"\x10"


def _is_deep_tiff(content: bytes) -> bool:
    if kind_of(content[:64]) != "TIFF":
        return False
    try:
        with opened_content(content, "a picture", sys.maxsize) as image:
            return isinstance(image, TiffImagePlugin.TiffImageFile) and image.tag_v2.get(_TIFF_BITS, (1,))[0] > 8
    except UserError:
        return False


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
