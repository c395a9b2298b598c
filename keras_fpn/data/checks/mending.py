"""Annotations written anew with what can be mended mended, and what cannot be left out.

A file that was mended holds nothing that training refuses. What changed is counted, a line a kind of change. Nothing is
guessed: an object whose box, image or class is not known is left out, and so is an image whose file cannot be used.
"""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_fpn.console.errors import UserError
from keras_fpn.data.box_forms import with_box
from keras_fpn.data.checks import boxes, duplicates, entry_columns
from keras_fpn.data.checks.finding import counted
from keras_fpn.data.checks.half_table import HalfTable
from keras_fpn.data.checks.mended_images import Images, mend_images
from keras_fpn.data.checks.resized_entries import resized
from keras_fpn.data.checks.subject import Subject
from keras_fpn.data.entry_values import text_of

_NO = (False, 0, "", "0", "false", "no")  # of an "iscrowd"; anything else that is not null means yes, as to pycocotools


class Mended(NamedTuple):
    """The content of an instances file, and what was changed for it, a line each."""

    content: dict[str, Any]
    lines: list[str]

    @property
    def text(self) -> str:
        """The file."""
        return json.dumps(self.content) + "\n"


class _Kept:
    """Which annotations are left, and what is told of the others."""

    def __init__(self, number: int, lines: list[str]):
        self.which, self._lines = np.ones(number, bool), lines

    def leave_out(self, which: np.ndarray, why: str) -> None:
        self.tell(self.which & which, f"left out: {why}")
        self.which &= ~which

    def tell(self, which: np.ndarray, done: str) -> None:
        if which.any():
            self._lines.append(f"{counted(int(which.sum()), 'annotation')} {done}")


def mend(subject: Subject, undecodable: Sequence[int] = ()) -> Mended:
    """Mend the annotations of a half; the entries that were read are not changed.

    Args:
        subject: with its pictures.
        undecodable: rows of images whose pixels cannot be read, where that is known.

    Raises:
        UserError: the boxes are in another form, or nothing would be left.
    """
    table = subject.table
    lines: list[str] = []
    for finding in boxes.check_form(subject):
        raise UserError(f"{table.source}: {finding.detail}; --fix writes COCO's form once that is said")
    for section, number in table.odd.items():
        lines.append(f"{counted(number, 'entry')} of {section!r} left out: without keys")
    table, entries = _with_numbers(table, lines)
    categories, classes = _categories(table, lines)
    images = mend_images(dataclasses.replace(subject, table=table), undecodable, lines)
    kept = _Kept(len(table.rows), lines)
    kept.leave_out(table.rows < 0, "on no image of the file")
    kept.leave_out(~images.is_kept[images.row_of[table.rows]], "their image was")
    kept.leave_out(classes < 0, "of no category of the file")
    table, entries = _brought_to_files(table, entries, images, classes, kept)
    clipped = _boxes(table, kept)
    crowd = _crowds(table, kept)
    if not kept.which.any():
        raise UserError(f"{table.source}: no object would be left; see what is wrong with them, and mend that")
    columns = {
        "id": _ids(table, kept), "image_id": images.ids[table.rows],
        "category_id": np.array([each["id"] for each in categories])[classes], "iscrowd": crowd,
    }  # fmt: skip
    annotations = [
        _written(entries[index], {key: int(column[index]) for key, column in columns.items()}, clipped.get(index))
        for index in np.flatnonzero(kept.which).tolist()
    ]
    content = {**table.rest, "images": images.entries, "annotations": annotations, "categories": categories}
    return Mended(content, lines)


def _written(entry, values, box) -> dict[str, Any]:
    """An annotation with other values, the same one where it has them."""
    changed = {key: value for key, value in values.items() if type(entry.get(key)) is not int or entry[key] != value}
    if changed == {"iscrowd": 0} and "iscrowd" not in entry:
        changed = {}
    entry = {**entry, **changed} if changed else entry
    return entry if box is None else with_box(entry, box)


def _with_numbers(table: HalfTable, lines) -> tuple[HalfTable, list[Any]]:
    """The table and the annotations with numbers in the place of texts in boxes, and all boxes in COCO's form."""
    entries: list[Any] = list(table.annotations)
    found, has_box = table.boxes.copy(), table.has_box.copy()
    if table.form != "xywh":
        boxes_of = found.tolist()
        for index in np.flatnonzero(has_box).tolist():
            entries[index] = with_box(entries[index], boxes_of[index])
        lines.append(f"{counted(int(has_box.sum()), 'box')} written as x, y, width, height")
    texts = 0
    for index in np.flatnonzero(~has_box).tolist() if table.form == "xywh" else ():
        box = _as_numbers(entries[index].get("bbox"))
        if box is not None:
            entries[index], found[index], has_box[index] = {**entries[index], "bbox": box}, box, True
            texts += 1
    if texts:
        lines.append(f"{counted(texts, 'box')} of texts written as numbers")
    return dataclasses.replace(table, boxes=found, has_box=has_box, form="xywh"), entries


def _as_numbers(value) -> list[float] | None:
    try:
        if any(isinstance(item, bool) for item in value):
            return None
        box = [float(item) for item in value]
    except (TypeError, ValueError, OverflowError):
        return None
    return box if len(box) == 4 else None


def _categories(table: HalfTable, lines) -> tuple[list[dict], np.ndarray]:
    """Categories with ids and names of their own, and `[n]` which of them each annotation is of."""
    if not table.categories:
        return _categories_of_annotations(table, lines)
    keys = table.category_keys
    is_later = entry_columns.later_ones(keys)
    is_whole = entry_columns.are_whole(keys)
    numbers = entry_columns.new_ids(keys, is_whole & ~is_later)
    kept = np.flatnonzero(~is_later).tolist()
    entries = []
    for row in kept:
        category = table.categories[row]
        name = category["name"] if text_of(category.get("name")) else table.class_names[row]
        entries.append({**category, "id": numbers[row], "name": name})
    for which, words in (
        (is_later, "left out: another has their id, and the objects of both are its own now"),
        (~is_whole & ~is_later, "numbered anew"),
        (np.array([not text_of(each.get("name")) for each in table.categories], bool) & ~is_later, "named by their id"),
    ):
        if which.any():
            lines.append(f"{counted(int(which.sum()), 'category')} {words}")
    place = np.append(np.cumsum(~is_later) - 1, -1)
    return entries, place[table.classes]


def _categories_of_annotations(table: HalfTable, lines) -> tuple[list[dict], np.ndarray]:
    """A category for each that the annotations name, in a file that lists none."""
    keys = entry_columns.keys([entry.get("category_id") for entry in table.annotations])
    known = sorted({key for key in keys if isinstance(key, int | str)}, key=lambda key: (isinstance(key, str), key))
    numbers = entry_columns.new_ids(known, entry_columns.are_whole(known))
    lines.append(f"{counted(len(known), 'category')} listed, as the annotations name them")
    entries = [{"id": number, "name": str(key)} for number, key in zip(numbers, known, strict=True)]
    return entries, entry_columns.places(keys, known)


def _brought_to_files(table, entries, images: Images, classes, kept) -> tuple[HalfTable, list[Any]]:
    """The table and the annotations as the true sizes of the images have them."""
    rows = np.where(kept.which, images.row_of[table.rows], -1)
    found = table.boxes
    factors = images.factors[table.rows]
    is_resized = kept.which & (factors != 1).any(1)
    if is_resized.any():
        found = np.where(is_resized[:, None], found * np.tile(factors[:, ::-1], 2), found)
        for index in np.flatnonzero(is_resized).tolist():
            entries[index] = resized(entries[index], *factors[index].tolist())
        kept.tell(is_resized, "brought to the size of their files")
    classes = np.where(kept.which, classes, -1)
    table = dataclasses.replace(
        table, rows=rows, boxes=found, sizes=images.sizes, classes=classes, annotations=entries
    )
    return table, entries


def _boxes(table: HalfTable, kept: _Kept) -> dict[int, list[float]]:
    """Leave out what is no box, and give those that are to be clipped, `{index: x, y, width, height}`."""
    extents = table.boxes[:, 2:]
    kept.leave_out(~table.has_box, "without four numbers as box")
    kept.leave_out(~table.is_finite, "a box with NaN or infinity")
    kept.leave_out(np.any(extents < 0, axis=1), "a box of negative width or height")
    kept.leave_out(~table.has_extent, "a box without width or height")
    kept.leave_out(~table.is_sound, "a box outside the image")
    kept.leave_out(duplicates.repeated(table)[0], "the same box and class again")
    is_over = kept.which & boxes.is_over_border(table)
    kept.tell(is_over, "clipped to the image")
    corners = table.corners
    clipped = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1)
    return {index: clipped[index].tolist() for index in np.flatnonzero(is_over).tolist()}


def _crowds(table: HalfTable, kept: _Kept) -> np.ndarray:
    """`[n]` 0 or 1: crowds; none where all objects are marked so."""
    crowd = table.crowd.copy()
    odd = np.flatnonzero(kept.which & (crowd < 0)).tolist()
    crowd[odd] = [not _is_no(table.annotations[index].get("iscrowd")) for index in odd]
    kept.tell(kept.which & (table.crowd < 0), 'with 0 or 1 as "iscrowd"')
    if kept.which.any() and (crowd[kept.which] == 1).all():
        kept.tell(kept.which, "taken for objects: all were marked as crowds")
        crowd[:] = 0
    return crowd


def _is_no(value) -> bool:
    return isinstance(value, bool | int | float | str) and (value.lower() if isinstance(value, str) else value) in _NO


def _ids(table: HalfTable, kept: _Kept) -> np.ndarray:
    """`[n]` ids of the annotations, of their own where these are whole numbers and not taken."""
    chosen = np.flatnonzero(kept.which)
    keys = entry_columns.keys([table.annotations[index].get("id") for index in chosen.tolist()])
    is_own = entry_columns.are_whole(keys) & ~entry_columns.later_ones(keys)
    changed = np.zeros(len(table.rows), bool)
    changed[chosen] = ~is_own
    kept.tell(changed, "numbered anew")
    numbers = np.zeros(len(table.rows), np.int64)
    numbers[chosen] = entry_columns.new_ids(keys, is_own)
    return numbers
