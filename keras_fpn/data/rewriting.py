"""Pictures that TensorFlow does not read, written as PNG once; and the pixels that each picture stands for.

The graph of training and serving reads JPEG, PNG, GIF, and most of BMP and WebP (see `decode`). `rewritten` makes a PNG
of the others that Pillow reads, with the same pixels as `decoded` gives `keras_fpn.detect`, and with the orientation
that the file had, so that annotations drawn either way still fit. No TensorFlow is needed.
"""

import contextlib
import os
import struct
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageChops, TiffImagePlugin

from keras_fpn.console.picture_files import (
    FORMATS,
    FURTHER_FORMATS,
    MAX_PIXELS,
    NO_KIND,
    encoded,
    kind_of,
    opened,
    opened_content,
)

HEAD = 4096  # bytes, in which `unread` sees all that it looks for
SUFFIX = ".png"

REPLACE = "which is not read; replace it by a JPEG or PNG, or remove it from the annotations"

_NO_COLOURS = "its values are signed, of 32 bits or floating point; scale them to 0..255"

_TURNS = {  # by orientation: how the stored pixels become upright ones
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
_BACK = {6: 8, 8: 6}  # the orientation whose turn undoes that of another; of those not named their own
TITLES = {"TIFF": "TIFF", "AVIF": "AVIF", "HEIF": "HEIF (HEIC)"}
ANIMATED_WEBP, OTHER_BMP, PARTIAL_GIF = "animated WebP", "BMP of an unusual form", "GIF with a smaller first picture"
MEND = (
    "which is not read as it is; write it as PNG (keras-fpn data convert does so), or let it be rewritten in memory:"
    " data.cache=true (from Python cache=True)"
)
_BMP_MASKS = struct.pack("<III", 0xFF0000, 0xFF00, 0xFF)  # of red, green and blue where TensorFlow looks for them
_BITS, _COMPRESSION, _PHOTOMETRIC, _PLANES, _SAMPLE_FORMAT = 258, 259, 262, 284, 339  # tags of TIFF 6.0
_UNCOMPRESSED, _WHITE_IS_ZERO, _SEPARATE, _NUMBERS = 1, 0, 2, {1, 4}  # values; 1 without sign, 4 nothing said


class Rewritten(NamedTuple):
    """A picture as a PNG file.

    Attributes:
        content: of the file.
        suffix: ".png", for its name.
        title: what the picture was, such as "TIFF".
        others: how many further pictures its file has (pages, frames), which are left out.
    """

    content: bytes
    suffix: str
    title: str
    others: int


def unread(head: bytes) -> str | None:
    """Name what a picture is, such as "TIFF", where the graph does not read it and `rewritten` may.

    Args:
        head: the first `HEAD` bytes of the file.

    Returns:
        None for what is read as it is, and for what is no picture known here.
    """
    kind = kind_of(head[:64])
    if kind == "WEBP" and head[12:16] == b"VP8X" and head[20:21] and head[20] & 2:
        return ANIMATED_WEBP
    if kind == "BMP" and len(head) > 34 and not _is_plain_bmp(head):
        return OTHER_BMP
    if kind == "GIF" and not _fills_its_canvas(head):
        return PARTIAL_GIF
    return TITLES.get(kind)


def foreign(head: bytes) -> str | None:
    """Name what a file is, such as "JPEG 2000", where it is known and neither the graph nor `rewritten` reads it."""
    kind = kind_of(head[:64])
    return None if kind in FORMATS or kind in FURTHER_FORMATS or kind in NO_KIND else kind


def why_unread(path: str) -> str | None:
    """A sentence about a file that the graph does not read, by its first bytes; None where they do not tell."""
    head = head_of(path)
    title, kind = unread(head), foreign(head)
    if title is not None:
        return f"{path}: is {title}, {MEND}"
    return None if kind is None else f"{path}: is {kind}, {REPLACE}"


def rewritten(
    picture: str | os.PathLike | bytes, name: str = "a picture", max_pixels: int = MAX_PIXELS
) -> Rewritten | None:
    """A picture as a PNG file: its first page or frame, or the main one of a HEIF file.

    Pixels are those of Pillow's `convert("RGB")`, of grey ones one channel; 16 bits of grey stay 16, of colours the
    upper 8 stay. The orientation is noted as the file has it, except in HEIF, whose pixels are upright.

    Args:
        picture: path of a file, or the content of one.
        name: said in errors about a content.
        max_pixels: the most that one may have.

    Returns:
        None for a picture that the graph reads as it is, and for what is none, or not there.

    Raises:
        UserError: it is damaged, has more pixels, or holds what is no colour (signed, 32-bit and floating-point
            values); HEIF needs the extra "heif", AVIF a Pillow that has it. Names the file and the mend.
    """
    head = picture[:HEAD] if isinstance(picture, bytes) else head_of(picture)
    title = unread(head)
    if title is None:
        return None
    more_pixels = "or write it in a format that is read as it is (JPEG, PNG)"
    context = (
        opened_content(picture, name, max_pixels, more_pixels)
        if isinstance(picture, bytes)
        else opened(picture, max_pixels, more_pixels)
    )
    with context as image:
        others = _others(image)
        said = orientation_of(image)
        pixels, left = decoded(image)
        if said != left:
            pixels = pixels.transpose(_TURNS[_BACK.get(said, said)])
        pixels.info = {}  # a profile of other colours, or what was transparent
        options = {} if said == 1 else {"exif": _noted(said)}
        return Rewritten(encoded(pixels, SUFFIX, **options), SUFFIX, title, others)


def head_of(file: str | os.PathLike) -> bytes:
    """The first `HEAD` bytes of a file; none where it cannot be read, which is told when it is decoded."""
    try:
        with open(file, "rb") as stream:
            return stream.read(HEAD)
    except (OSError, ValueError):  # the second of a name that no path can have
        return b""


def decoded(picture: Image.Image) -> tuple[Image.Image, int]:
    """The pixels of a picture as every reader gives them, and the orientation that they are still to be turned by.

    Alpha is dropped; the transparent pixels of a GIF are black, as TensorFlow decodes them.

    Returns:
        a picture of mode "L", "RGB" or "I;16", and 1..8 as in EXIF.

    Raises:
        ValueError: its values are no colours; Pillow raises this and others for what is damaged.
    """
    left = orientation_of(picture)
    if isinstance(picture, TiffImagePlugin.TiffImageFile):
        _check_tiff(picture)
        left = 1  # turned when it is loaded
    picture.load()  # here, where what is wrong with the pixels is told
    if picture.mode.startswith("I;16"):
        return Image.fromarray(_whole_values(picture)), left
    if picture.mode in ("I", "F"):
        raise ValueError(_NO_COLOURS)
    if picture.format == "GIF" and "transparency" in picture.info and picture.mode in ("L", "P"):
        return _with_black(picture), left
    if picture.format == "JPEG" and picture.mode == "CMYK" and "adobe" not in picture.info:
        picture = ImageChops.invert(picture)  # Pillow takes all for Adobe's, which are inverted
    return picture.convert("L" if picture.mode in ("1", "L", "LA") else "RGB"), left


def upright(picture: Image.Image) -> np.ndarray:
    """`[H, W, 3]` uint8 RGB as a picture is looked at; of 16 bits the upper 8, as TensorFlow decodes them.

    Raises:
        ValueError: see `decoded`.
    """
    pixels, left = decoded(picture)
    if pixels.mode == "I;16":
        pixels = Image.fromarray((np.asarray(pixels) >> 8).astype(np.uint8))
    pixels = pixels.convert("RGB")
    return np.asarray(pixels.transpose(_TURNS[left]) if left in _TURNS else pixels)


def orientation_of(picture: Image.Image) -> int:
    """Orientation 1..8 in the EXIF or XMP block of a picture; 1 where nothing readable is said."""
    with contextlib.suppress(Exception):  # a block that says nothing of use: the picture as it is stored
        said = picture.getexif().get(ExifTags.Base.Orientation, 1)
        return said if said in _TURNS else 1
    return 1


def told(pictures: Iterable[tuple[str, Rewritten]]) -> list[str]:
    """Lines that say what was rewritten of `(path, Rewritten)`s, and what was left out; none of none."""
    pictures = list(pictures)
    if not pictures:
        return []
    counts = Counter(one.title for _, one in pictures)
    kinds = ", ".join(f"{count} {title}" for title, count in counts.most_common())
    lines = [f"{len(pictures)} pictures were rewritten as PNG ({kinds})"]
    several = [(path, one.others) for path, one in pictures if one.others]
    if several:
        path, others = several[0]
        lines.append(
            f"of {len(several)} files with more than one picture the first alone is used, of {path} 1 of {others + 1}"
        )
    return lines


def _others(picture) -> int:
    """How many pictures a file has besides its first."""
    with contextlib.suppress(Exception):  # the way to the others is broken, which is no matter
        return getattr(picture, "n_frames", 1) - 1
    return 0


def _noted(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif


def _check_tiff(picture):
    """Refuse what Pillow reads wrongly, or not as colours."""
    tags = picture.tag_v2
    if set(tags.get(_SAMPLE_FORMAT, ())) - _NUMBERS:
        raise ValueError(_NO_COLOURS)
    is_raw = tags.get(_PLANES) == _SEPARATE and tags.get(_COMPRESSION, _UNCOMPRESSED) == _UNCOMPRESSED
    if is_raw and tags.get(_BITS, (1,))[0] > 8 and len(picture.getbands()) > 1:
        raise ValueError("its colours of 16 bits lie in separate, uncompressed planes; write it with compression")


def _whole_values(picture: Image.Image) -> np.ndarray:
    """`[H, W]` uint16 of a grey picture; 0 is black, which Pillow sees to with 8 bits alone."""
    values = np.asarray(picture).astype(np.uint16)
    if isinstance(picture, TiffImagePlugin.TiffImageFile) and picture.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        return 2 ** picture.tag_v2.get(_BITS, (16,))[0] - 1 - values
    return values


def _with_black(picture):
    """A GIF in RGB with its transparent pixels black."""
    is_shown = np.asarray(picture) != picture.info["transparency"]
    return Image.fromarray(np.asarray(picture.convert("RGB")) * is_shown[..., None].astype(np.uint8))


def _is_plain_bmp(head: bytes) -> bool:
    """Whether TensorFlow reads a BMP: of 8, 24 or 32 bits, not packed, its colours in the usual order."""
    header, bits, packing = struct.unpack_from("<I", head, 14)[0], *struct.unpack_from("<HI", head, 28)
    if packing == 3 and bits == 32:
        return header >= 40 and head[54 : 54 + len(_BMP_MASKS)] == _BMP_MASKS
    return header >= 40 and bits in (8, 24, 32) and packing == 0


def _fills_its_canvas(head: bytes) -> bool:
    """Whether the first picture of a GIF has the size of the whole; True where the head does not tell."""
    place = 13 + _palette_bytes(head[10]) if len(head) > 10 else len(head)
    while place + 9 < len(head) and head[place] == ord("!"):  # an extension: its kind, then blocks with their lengths
        place += 2
        while place < len(head) and head[place]:
            place += 1 + head[place]
        place += 1
    if place + 9 >= len(head) or head[place] != ord(","):
        return True
    return head[place + 1 : place + 9] == bytes(4) + head[6:10]  # left and top, then the sides


def _palette_bytes(flags: int) -> int:
    """Bytes of the palette that the flags of a GIF announce."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0
