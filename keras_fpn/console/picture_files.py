"""Picture files: which formats are opened, and what their first bytes say before a pixel takes memory.

A format is told by content, and nothing but the decoders of these formats gets a file: Pillow itself would start
Ghostscript on PostScript, whatever the name of the file is.
"""

import contextlib
import importlib
import importlib.util
import io
import os
import stat
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from PIL import BmpImagePlugin, GifImagePlugin, Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

from keras_fpn.console.errors import UserError

# `formats` for `Image.open`, too. MPO, several pictures in one file that phones name .jpg, is opened as JPEG.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF")
FURTHER_FORMATS = ("AVIF", "HEIF")  # which not every installation reads
# A picture takes some 20 bytes a pixel while it is resized: here 2 GB. Hardly a camera has as many pixels.
MAX_PIXELS = 100_000_000

_BYTES_A_PIXEL = 20
_MORE_PIXELS = "or raise --max-pixels (max_pixels in Python)"


def _avif(stream, name):
    from PIL import AvifImagePlugin

    if not AvifImagePlugin.SUPPORTED:
        raise UserError(
            f"{name}: is AVIF, which Pillow reads from 11.3 on; pip install --upgrade pillow, or convert it to PNG"
        )
    return AvifImagePlugin.AvifImageFile(stream, name)


def _heif(stream, name):
    if importlib.util.find_spec("pi_heif") is None:
        raise UserError(
            f'{name}: is HEIF (HEIC), which pi-heif reads; pip install "keras-fpn[heif]", or convert it to PNG or JPEG'
        )
    return importlib.import_module("pi_heif.as_plugin").HeifImageFile(stream, name)


# The decoders themselves: `Image.open` warns of large pictures and refuses larger ones by a limit that it has for the
# whole process.
_DECODERS: dict[str, Callable[..., Image.Image]] = {
    "JPEG": JpegImagePlugin.jpeg_factory,
    "PNG": PngImagePlugin.PngImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "AVIF": _avif,
    "HEIF": _heif,
}
STARTS = (
    (b"\xff\xd8\xff", "JPEG"), (b"\x89PNG\r\n\x1a\n", "PNG"), (b"BM", "BMP"), (b"GIF87a", "GIF"), (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"), (b"MM\0*", "TIFF"), (b"II+\0", "TIFF"), (b"MM\0+", "TIFF"),
)  # fmt: skip
OTHER_STARTS = (
    (b"%!PS", "PostScript"), (b"\xc5\xd0\xd3\xc6", "PostScript (EPS)"), (b"%PDF", "PDF"), (b"8BPS", "Photoshop (PSD)"),
    (b"\0\0\0\x0cjP", "JPEG 2000"), (b"\xff\x4f\xff\x51", "JPEG 2000"), (b"\0\0\0\x0cJXL", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"), (b"\0\0\1\0", "an icon (ICO)"), (b"<svg", "SVG"), (b"<?xml", "XML, perhaps SVG"),
    (b"<!DOCTYPE", "a web page"), (b"<html", "a web page"), (b"PK\3\4", "a ZIP archive"), (b"\x1f\x8b", "gzip"),
    (b"version https://git-lfs", "a pointer of Git LFS; git lfs pull fetches the picture"), (b"v/1\1", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"), (b"P5\n", "PGM"), (b"P6\n", "PPM"),
)  # fmt: skip
# The brands of files that begin with a box "ftyp" (ISO/IEC 14496-12), the first one known counts.
BRANDS = (
    (b"avif", "AVIF"), (b"avis", "AVIF"), (b"heic", "HEIF"), (b"heix", "HEIF"), (b"heim", "HEIF"), (b"heis", "HEIF"),
    (b"hevc", "HEIF"), (b"hevx", "HEIF"), (b"hevm", "HEIF"), (b"hevs", "HEIF"), (b"crx ", "Canon raw (CR3)"),
)  # fmt: skip
VIDEO = "a video"  # of other brands
EMPTY, TEXT, UNKNOWN = NO_KIND = ("an empty file", "text", "of an unknown format")
_LOOKED_AT = 64  # bytes


@contextlib.contextmanager
def opened(
    file: str | os.PathLike, max_pixels: int = MAX_PIXELS, more_pixels: str = _MORE_PIXELS
) -> Iterator[Image.Image]:
    """Open a picture file; nothing of it is decoded yet. What decoding it inside raises becomes a `UserError`.

    Args:
        more_pixels: what else to do about one with more pixels than `max_pixels`, for the error.

    Raises:
        UserError: there is no such file, it is no picture of one of the formats, it is damaged, or it has more pixels.
    """
    with readable(os.fspath(file)):
        _check_regular(file)
        with open(file, "rb") as stream, opened_stream(stream, os.fspath(file), max_pixels, more_pixels) as picture:
            yield picture


@contextlib.contextmanager
def opened_stream(
    stream: BinaryIO, name: str, max_pixels: int = MAX_PIXELS, more_pixels: str = _MORE_PIXELS
) -> Iterator[Image.Image]:
    """Open a picture from its first byte on; see `opened`, whose errors have this name.

    Raises:
        UserError: see `opened`.
    """
    with readable(name):
        yield _open(stream, name, max_pixels, more_pixels)


@contextlib.contextmanager
def opened_content(
    content: bytes, name: str, max_pixels: int = MAX_PIXELS, more_pixels: str = _MORE_PIXELS
) -> Iterator[Image.Image]:
    """Open the content of a picture file; see `opened`, whose errors name it so.

    Raises:
        UserError: see `opened`.
    """
    with opened_stream(io.BytesIO(content), name, max_pixels, more_pixels) as picture:
        yield picture


@contextlib.contextmanager
def readable(name: str) -> Iterator[None]:
    """Within this context whatever a decoder raises becomes a `UserError` about the picture of this name."""
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{name}: no such image file") from None
    except MemoryError:
        raise UserError(f"{name}: too large for the memory there is; make it smaller or remove it") from None
    except Exception as error:  # decoders raise whatever a damaged file leads them to
        raise _not_readable(name, getattr(error, "strerror", None) or str(error) or type(error).__name__) from None


def check_pixels(
    name: str, width: int, height: int, max_pixels: int = MAX_PIXELS, more_pixels: str = _MORE_PIXELS
) -> None:
    """Refuse a picture for its size; see `opened`.

    Raises:
        UserError: it has more pixels than `max_pixels`.
    """
    if width * height > max_pixels:
        raise UserError(
            f"{name}: {width} x {height} pixels, more than the {max_pixels / 1e6:g} million allowed, and it would take"
            f" {_BYTES_A_PIXEL * width * height / 1e9:.1f} GB of memory; make it smaller or remove it,"
            f" {more_pixels}"
        )


def _check_regular(file):
    mode = os.stat(file).st_mode
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "no regular file"
        raise UserError(f"{os.fspath(file)}: is {kind}; give an image file")


def _open(stream: BinaryIO, name: str, max_pixels: int, more_pixels: str) -> Image.Image:
    start = stream.read(_LOOKED_AT)
    kind = kind_of(start)
    if kind not in _DECODERS:
        raise _not_readable(name, f"it is {kind}; of {', '.join(_DECODERS)} it is none")
    if kind == "WEBP":  # its decoder takes memory when it is opened
        check_pixels(name, *_webp_size(start), max_pixels, more_pixels)
    stream.seek(0)
    picture = _DECODERS[kind](stream, name)
    check_pixels(name, *picture.size, max_pixels, more_pixels)
    return picture


def _not_readable(name, why):
    return UserError(f"{name}: not a readable image ({why}); re-encode or remove it")


def kind_of(start: bytes) -> str:
    """Name what a file is by its first 64 bytes: one of `FORMATS` or `FURTHER_FORMATS`, or words for something else."""
    if start[:4] == b"RIFF":
        return "WEBP" if start[8:12] == b"WEBP" else "RIFF"
    if start[4:8] == b"ftyp":
        return _kind_of_brands(start)
    for known in (STARTS, OTHER_STARTS):
        for beginning, kind in known:
            if start.startswith(beginning):
                return kind
    if not start:
        return EMPTY
    return TEXT if all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in start) else UNKNOWN


def _kind_of_brands(start: bytes) -> str:
    """The kind of the first known brand: the major one, and those behind the version that it is compatible with."""
    end = min(int.from_bytes(start[:4], "big"), len(start))
    brands = [start[8:12], *(start[place : place + 4] for place in range(16, end, 4))]
    kinds = dict(BRANDS)
    return next((kinds[brand] for brand in brands if brand in kinds), "HEIF" if brands[0][:2] == b"mi" else VIDEO)


def _webp_size(start: bytes) -> tuple[int, int]:
    """Width and height of the canvas; 0 0 where the file is too short or of no kind known."""
    chunk, body = start[12:16], start[20:]
    if len(body) < 10:
        return 0, 0
    if chunk == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if chunk == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if chunk == b"VP8 ":
        return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
    return 0, 0


def encoded(picture: Image.Image, suffix: str, **options: Any) -> bytes:
    """The file of a picture, in the format of a suffix such as ".jpg".

    In memory: on a disk that is full Pillow's own writer leaves half a file without an error.
    """
    file = io.BytesIO()
    Image.init()  # the suffixes of all formats are known after it
    picture.save(file, Image.EXTENSION[suffix.lower()], **options)
    return file.getvalue()
