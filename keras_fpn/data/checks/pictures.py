"""First and last bytes of image files: size, format, which way up, whether they are whole."""

import dataclasses
import os
import sys
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from keras_fpn.console.errors import UserError
from keras_fpn.console.picture_files import opened_stream
from keras_fpn.data.checks.picture_file import PictureFile, of_record
from keras_fpn.data.image_files import LookedUp, look_up
from keras_fpn.data.picture_checks import has_16_bits
from keras_fpn.data.picture_contents import RECORD
from keras_fpn.data.rewriting import HEAD, unread

_END = 4096  # bytes looked at
_THREADS = 8  # wait for the disk, most of the time
_BLOCK = 128  # pictures a thread takes at a time
_ORIENTATION = 274
_MARKS = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND"}  # near the end of a whole file


class Head(NamedTuple):
    """A picture file as it seems without a look at its pixels.

    Attributes:
        height, width: as stored, pixels.
        orientation: 1 to 8, see `data.exif`.
        refused: why training refuses it, in words; "" where it does not.
        length: of the file, bytes.
        tail: a checksum of its last bytes.
        is_deep: whether it is a PNG of 16 bits.
    """

    height: int
    width: int
    orientation: int
    refused: str
    length: int
    tail: int
    is_deep: bool


@dataclass(frozen=True, eq=False)
class Pictures:
    """The picture files of m images.

    Attributes:
        files: where they are; None where there is none.
        names: where in the image folder those are that are files of their own.
        problems: `{row: why no file was found under such a name}`, besides those that are simply not there.
        unreadable: `{row: why}` of files that are no pictures, or are damaged.
        heads: `{row: Head}` of the others.
        others: paths of picture files beside them that no image names.
    """

    files: Sequence[PictureFile | None]
    names: Sequence[str | None]
    problems: Mapping[int, str] = field(default_factory=dict)
    unreadable: Mapping[int, str] = field(default_factory=dict)
    heads: Mapping[int, Head] = field(default_factory=dict)
    others: Sequence[str] = ()

    def column(self, name: str, default: Any) -> np.ndarray:
        """`[m]`: an attribute of the heads, `default` where there is none."""
        values = [default] * len(self.files)
        for row, head in self.heads.items():
            values[row] = getattr(head, name)
        return np.array(values, type(default))

    @property
    def sizes(self) -> np.ndarray:
        """`[m, 2]` int64 height and width as stored, 0 where they are not known."""
        return np.stack([self.column("height", 0), self.column("width", 0)], 1)

    @property
    def is_missing(self) -> np.ndarray:
        """`[m]` bool: which have no file, and no other problem."""
        return np.array([file is None and row not in self.problems for row, file in enumerate(self.files)], bool)


def find_pictures(source: str, images: Sequence[Mapping[str, Any]], folder: str) -> Pictures:
    """Look for the files of images; nothing is read of them."""
    files: list[PictureFile | None] = [None] * len(images)
    names: list[str | None] = [None] * len(images)
    problems, rows = {}, []
    for row, image in enumerate(images):
        if not isinstance(image.get("file_name"), str) or not image["file_name"]:
            problems[row] = "has no file_name"
        elif RECORD not in image:
            rows.append(row)
        else:
            try:
                files[row] = of_record(source, image, folder)
            except UserError as error:
                problems[row] = str(error).partition(": ")[2]
    looked_up = look_up(source, [dict(images[row]) for row in rows], folder) if rows else LookedUp([], [])
    for row, found in zip(rows, looked_up.names, strict=True):
        if isinstance(found, UserError):
            problems[row] = str(found).partition(": ")[2]
        elif found is not None:
            names[row], files[row] = found, PictureFile(os.path.join(folder, found))
    return Pictures(files, names, problems, others=looked_up.others)


def read_heads(pictures: Pictures, count: Callable[[int], Any]) -> Pictures:
    """Read the first and the last bytes of the files.

    A file that does not end as its format does is decoded, which tells whether all pixels are there.

    Args:
        count: called with how many were read.
    """
    heads: dict[int, Head] = {}
    unreadable: dict[int, str] = {}
    rows = [row for row, file in enumerate(pictures.files) if file is not None]
    done = 0
    for block, found in in_threads(lambda row: _head_or_error(pictures.files[row]), rows):
        for row, each in zip(block, found, strict=True):
            if isinstance(each, Head):
                heads[row] = each
            else:
                unreadable[row] = each
        done += len(block)
        count(done)
    return dataclasses.replace(pictures, unreadable=unreadable, heads=heads)


def in_threads(work: Callable[[int], Any], rows: Sequence[int]) -> Iterable[tuple[Sequence[int], list[Any]]]:
    """Yield blocks of rows with what `work` returns of each, in their order."""
    blocks = [rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK)]
    with ThreadPoolExecutor(_THREADS) as threads:
        yield from zip(blocks, threads.map(lambda block: [work(row) for row in block], blocks), strict=True)


def _head_or_error(file) -> Head | str:
    try:
        return _read_head(file)
    except UserError as error:
        return str(error).removeprefix(f"{file.path}: ")
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)


def _read_head(file: PictureFile) -> Head:
    with file.open() as stream:
        start = stream.read(HEAD)
        stream.seek(0, os.SEEK_END)
        length = stream.tell()
        stream.seek(max(length - _END, 0))
        end = stream.read()
        stream.seek(0)
        with opened_stream(stream, file.path, max_pixels=sys.maxsize) as image:
            width, height = image.size
            turned, refused = _orientation(image), _refused(start)
            if not refused and not _is_whole(image.format, start, length, end):
                image.load()
    return Head(height, width, turned, refused, length, zlib.crc32(end), has_16_bits(start))


def _orientation(image: Image.Image) -> int:
    if not {"exif", "xmp"} & set(image.info):
        return 1
    try:
        turned = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # whatever a damaged block leads the reader to: such an image is as stored
        return 1
    return turned if isinstance(turned, int) and 1 <= turned <= 8 else 1


def _refused(start: bytes) -> str:
    """Why training refuses a picture that can be opened, in words; see `rewriting.unread`."""
    title = unread(start)
    return "" if title is None else f"it is {title}"


def _is_whole(kind: str | None, start: bytes, length: int, end: bytes) -> bool:
    """Whether a file ends as its format does; some programs write zeros or a few bytes behind the end."""
    if kind == "GIF":
        return end.rstrip(b"\0").endswith(b";")
    if kind == "WEBP":
        return int.from_bytes(start[4:8], "little") + 8 <= length
    if kind == "BMP":
        return int.from_bytes(start[2:6], "little") <= length
    return _MARKS.get(kind or "", b"") in end
