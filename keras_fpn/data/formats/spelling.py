"""Files whose names others write in other letters: Windows and cameras write A.TXT and A.JPG, lists a.txt and a.jpg."""

import os
from collections.abc import Sequence
from pathlib import Path

from keras_fpn.data.listing import names_ending


class Spelling:
    """Paths as they are spelled in their folders, each of which is listed once.

    Only the letters of the ending may differ: `a.jpg` and `A.jpg` may be two pictures, with a label file each.
    """

    def __init__(self):
        self._folders: dict[Path, dict[tuple[str, str], list[str]]] = {}

    def of(self, path: Path) -> Path:
        """The path; the one file in its folder with another spelling of the ending where it is not there itself."""
        names = self._names(path.parent).get(_key(path.name), [])
        return path.with_name(names[0]) if len(names) == 1 else path

    def _names(self, folder: Path) -> dict[tuple[str, str], list[str]]:
        if folder not in self._folders:
            found: dict[tuple[str, str], list[str]] = {}
            for name in os.listdir(folder) if folder.is_dir() else ():
                found.setdefault(_key(name), []).append(name)
            self._folders[folder] = found
        return self._folders[folder]


def _key(name: str) -> tuple[str, str]:
    stem, ending = os.path.splitext(name)
    return stem, ending.lower()


def file_called(folder: Path, names: Sequence[str]) -> Path | None:
    """The file in a folder that has the first of some names, in whatever letters."""
    if not folder.is_dir():
        return None
    endings = {os.path.splitext(name)[1] for name in names}
    found = {each.lower(): each for each in reversed(names_ending(folder, *endings))}
    places = (folder / found[name.lower()] for name in names if name.lower() in found)
    return next((place for place in places if place.is_file()), None)


def files_ending(folder: Path, ending: str) -> list[Path]:
    """The files in a folder that end so, in whatever letters, in order; hidden ones, as macOS writes, are left out."""
    names = [name for name in names_ending(folder, ending) if not name.startswith(".")]
    return [file for file in (folder / name for name in names) if file.is_file()]
