"""Pictures that are there twice, by content: in two halves, or in one under two names."""

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from keras_fpn.data.checks.finding import ERROR, EXAMPLES, WARNING, Finding, register_kind
from keras_fpn.data.checks.picture_file import PictureFile
from keras_fpn.data.checks.pictures import in_threads
from keras_fpn.data.checks.subject import Check, Subject

_CHUNK = 2**20  # bytes

IN_TWO_HALVES = register_kind(
    "image_in_two_halves", ERROR, "image", "that another half has, too",
    "take them out of one half: the figures would tell how well they were learnt by heart", __name__,
)  # fmt: skip
SAME_CONTENT = register_kind(
    "image_twice", WARNING, "image", "with the content of another of the half", "keep one of them, with all objects",
    __name__,
)  # fmt: skip


def check_shared(subjects: Sequence[Subject]) -> Iterator[Finding]:
    """Images whose files have the same content, whatever their names."""
    contents, owners, rows = _contents(subjects)
    if not len(contents):
        return
    order = np.lexsort([rows, owners, contents])
    starts = np.flatnonzero(np.concatenate([[True], np.diff(contents[order]) != 0]))
    first = np.empty(len(order), np.int64)
    first[order] = order[np.repeat(starts, np.diff(np.append(starts, len(order))))]
    for number, subject in enumerate(subjects):
        ours = np.flatnonzero((owners == number) & (first != np.arange(len(first))))
        elsewhere = owners[first[ours]] != number
        yield from _told(IN_TWO_HALVES, subjects, number, rows[ours[elsewhere]], owners, rows, first[ours[elsewhere]])
        again = ours[~elsewhere]
        files = _files(subject)
        is_other = [files[rows[one]] != files[rows[first[one]]] for one in again]
        again = again[np.array(is_other, bool)]
        yield from _told(SAME_CONTENT, subjects, number, rows[again], owners, rows, first[again])


def _told(kind, subjects, number, found, owners, rows, originals) -> Iterator[Finding]:
    """A finding of some rows of a half, whose examples name the originals."""
    if not len(found):
        return
    examples = []
    for row, original in list(zip(found.tolist(), originals.tolist(), strict=True))[:EXAMPLES]:
        table = subjects[owners[original]].table
        same = table.image_example(int(rows[original]))
        example = subjects[number].table.image_example(row, f"is {same.file_name} of {table.name}")
        examples.append(dataclasses.replace(example, other_file=same.file))
    yield Finding(kind, subjects[number].table.name, len(found), examples, "", found)


def _files(subject: Subject) -> Sequence[PictureFile | None]:
    return () if subject.pictures is None else subject.pictures.files


def _contents(subjects) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers of contents, equal for files of equal content, of the files that may have equals; whose they are.

    Returns:
        `(contents, owners, rows)`, `[f]` int64 each: the half and the image of each file.
    """
    owners, rows, lengths, tails = _heads(subjects)
    keys = lengths << 32 | tails
    _, place, count = np.unique(keys, return_inverse=True, return_counts=True)
    maybe = np.flatnonzero(count[place.reshape(-1)] > 1)
    files = [_files(subjects[owners[index]])[rows[index]] for index in maybe.tolist()]
    digests = _digests(files)
    number_of: dict[Any, int] = {}
    numbers = [number_of.setdefault(digests[file], len(number_of)) for file in files]
    return np.array(numbers, np.int64), owners[maybe], rows[maybe]


def _heads(subjects):
    found: list[tuple[int, int, int, int]] = []
    for number, subject in enumerate(subjects):
        heads = {} if subject.pictures is None else subject.pictures.heads
        found += [(number, row, head.length, head.tail) for row, head in heads.items()]
    return np.array(found, np.int64).reshape(-1, 4).T


def _digests(files) -> dict[PictureFile, Any]:
    """`{file: something equal for equal contents}`; of a file that cannot be read by now, for no other."""
    different = list(dict.fromkeys(files))
    found: dict[PictureFile, Any] = {}
    for block, values in in_threads(lambda index: _digest(different[index]), range(len(different))):
        found |= {different[index]: value for index, value in zip(block, values, strict=True)}
    return found


def _digest(file: PictureFile):
    digest = hashlib.blake2b(digest_size=16)
    try:
        with file.open() as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
    except (OSError, ValueError):
        return file
    return digest.digest()


CHECKS = (Check("shared pictures", of_all=check_shared),)
