"""Masks that tools keep as PNG files inside their JSON."""

import base64
import binascii
import io
import zlib

import numpy as np
from PIL.PngImagePlugin import PngImageFile

from keras_fpn.console.picture_files import check_pixels, readable

_MOST = 10**8  # bytes of an unpacked file, which is a PNG of two colours


def pixels(encoded: str, what: str, is_packed: bool = False) -> np.ndarray:
    """`[rows, columns]` bool: where a picture is opaque, if it has transparent pixels, or else not black.

    Args:
        encoded: the PNG file as base64.
        what: its name in an error.
        is_packed: whether zlib has packed the file.

    Raises:
        ValueError: it is no base64, or not packed.
        UserError: it is no readable PNG.
    """
    try:
        data = base64.b64decode(encoded, validate=True)
        data = zlib.decompressobj().decompress(data, _MOST) if is_packed else data
    except (binascii.Error, TypeError, zlib.error) as error:
        raise ValueError(f"{what} is no PNG as base64 ({error})") from None
    with readable(what):
        picture = PngImageFile(io.BytesIO(data))
        check_pixels(what, *picture.size)
        if "A" in picture.mode or "transparency" in picture.info:
            return np.asarray(picture.convert("RGBA"))[..., 3] > 0
        return np.asarray(picture.convert("L")) > 0
