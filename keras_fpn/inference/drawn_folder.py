"""The folder of drawn pictures: which of its files a run before this one drew, and nothing else, makes room.

The index in it, `INDEX`, is a line of JSON for each picture: one before it is written, and one with its checksum after.
"""

import contextlib
import json
import os
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

from PIL import Image

from keras_fpn.console.errors import UserError
from keras_fpn.console.files import check_output, clear_leftovers, errors_name
from keras_fpn.console.picture_files import encoded
from keras_fpn.inference.listing import INDEX
from keras_fpn.inference.picture_names import LONGEST, same_name

_LONGEST_SIDES = {".jpg": 65500, ".jpeg": 65500, ".webp": 16383}  # pixels


class DrawnFolder:
    """Where the pictures of one run go.

    Args:
        folder: made when the first picture is saved.

    Raises:
        UserError: nothing can be written there.
    """

    def __init__(self, folder: str | os.PathLike):
        check_output(folder, folder=True)
        self.path = Path(folder)
        self._earlier = _read_index(self.path)
        self._checksums: dict[str, set[int]] = {}  # by name in any letters: on some disks that is the same file
        for name, checksum in self._earlier.items():
            if checksum is not None:
                self._checksums.setdefault(same_name(name), set()).add(checksum)

    def longest_name(self) -> int:
        """Bytes that a name may have on its disk."""
        there = next(place for place in (self.path, *self.path.absolute().parents) if place.exists())
        try:
            return min(LONGEST, os.pathconf(there, "PC_NAME_MAX"))
        except (AttributeError, OSError, ValueError):  # Windows has no such call, some disks no answer
            return LONGEST

    def check(self, names: Sequence[PurePath], inputs: Iterable[Path]) -> None:
        """Refuse names under which another's file would be overwritten.

        Raises:
            UserError: the folder holds input pictures, or other files of these names.
        """
        inputs = list(inputs)
        sources = {same_name(Path(os.path.realpath(file))) for file in inputs}
        for name in names:
            place = self.path / name
            if same_name(Path(os.path.realpath(place))) in sources:
                raise UserError(f"{place}: is an input image; choose another --out")
            if os.path.lexists(place) and not self._is_drawn(name):
                raise UserError(
                    f"{place}: is there already, and no earlier detect drew it; choose another --out, or move it away"
                )
        if os.path.realpath(self.path) in {os.path.realpath(file.parent) for file in inputs}:
            raise UserError(f"{self.path}: is a folder of the input images; choose another --out")

    def begin(self) -> int:
        """Remove the pictures that an earlier run drew here; returns how many."""
        removed = 0
        with _told(self.path):
            for folder in {(self.path / name).parent for name in self._earlier}:
                clear_leftovers(folder)
            for name in self._earlier:
                if self._is_drawn(name):
                    (self.path / name).unlink()
                    removed += 1
                    _remove_empty_folders(self.path, name)
            (self.path / INDEX).unlink(missing_ok=True)
        return removed

    def save(self, picture: Image.Image, name: PurePath) -> None:
        """Write a picture whole or not at all.

        Raises:
            UserError: the disk is full or read-only.
        """
        place = self.path / name
        # A short name, since that of the picture may be as long as can be.
        temporary = place.with_name(f".drawn.{os.getpid()}.tmp{place.suffix}")
        with _told(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            self._note(name)
            try:
                content = encoded(_fitting(picture, place.suffix), place.suffix, quality=90)
                temporary.write_bytes(content)
                checksum = zlib.crc32(content)
                temporary.replace(place)
            finally:
                with contextlib.suppress(OSError):
                    temporary.unlink(missing_ok=True)
            self._note(name, checksum)

    def _note(self, name, checksum=None):
        with open(self.path / INDEX, "a", encoding="utf-8") as index:
            index.write(json.dumps({"picture": name.as_posix(), "checksum": checksum}) + "\n")

    def _is_drawn(self, name: PurePath) -> bool:
        """Whether a file is as an earlier run drew it, or was being drawn when that run was killed."""
        place = self.path / name
        inside = Path(os.path.realpath(place.parent)).is_relative_to(os.path.realpath(self.path))
        if not inside or place.is_symlink() or not place.is_file():
            return False
        if self._earlier.get(name, "") is None:
            return True
        known = self._checksums.get(same_name(name))
        return known is not None and _checksum(place) in known


def _read_index(folder: Path) -> dict[PurePath, int | None]:
    """Names and checksums of the pictures of an earlier run; lines that say nothing of the kind are passed over."""
    try:
        lines = (folder / INDEX).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    drawn: dict[PurePath, int | None] = {}
    for line in lines:
        with contextlib.suppress(ValueError, TypeError, KeyError):
            entry = json.loads(line)
            name = PurePath(entry["picture"])
            checksum = entry["checksum"]
            is_mark = checksum is None or isinstance(checksum, int)
            if is_mark and name.suffix and not name.is_absolute() and ".." not in name.parts:
                drawn[name] = checksum
    return drawn


def _remove_empty_folders(folder, name):
    for parent in name.parents[:-1]:
        with contextlib.suppress(OSError):  # something else is in it
            (folder / parent).rmdir()


def _fitting(picture, suffix):
    """The picture, smaller if it has more rows or columns than files of its format can have."""
    longest = _LONGEST_SIDES.get(suffix.lower())
    if longest is not None and max(picture.size) > longest:
        picture = picture.copy()
        picture.thumbnail((longest, longest))
    return picture


def _checksum(path: Path) -> int:
    return zlib.crc32(path.read_bytes())


@contextlib.contextmanager
def _told(path):
    try:
        with errors_name(path):
            yield
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{path}: cannot be written ({reason}); make room there, or choose another --out") from None
