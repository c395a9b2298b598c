"""A data set checked: its halves read, whatever is wrong in them, and every check made."""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from keras_fpn.console.errors import UserError
from keras_fpn.console.progress import Count
from keras_fpn.data import sources
from keras_fpn.data.checks.decoding import decode_all
from keras_fpn.data.checks.distributions import class_sizes, histograms
from keras_fpn.data.checks.finding import ERROR, SEVERITIES, Finding, counted, worst_first
from keras_fpn.data.checks.half_table import table_of_content
from keras_fpn.data.checks.pictures import Pictures, find_pictures, read_heads
from keras_fpn.data.checks.subject import Subject, findings
from keras_fpn.data.checks.table import CHECKS
from keras_fpn.data.formats import Half, find_halves, format_of, read_content

_WORTH_A_BAR = 2000  # images: a second or so


class Checked(NamedTuple):
    """Halves that were checked, and what was found, the worst first."""

    subjects: list[Subject]
    findings: list[Finding]

    @property
    def has_errors(self) -> bool:
        """Whether something is wrong, not only worth a look."""
        return any(finding.kind.severity == ERROR for finding in self.findings)

    @property
    def summary(self) -> str:
        """How much was found in how much, in a line."""
        numbers = [counted(self._number(severity), severity) for severity in SEVERITIES]
        of_images = sum(len(subject.table.images) for subject in self.subjects)
        of_objects = sum(len(subject.table.rows) for subject in self.subjects)
        halves = ", ".join(subject.table.name for subject in self.subjects)
        where = f"{counted(of_images, 'image')} and {counted(of_objects, 'object')} ({halves})"
        return f"{', '.join(numbers)} in {where}"

    def _number(self, severity):
        return sum(finding.kind.severity == severity for finding in self.findings)

    def and_also(self, more: Sequence[Finding]) -> "Checked":
        """The same with further findings."""
        return Checked(self.subjects, worst_first([*self.findings, *more]))

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON takes it."""
        halves = {}
        for subject in self.subjects:
            table = subject.table
            halves[table.name] = {
                "annotations": table.source, "images_folder": table.folder, "images": len(table.images),
                "objects": len(table.rows), "crowds": int((table.crowd == 1).sum()), "classes": class_sizes(table),
                "histograms": {name: each.to_json() for name, each in histograms(subject).items()},
            }  # fmt: skip
        return {"halves": halves, "findings": [finding.to_json() for finding in self.findings]}


def check_all(
    halves: Mapping[str, Half],
    *,
    resize: Mapping[str, Any] | None = None,
    boxes: str = "xywh",
    crowds: str = "ignore",
    decode: bool = False,
) -> Checked:
    """Check the halves of a data set; nothing that is wrong in them is refused.

    Args:
        halves: by name; those called "train" are what others are held against.
        resize: the rule by which images are resized, see `data.sizes`.
        boxes, crowds: how the annotations are read, see `read_coco`.
        decode: also decode every picture.

    Raises:
        UserError: annotations or an image folder are not there, or are no annotations at all.
    """
    for half in halves.values():
        sources.check_there(half)
    order = sorted(halves, key=lambda name: name != "train")
    subjects = [_subject(name, halves[name], resize, boxes, crowds) for name in order]
    found = findings(subjects, CHECKS)
    if decode:
        for subject in subjects:
            with _counting(f"decode {subject.table.name}", len(subject.table.images)) as count:
                found += decode_all(subject, count)
    return Checked(subjects, worst_first(found))


def _subject(name: str, half: Half, resize, boxes, crowds) -> Subject:
    content = read_content(half.annotations, half.images)
    table = table_of_content(name, half.annotations, half.images, content, boxes, crowds)
    pictures = read_pictures(name, half, table.images)
    return Subject(dataclasses.replace(table, files=pictures.files), pictures, resize)


def read_pictures(name: str, half: Half, entries: Sequence[Mapping[str, Any]]) -> Pictures:
    """Find the picture files of a half, and read their first bytes."""
    pictures = find_pictures(half.annotations, entries, half.images)
    with _counting(f"look at {name}", len(entries)) as count:
        return read_heads(pictures, count)


def _counting(title, total) -> contextlib.AbstractContextManager[Callable[[int], Any]]:
    return Count(title, total) if total >= _WORTH_A_BAR else contextlib.nullcontext(lambda done: None)


# ----------------------------------------------------------------------------------------- what there is to check


def halves_of(data: str | os.PathLike, images: str | os.PathLike | None = None) -> dict[str, Half]:
    """The halves that a name stands for: a folder of a known layout, annotations, or another name of a format.

    Args:
        data: path or name.
        images: image folder of annotations; without, it is looked for where layouts have it.

    Raises:
        UserError: there is nothing of the name, or nothing tells where its images are.
    """
    name = os.fspath(data)
    if images is not None:
        return {Path(name).stem: Half(name, os.fspath(images))}
    if Path(name).is_file():
        return {Path(name).stem: Half(name, _images_of(name))}
    return find_halves(name)[1]


def _images_of(name: str) -> str:
    """The image folder of annotations: their format may say it, or the layout that they are part of."""
    folder = format_of(name).images_of(name)
    if folder is not None:
        return folder
    for place in list(Path(name).absolute().parents)[:2]:
        with contextlib.suppress(UserError, OSError):
            for half in find_halves(place)[1].values():
                if os.path.abspath(half.annotations) == os.path.abspath(name):
                    return half.images
    raise UserError(f"{name}: nothing tells where its images are; give --images DIR")
