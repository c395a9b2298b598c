"""Names for the pictures that are drawn of others: each its source's own name, and no two of them one file.

Names that differ by capital letters or by the form of an accent alone are one on many disks, and a name has an end.
"""

import hashlib
import os
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath

from keras_fpn.inference.listing import Listing

WRITABLE = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
_LOSSY = (".jfif", ".jpe", ".mpo")  # further names of JPEG files
LONGEST = 255  # bytes of a name, on most disks


def names_for(listing: Listing, longest: int = LONGEST) -> list[PurePath]:
    """Return a path for the picture of each file, relative to the folder of all, without collisions.

    A file that was given goes to the top; those of a folder keep their sub-folders, under the folder's own name where
    several folders were given.
    """
    prefixes = _prefixes(listing.roots)
    wanted = []
    for file, root in zip(listing.files, listing.roots, strict=True):
        place = PurePath(file.name) if root is None else prefixes[root] / file.relative_to(root)
        *folders, name = place.parts
        wanted.append(PurePath(*(_short(folder, longest) for folder in folders), _short(_drawn_name(name), longest)))
    return _without_collisions(wanted, longest)


def same_name(path: PurePath) -> str:
    """Return a text that is equal for paths that are one file on some disk."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", str(path)).casefold())


def _prefixes(roots: Sequence[Path | None]) -> dict[Path, PurePath]:
    folders = list(dict.fromkeys(root for root in roots if root is not None))
    if len(folders) < 2:
        return {folder: PurePath() for folder in folders}
    names = _without_collisions([PurePath(folder.resolve().name or "folder") for folder in folders], LONGEST)
    return dict(zip(folders, names, strict=True))


def _drawn_name(name):
    """The name itself where its format can be written; else the whole of it with another ending."""
    suffix = PurePath(name).suffix.lower()
    return name if suffix in WRITABLE else f"{name}{'.jpg' if suffix in _LOSSY else '.png'}"


def _short(name, longest):
    """The beginning of a name that is too long, with a hash of the whole and its ending."""
    if len(os.fsencode(name)) <= longest:
        return name
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:10]
    ending = PurePath(name).suffix if PurePath(name).suffix.lower() in WRITABLE else ""
    return _cut(name.removesuffix(ending), longest, f"-{digest}{ending}")


def _cut(beginning, longest, ending):
    while len(os.fsencode(beginning + ending)) > longest:
        beginning = beginning[:-1]
    return beginning + ending


def _without_collisions(wanted: Sequence[PurePath], longest: int) -> list[PurePath]:
    """The paths, with a number in those that others before them have taken, as a file or as a folder."""
    reserved = {same_name(path) for path in wanted}
    folders = {same_name(parent) for path in wanted for parent in path.parents}
    taken: set[str] = set()
    chosen = []
    for path in wanted:
        key = same_name(path)
        if key in taken or key in folders:
            path = next(
                other for other in _numbered(path, longest)
                if not {same_name(other)} & (reserved | taken | folders)
            )  # fmt: skip
        taken.add(same_name(path))
        chosen.append(path)
    return chosen


def _numbered(path: PurePath, longest: int) -> Iterator[PurePath]:
    number = 2
    while True:
        yield path.with_name(_cut(path.stem, longest, f"-{number}{path.suffix}"))
        number += 1
