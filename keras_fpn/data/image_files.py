"""The image files that an annotation file names: found inside the image folder, and nothing but regular files.

Programs write names in other forms than the disk has them: with back-slashes, in other letters (`.JPG`), in the other
Unicode form of an accent, with percent codes. Such a name is read where one file alone can be meant. Folders are listed
once each, which is much faster than asking for every file by itself.
"""

import logging
import os
import posixpath
import stat
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from keras_fpn.console.errors import UserError
from keras_fpn.console.picture_files import opened, opened_content
from keras_fpn.data.objects import short, shown
from keras_fpn.data.picture_contents import RECORD, check_place, place_of, read_content

log = logging.getLogger(__name__)

_RULE = "a file_name stays inside the image folder and is a regular file"
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff")
_LARGE = 2**26  # pixels, three bytes each when decoded: few pictures have more, so that these can be opened at once


def find_images(path: str | os.PathLike, entries: Sequence[dict], folder: str | os.PathLike) -> list[str]:
    """The path of the file of each image: its own, or the TFRecord file that it lies in.

    Args:
        path: the annotation file, for errors.
        entries: its "images", each with "id" and a string as "file_name".
        folder: the image folder.

    Raises:
        UserError: there is no such folder; a file is not there, lies outside the folder, is no regular file (a link to
            one is fine), or several could be meant; a TFRecord file is not there.
    """
    is_file = [RECORD not in entry for entry in entries]
    if all(is_file):
        return _find_files(path, entries, folder)
    files = iter(_find_files(path, [entry for entry in entries if RECORD not in entry], folder) if any(is_file) else ())
    records = _record_files(path, entries, folder)
    return [next(files) if own else file for own, file in zip(is_file, records, strict=True)]


def _find_files(path, entries, folder) -> list[str]:
    check_folder(folder, path)
    tree = _Tree(str(folder))
    found = [_find(path, entry, tree) for entry in entries]
    _refuse_missing(path, entries, found, folder)
    names = [name for name in found if name is not None]
    _check_other_names(path, entries, names)
    return [os.path.join(folder, name) for name in names]


def look_up(path: str | os.PathLike, entries: Sequence[dict], folder: str | os.PathLike) -> "LookedUp":
    """Look for the file of each image, and refuse nothing.

    Args:
        path, entries, folder: see `find_images`; an entry may have any "id".
    """
    tree = _Tree(str(folder))
    found = [_found_or_error(path, entry, tree) for entry in entries]
    named = {name for name in found if isinstance(name, str)}
    others = [name for name in tree.listed_pictures() if name not in named]
    return LookedUp(found, [os.path.join(folder, name) for name in others])


class LookedUp(NamedTuple):
    """Where the files of images are.

    Attributes:
        names: of each image where in the folder its file is, None where it is not there, or why there is none.
        others: paths of the picture files in the folders that were listed, which no image names.
    """

    names: list[str | UserError | None]
    others: list[str]


def _found_or_error(path, entry, tree) -> str | UserError | None:
    try:
        return _find(path, entry, tree)
    except UserError as error:
        return error


def check_folder(folder: str | os.PathLike, annotations: str | os.PathLike) -> None:
    """Refuse an image folder that is not there, before anything is read.

    Raises:
        UserError: there is none; names the annotation file that it belongs to.
    """
    if not Path(folder).is_dir():
        raise UserError(f"{folder}: there is no such image folder (the images of {annotations}); check the path")


def check_large_claims(path: str | os.PathLike, entries: Sequence[dict], files: Sequence[str]) -> None:
    """Hold very large images to their files at once, before memory is set aside for them.

    Raises:
        UserError: the file of such an image has another size.
    """
    for entry, file in zip(entries, files, strict=True):
        claimed = (int(entry["width"]), int(entry["height"]))
        if claimed[0] * claimed[1] < _LARGE:
            continue
        try:
            with _opened(entry, file) as image:  # the header alone is decoded
                size = image.size
        except UserError:
            size = None
        if size is None or sorted(size) != sorted(claimed):  # which side is which, EXIF may say
            has = "cannot be read" if size is None else f"has {size[0]} x {size[1]}"
            raise UserError(
                f"{path}: image {entry['id']} is said to have {claimed[0]} x {claimed[1]} pixels (width x height), and"
                f' its file {shown(entry["file_name"])} {has}; correct "width" and "height"'
            )


def _opened(entry, file):
    place = place_of(entry)
    if place is None:
        return opened(file, max_pixels=sys.maxsize)
    try:
        content = read_content(file, place)
    except (OSError, ValueError) as error:
        raise UserError(str(error)) from None
    return opened_content(content, file, max_pixels=sys.maxsize)


def _record_files(path, entries, folder) -> Iterator[str]:
    """The TFRecord file of each image, relative to the image folder or absolute; "" where it has none."""
    found: dict[str, str] = {}
    for entry in entries:
        if RECORD not in entry:
            yield ""
            continue
        check_place(path, entry)
        name = entry[RECORD]["file"]
        if name not in found:
            found[name] = os.path.join(folder, name)
            if not os.path.isfile(found[name]):
                raise UserError(
                    f"{shown(found[name])}: not there, and image {entry['id']} of {path} lies in it; add the file"
                )
        yield found[name]


# ------------------------------------------------------------------------------------------------- one name


def _find(path, entry, tree: "_Tree") -> str | None:
    """Where in the folder the file of an entry is; None if it is not there."""
    name, way = entry["file_name"], f"{path}: image {entry.get('id')}"
    exact = (name, name.replace("\\", "/"))
    for form in _forms(name):
        place = inside(form)
        if place is None:
            raise UserError(f'{way} has "file_name" {short(name)}, which leads out of the image folder; {_RULE}')
        kind = tree.kind(place) if form in exact else None
        if kind is not None:
            if kind:
                raise UserError(f'{way} has "file_name" {short(name)}, which is {kind}; {_RULE}')
            return place
    places = [place for form in _forms(name) if (place := inside(form)) is not None]
    several = list(dict.fromkeys(match for place in places for match in tree.alike(place)))
    if len(several) > 1:
        names = " or ".join(short(match) for match in sorted(several)[:3])
        raise UserError(
            f'{way} has "file_name" {short(name)}, which is not there, and {names} of {tree.folder} could be meant;'
            " write the name as the disk has it"
        )
    return several[0] if several else None


def _forms(name: str) -> list[str]:
    """A name, with slashes for its back-slashes, without its percent codes, and both; each once."""
    forms = [name, name.replace("\\", "/")]
    plain = unquote(name, errors="surrogateescape")
    return list(dict.fromkeys([*forms, plain, plain.replace("\\", "/")]))


def inside(name: str) -> str | None:
    """A name without detours, or None if it leads out of the folder: absolute, on a drive, or through `..`."""
    has_drive = len(name) > 2 and name[1] == ":" and name[0].isalpha() and name[2] in "/\\"
    if name.startswith(("/", "\\")) or has_drive:
        return None
    plain = posixpath.normpath(name)
    return None if plain == ".." or plain.startswith("../") else plain


class _Tree:
    """The image folder as it is listed, each folder of it once."""

    def __init__(self, folder: str):
        self.folder = folder
        self._listed: dict[str, dict[str, os.DirEntry]] = {}
        self._alike: dict[str, dict[str, list[str]]] = {}

    def entry(self, name: str) -> os.DirEntry | None:
        """Entry of the folder under exactly this name, with slashes between folders; None if nothing."""
        parent, _, last = name.rpartition("/")
        return self._names(parent).get(last)

    def kind(self, name: str) -> str | None:
        """Words for anything but a regular file, which has none: ""; None where there is nothing of this name."""
        if name == ".":
            return "a folder"
        found = self.entry(name)
        if found is None:
            return None
        try:
            if found.is_file():  # of a link: where it leads
                return ""
            mode = found.stat().st_mode
        except OSError:
            return "a link that leads nowhere" if found.is_symlink() else "not readable"
        return next((words for is_of, words in _KINDS if is_of(mode)), "no regular file")

    def alike(self, name: str) -> list[str]:
        """The regular files whose names differ from this one in letters, Unicode form or percent codes alone."""
        found = [""]
        for part in name.split("/"):
            found = [f"{parent}/{match}" if parent else match
                     for parent in found for match in self._names_alike(parent).get(_key(part), [])]  # fmt: skip
        return [match for match in found if match and self.kind(match) == ""]

    def listed_pictures(self) -> list[str]:
        """The regular files with a picture's ending in the folders that were looked into."""
        return [
            f"{parent}/{name}" if parent else name
            for parent, entries in self._listed.items()
            for name in entries
            if name.lower().endswith(_ENDINGS) and self.kind(f"{parent}/{name}" if parent else name) == ""
        ]

    def _names(self, parent: str) -> dict[str, os.DirEntry]:
        if parent not in self._listed:
            self._listed[parent] = {}
            if not parent or self._is_folder(parent):
                try:
                    with os.scandir(os.path.join(self.folder, parent)) as listing:
                        self._listed[parent] = {entry.name: entry for entry in listing}
                except OSError as error:
                    place = os.path.join(self.folder, parent)
                    raise UserError(f"{shown(place)}: cannot list the image folder ({error.strerror})") from None
        return self._listed[parent]

    def _is_folder(self, name: str) -> bool:
        """Whether there is such a folder. It is looked up in what was listed: a name may hold what no path can."""
        found = self.entry(name)
        try:
            return found is not None and found.is_dir()
        except OSError:  # a link that leads to itself
            return False

    def _names_alike(self, parent: str) -> dict[str, list[str]]:
        if parent not in self._alike:
            groups: dict[str, list[str]] = {}
            for name in self._names(parent):
                groups.setdefault(_key(name), []).append(name)
            self._alike[parent] = groups
        return self._alike[parent]


def _key(name: str) -> str:
    """Equal for names that differ in letters, Unicode form or percent codes alone."""
    plain = unicodedata.normalize("NFC", unquote(name, errors="surrogateescape"))
    return unicodedata.normalize("NFC", plain.casefold())


# ------------------------------------------------------------------------------------------------ all names


def _refuse_missing(path, entries, found, folder):
    missing = [entry for entry, name in zip(entries, found, strict=True) if name is None]
    if missing:
        first = missing[0]
        more = f" (and {len(missing) - 1} more of {len(entries)} images)" if len(missing) > 1 else ""
        raise UserError(
            f"{folder}{os.sep}{shown(first['file_name'])}: image {first['id']} of {path} is not there{more}; "
            f"check the image folder, or remove the entry"
        )


def _check_other_names(path, entries, names):
    """Refuse a file that was taken for another's; tell how many were found under other names."""
    count = Counter(names)
    others = [
        index
        for index, (entry, name) in enumerate(zip(entries, names, strict=True))
        if name != entry["file_name"] and name != inside(entry["file_name"].replace("\\", "/"))
    ]
    for index in others:
        entry, name = entries[index], names[index]
        if count[name] > 1:
            other = next(number for number, found in enumerate(names) if found == name and number != index)
            raise UserError(
                f'{path}: image {entry["id"]} has "file_name" {short(entry["file_name"])}, which is not there, and'
                f" {short(name)}, which it would be, is that of image {entries[other]['id']}; add the file, or remove"
                " the entry"
            )
    if others:
        first = others[0]
        log.warning(
            "%s: %d of %d file names were found under another spelling (capital letters, accents or percent codes),"
            " first %s as %s",
            path, len(others), len(entries), short(entries[first]["file_name"]), short(names[first]),
        )  # fmt: skip
