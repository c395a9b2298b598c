"""Images: their entries held against their files."""

from collections.abc import Iterator, Sequence

import numpy as np

from keras_fpn.data.checks import entry_columns
from keras_fpn.data.checks.finding import ERROR, EXAMPLES, NOTE, WARNING, Example, Finding, register_kind
from keras_fpn.data.checks.half_table import HalfTable
from keras_fpn.data.checks.picture_file import PictureFile
from keras_fpn.data.checks.pictures import Pictures
from keras_fpn.data.checks.subject import Check, Subject
from keras_fpn.data.objects import short
from keras_fpn.data.picture_checks import brightest, darkness, is_dark

_DEEP_LOOKED_AT = 8  # pictures of 16 bits


def _kind(name, severity, what, mend, noun="image"):
    return register_kind(name, severity, noun, what, mend, __name__)


MISSING = _kind("image_missing", ERROR, "whose file is not there", "add the file, or remove the entry")
BAD_NAME = _kind("image_name", ERROR, "whose file_name cannot be used", "write the name as the image folder has it")
UNREADABLE = _kind("image_unreadable", ERROR, "whose file cannot be read", "replace the file, or remove the entry")
_REWRITE = (
    "keras-fpn data convert writes them as PNG, and data.cache=true keeps them so in memory; signed, 32-bit and"
    " floating-point values scale to 0..255 first"
)
REFUSED = _kind("image_format", ERROR, "in a form that training refuses", _REWRITE)
NO_SIZE = _kind("image_size_missing", ERROR, "without height and width", "write the size of the file")
OTHER_SIZE = _kind(
    "image_size", ERROR, "whose file has another size", "correct height, width and the boxes, or replace the file"
)
TURNED = _kind("image_turned", ERROR, "with height and width exchanged", "exchange them, and look at the boxes")
AS_STORED = _kind(
    "image_as_stored", NOTE, "that EXIF turns, with the size of the pixels as stored",
    "look at one: if the boxes lie wrongly, write the size of the upright picture",
)  # fmt: skip
OTHER_SPELLING = _kind("image_spelling", NOTE, "found under another spelling", "write the name as the disk has it")
LISTED_TWICE = _kind("image_listed_twice", WARNING, "whose file another entry names", "join the two entries")
DARK = _kind("image_dark", WARNING, "of 16 bits that become almost black", "see what is said")
UNLISTED = _kind(
    "picture_unlisted", NOTE, "that no entry names", "nothing, if they are not to be learnt from", "picture file"
)


def check_sizes_said(subject: Subject) -> Iterator[Finding]:
    """Images without a size of their own."""
    table = subject.table
    said = (("height", "width"), table.images)
    yield from table.find_images(NO_SIZE, np.isnan(table.sizes).any(1), lambda row: _said(*said, row))
    names = entry_columns.keys([image.get("file_name") for image in table.images])
    yield from table.find_images(LISTED_TWICE, entry_columns.later_ones(_files(subject, names)))


def _said(keys, images, row):
    return ", ".join(f"{key} {short(images[row].get(key), 20)}" for key in keys)


def _files(subject: Subject, names):
    """Files that the names stand for, in a form that tells them apart."""
    if subject.pictures is None:
        return names
    return [name if file is None else file for file, name in zip(subject.pictures.files, names, strict=True)]


def check_files(subject: Subject) -> Iterator[Finding]:
    """Image files that are not there, cannot be read, or have another size."""
    table, pictures = subject.table, subject.pictures
    if pictures is None:
        return
    yield from table.find_images(MISSING, pictures.is_missing)
    for kind, problems in ((BAD_NAME, pictures.problems), (UNREADABLE, pictures.unreadable)):
        yield from table.find_images(kind, _rows(problems, len(table.images)), problems.get)  # type: ignore[arg-type]
    refused = {row: head.refused for row, head in pictures.heads.items() if head.refused}
    yield from table.find_images(REFUSED, _rows(refused, len(table.images)), refused.get)  # type: ignore[arg-type]
    yield from _other_spelling(table, pictures)
    yield from _sizes(table, pictures)


def _rows(chosen, count) -> np.ndarray:
    rows = np.zeros(count, bool)
    rows[list(chosen)] = True
    return rows


def _other_spelling(table, pictures):
    differs = [
        name is not None and name != image["file_name"] and name != image["file_name"].replace("\\", "/")
        for name, image in zip(pictures.names, table.images, strict=True)
    ]
    yield from table.find_images(
        OTHER_SPELLING, np.array(differs, bool), lambda row: f"the file is {short(pictures.names[row])}"
    )


def size_problems(table: HalfTable, pictures: Pictures) -> dict[str, np.ndarray]:
    """`{"other", "turned", "as stored": [m] bool}`: images whose size is not, or not clearly, that of their file."""
    stored, claimed = pictures.sizes, table.sizes
    is_known = (stored > 0).all(1) & np.isfinite(claimed).all(1)
    orientation = pictures.column("orientation", 1)
    upright = np.where((orientation >= 5)[:, None], stored[:, ::-1], stored)
    is_stored, is_upright = (claimed == stored).all(1), (claimed == upright).all(1)
    is_wrong = is_known & ~is_stored & ~is_upright
    is_turned = is_wrong & (claimed == stored[:, ::-1]).all(1)
    return {
        "other": is_wrong & ~is_turned,
        "turned": is_turned,
        "as stored": is_known & is_stored & ~is_upright,
    }


def _sizes(table, pictures):
    problems, stored = size_problems(table, pictures), pictures.sizes

    def words(row):
        height, width = (int(side) for side in table.sizes[row])
        return f"{width} x {height} in the annotations, {stored[row, 1]} x {stored[row, 0]} in the file"

    yield from table.find_images(OTHER_SIZE, problems["other"], words)
    yield from table.find_images(TURNED, problems["turned"], words)
    yield from table.find_images(AS_STORED, problems["as stored"])


def check_depth(subject: Subject) -> Iterator[Finding]:
    """Pictures of 16 bits that use a small part of their range; up to 8 of them are decoded."""
    table, pictures = subject.table, subject.pictures
    if pictures is None:
        return
    deep = np.flatnonzero(pictures.column("is_deep", False))
    looked_at = deep[np.unique(np.linspace(0, len(deep) - 1, min(len(deep), _DEEP_LOOKED_AT)).astype(int))]
    shares = []
    for row in looked_at.tolist():
        head = pictures.heads[row]
        share = brightest(_content(pictures.files[row]), head.height, head.width)
        shares += [] if share is None else [share]
    if shares and is_dark(max(shares)):
        detail = f"of {len(shares)} looked at the brightest has {darkness(max(shares))}"
        yield from table.find_images(DARK, pictures.column("is_deep", False), None, detail)


def _content(file) -> bytes:
    try:
        return file.read()
    except (OSError, ValueError):
        return b""


def check_unlisted(subjects: Sequence[Subject]) -> Iterator[Finding]:
    """Picture files in the image folders that no half names."""
    found = [subject.pictures for subject in subjects if subject.pictures is not None]
    named = {file.path for pictures in found for file in pictures.files if file is not None}
    others = sorted({path for pictures in found for path in pictures.others} - named)
    if others:
        examples = [Example(file=PictureFile(path), detail=path) for path in others[:EXAMPLES]]
        yield Finding(UNLISTED, "", len(others), examples)


CHECKS = (
    Check("sizes of images", of_half=check_sizes_said),
    Check("image files", of_half=check_files),
    Check("depth of images", of_half=check_depth),
    Check("unlisted pictures", of_all=check_unlisted),
)
