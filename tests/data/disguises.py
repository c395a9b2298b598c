"""Data sets as machines and programs leave them: each function changes a folder, and returns where it is then."""

import logging
import os
import shutil
from pathlib import Path

_TEXTS = (".txt", ".xml", ".json", ".yaml", ".csv", ".data", ".names")
_PICTURES = (".jpg", ".png", ".bmp")
_APPLE = b"\0\5\x16\7\0\2\0\0Mac OS X\xff"


def _files(root, endings=_TEXTS + _PICTURES):
    return [Path(place, file) for place, _, files in os.walk(root) for file in files if file.endswith(endings)]


def _rewritten(root, change):
    for file in _files(root, _TEXTS):
        file.write_bytes(change(file.read_bytes()))
    return root


def with_windows_line_ends(root):
    return _rewritten(root, lambda content: content.replace(b"\n", b"\r\n"))


def with_marks_of_byte_order(root):
    return _rewritten(root, lambda content: b"\xef\xbb\xbf" + content.removeprefix(b"\xef\xbb\xbf"))


def in_utf_16(root):
    """As Windows' shell writes."""
    return _rewritten(root, lambda text: text.decode("utf-8-sig").replace("utf-8", "utf-16").encode("utf-16"))


def _in_capitals(root, endings):
    for file in _files(root, endings):
        file.rename(file.with_suffix(file.suffix.upper()))
    return root


def with_pictures_in_capitals(root):
    return _in_capitals(root, _PICTURES)


def with_annotations_in_capitals(root):
    return _in_capitals(root, _TEXTS)


def with_hidden_files(root):
    """macOS on a disk of Windows, and Windows itself."""
    for file in _files(root):
        file.with_name(f"._{file.name}").write_bytes(_APPLE)
        for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
            file.with_name(name).write_bytes(_APPLE)
    return root


def from_an_archive_of_macos(root):
    for file in _files(root):
        hidden = root / "__MACOSX" / file.relative_to(root).with_name(f"._{file.name}")
        hidden.parent.mkdir(parents=True, exist_ok=True)
        hidden.write_bytes(_APPLE)
    return root


def with_checkpoints(root):
    for file in _files(root):
        (file.parent / ".ipynb_checkpoints").mkdir(exist_ok=True)
        shutil.copy(file, file.parent / ".ipynb_checkpoints" / f"{file.stem}-checkpoint{file.suffix}")
    return root


def of_links(root):
    moved = root.rename(root.with_name("elsewhere"))
    root.mkdir()
    for each in moved.iterdir():
        (root / each.name).symlink_to(each)
    return root


def of_links_to_files(root):
    (root.parent / "store").mkdir()
    for number, file in enumerate(_files(root)):
        file.symlink_to(file.rename(root.parent / "store" / str(number)))
    return root


def in_a_folder_of_an_odd_name(root):
    return root.rename(root.with_name("x.csv@train #1 %20"))


def in_a_folder_whose_name_is_no_text(root):
    return root.rename(os.fsdecode(os.fsencode(root.parent) + b"/\xff\xe9"))


def quiet(caplog):
    """No lines of a log, whose names of files that are no text could not be sent from one process to another."""
    return caplog.at_level(logging.CRITICAL + 1)


OF_FOLDERS = [
    with_pictures_in_capitals, with_hidden_files, from_an_archive_of_macos, with_checkpoints, of_links,
    of_links_to_files, in_a_folder_of_an_odd_name, in_a_folder_whose_name_is_no_text,
]  # fmt: skip
OF_TEXTS = [with_windows_line_ends, with_marks_of_byte_order, in_utf_16, with_annotations_in_capitals]
