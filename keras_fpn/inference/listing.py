"""The picture files that paths stand for: files themselves, and folders with all that is below them."""

import dataclasses
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from keras_fpn.console.errors import UserError

INDEX = ".keras-fpn-detect"  # the file of a folder of drawn pictures that lists them
SUFFIXES = (
    ".jpg", ".jpeg", ".jfif", ".mpo", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".avif", ".heic", ".heif",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Listing:
    """Picture files, in their order.

    Attributes:
        files: their paths.
        roots: for each the folder that was given and in which it was found, or None for a file that was given.
        others: how many files of the folders are no pictures by their names.
        hidden: how many files and folders were left out since their names begin with a dot.
        drawn: how many folders were left out since detect drew what is in them.
    """

    files: list[Path]
    roots: list[Path | None]
    others: int = 0
    hidden: int = 0
    drawn: int = 0

    def skipped(self) -> str:
        """Return a line about what was left out, or nothing."""
        parts = []
        if self.others:
            parts.append(f"{_count(self.others, 'file')} that {'is' if self.others == 1 else 'are'} no"
                         f" picture{'s' * (self.others > 1)} ({', '.join(SUFFIXES)})")  # fmt: skip
        if self.hidden:
            parts.append(f"{self.hidden} whose name{'s begin' if self.hidden > 1 else ' begins'} with a dot")
        if self.drawn:
            parts.append(f"{_count(self.drawn, 'folder')} that detect drew")
        return f"skipped {' and '.join(parts)}" if parts else ""


def find_images(paths: Iterable[str | os.PathLike], without: str | os.PathLike | None = None) -> Listing:
    """Find the image files among `paths`; a folder stands for the images in it and in its sub-folders, by name.

    Names that begin with a dot are left out (macOS writes such files beside the pictures), and so are sub-folders of
    pictures that `keras-fpn detect` drew. Links are followed, into each folder once.

    Args:
        without: a folder inside the others that is left out.

    Raises:
        UserError: a path is absent, cannot be listed, or is a folder without an image.
    """
    files: list[Path] = []
    roots: list[Path | None] = []
    skipped: Counter[str] = Counter()
    for path in paths:
        if not os.fspath(path):
            raise UserError("'': no name of an image file or folder; the folder at hand is .")
        path = Path(path)
        if path.is_dir():
            inside = _walk(path, without, skipped)
            if not inside:
                raise UserError(f"{path}: no images in this folder ({', '.join(SUFFIXES)})")
            files += inside
            roots += [path] * len(inside)
        elif path.is_file():
            files.append(path)
            roots.append(None)
        elif path.exists():
            raise UserError(f"{path}: no regular file; give image files or folders of them")
        else:
            raise UserError(f"{path}: no such image file or folder")
    return Listing(files, roots, skipped["others"], skipped["hidden"], skipped["drawn"])


def list_images(paths: Iterable[str | os.PathLike]) -> list[Path]:
    """Return the files of `find_images`."""
    return find_images(paths).files


def _walk(root: Path, without, skipped: Counter[str]) -> list[Path]:
    """Pictures below a folder, each folder's own before those of its sub-folders; counts what is left out."""
    files: list[Path] = []
    seen = {os.path.realpath(without)} if without is not None else set()
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        if folder is not root and os.path.realpath(folder) in seen:
            continue
        seen.add(os.path.realpath(folder))
        try:
            entries = sorted(folder.iterdir())
        except OSError as error:
            raise UserError(f"{folder}: cannot be listed ({error.strerror}); allow it, or give other folders") from None
        if folder is not root and folder / INDEX in entries:
            skipped["drawn"] += 1
            continue
        visible = [entry for entry in entries if not entry.name.startswith(".")]
        skipped["hidden"] += len(entries) - len(visible)
        folders = [entry for entry in visible if entry.is_dir()]
        pictures = [entry for entry in visible if entry.suffix.lower() in SUFFIXES and entry.is_file()]
        skipped["others"] += len(visible) - len(folders) - len(pictures)
        files += pictures
        waiting += reversed(folders)
    return files


def _count(number, noun):
    return f"{number} {noun}{'s' * (number != 1)}"
