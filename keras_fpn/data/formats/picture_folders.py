"""The pictures in a folder, found by what annotations call them, and their sizes as their headers say."""

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from keras_fpn.console.errors import UserError
from keras_fpn.console.picture_files import opened, opened_content
from keras_fpn.console.progress import Count

SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".gif", ".webp", ".tif", ".tiff", ".mpo", ".avif",
     ".heic", ".heif")
)  # fmt: skip
_ORIENTATION = 274
_WORTH_A_BAR = 20_000  # headers: some seconds


class PictureSize(NamedTuple):
    """Size of a picture as it is looked at, pixels, the EXIF orientation 1..8 that tells how to turn it, its format."""

    width: int
    height: int
    orientation: int
    format: str

    @property
    def stored(self) -> tuple[int, int]:
        """Width and height of the pixels in the file."""
        return (self.width, self.height) if self.orientation < 5 else (self.height, self.width)


def picture_size(path: str | os.PathLike) -> PictureSize:
    """The size of a picture by its header.

    Raises:
        UserError: it is no picture, see `picture_files.opened`.
    """
    with opened(path, max_pixels=sys.maxsize) as picture:  # nothing of it is decoded
        return _size(picture)


def content_size(content: bytes, name: str) -> PictureSize:
    """The size of an encoded picture by its header.

    Raises:
        UserError: it is no picture; has this name.
    """
    with opened_content(content, name, max_pixels=sys.maxsize) as picture:
        return _size(picture)


def _size(picture) -> PictureSize:
    orientation = _orientation(picture)
    is_turned = orientation >= 5 and picture.format != "TIFF"  # of which Pillow gives the upright size
    width, height = picture.size[::-1] if is_turned else picture.size
    return PictureSize(width, height, orientation, picture.format or "")


def picture_sizes(paths: Sequence[str | os.PathLike]) -> list[PictureSize]:
    """The size of each picture, see `picture_size`; many are counted on the screen.

    A header takes 40 microseconds, nearly all of it in Python, so that threads would not be faster.
    """
    if len(paths) < _WORTH_A_BAR:
        return [picture_size(path) for path in paths]
    sizes = []
    with Count("sizes of pictures", len(paths)) as count:
        for path in paths:
            sizes.append(picture_size(path))
            count(len(sizes))
    return sizes


def _orientation(picture) -> int:
    if picture.format == "PNG" and "exif" not in picture.info:
        return 1  # Pillow would decode all of it to look behind the pixels
    try:
        value = picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # a broken block, which Pillow has many errors for: as if there were none
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


class PictureFolder:
    """The pictures in a folder and its sub-folders, listed once.

    Attributes:
        folder: the folder.
        names: of its pictures, relative to it, with slashes, in order.
    """

    def __init__(self, folder: str | os.PathLike):
        if not Path(folder).is_dir():
            raise UserError(f"{folder}: there is no such image folder; check the path")
        self.folder = os.fspath(folder)
        self.names = sorted(_listed(self.folder))
        self._known = set(self.names)
        self._of_last: dict[str, list[str]] | None = None
        self._of_stem: dict[str, list[str]] | None = None
        self._of_letters: dict[str, list[str]] | None = None

    def of_stem(self, stem: str) -> list[str]:
        """The pictures of a name without its ending, such as "folder/a"."""
        if self._of_stem is None:
            self._of_stem = _grouped(self.names, lambda name: os.path.splitext(name)[0])
        return self._of_stem.get(stem, [])

    def find(self, name: str) -> str | None:
        """The picture that a path of another machine means: by the longest part of its end that is a name here.

        A last name alone counts where one picture has it, and a name without an ending, too; at last one in other
        letters, such as a.JPG.
        """
        plain = name.replace("\\", "/").lstrip("/")
        while plain.startswith(("./", "../")):
            plain = plain.partition("/")[2]
        parts = plain.split("/")
        for start in range(len(parts)):
            tail = "/".join(parts[start:])
            if tail in self._known:
                return tail
            matching = self.of_stem(tail)
            if len(matching) == 1:
                return matching[0]
        if self._of_last is None:
            self._of_last = _grouped(self.names, lambda name: name.rpartition("/")[2])
        matching = self._of_last.get(parts[-1], [])
        return matching[0] if len(matching) == 1 else self._of_other_letters(parts)

    def _of_other_letters(self, parts: Sequence[str]) -> str | None:
        """The one picture whose longest end is that of a path but for capital letters."""
        if self._of_letters is None:
            self._of_letters = {}
            for name in self.names:
                ends = name.lower().split("/")
                for start in range(len(ends)):
                    self._of_letters.setdefault("/".join(ends[start:]), []).append(name)
        tails = ("/".join(parts[start:]).lower() for start in range(len(parts)))
        matching = next((found for tail in tails if (found := self._of_letters.get(tail))), [])
        return matching[0] if len(matching) == 1 else None


def is_picture(name: str) -> bool:
    """Whether a file is called as a picture is."""
    return os.path.splitext(name)[1].lower() in SUFFIXES


def has_pictures(folder: Path) -> bool:
    """Whether a folder, not counting its sub-folders, has a file that is called as a picture is."""
    with os.scandir(folder) as entries:
        return any(is_picture(entry.name) for entry in entries)


def walk(folder: str | os.PathLike) -> Iterator[tuple[str, list[str]]]:
    """(folder, names of its files in order) of a folder and those in it: links are followed, but no folder is twice.

    Folders that are hidden, or hold what macOS adds to an archive, are left out.
    """
    seen = set()
    for root, folders, files in os.walk(os.fspath(folder), followlinks=True):
        place = os.stat(root)
        if (place.st_dev, place.st_ino) in seen:
            folders.clear()
            continue
        seen.add((place.st_dev, place.st_ino))
        folders[:] = sorted(each for each in folders if not each.startswith(".") and each != "__MACOSX")
        yield root, sorted(files)


def _listed(folder: str) -> Iterator[str]:
    """Names of the pictures in a folder and those in it."""
    for root, files in walk(folder):
        inside = os.path.relpath(root, folder).replace(os.sep, "/")
        start = "" if inside == "." else f"{inside}/"
        yield from (start + file for file in files if is_picture(file) and not file.startswith("._"))


def _grouped(names, key) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(key(name), []).append(name)
    return groups
