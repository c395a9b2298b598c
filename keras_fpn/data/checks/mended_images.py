"""Entries of images as their files have them; those whose file cannot be used are left out."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_fpn.console.errors import UserError
from keras_fpn.data.checks import entry_columns
from keras_fpn.data.checks.finding import counted
from keras_fpn.data.checks.half_table import HalfTable
from keras_fpn.data.checks.pictures import Pictures
from keras_fpn.data.checks.subject import Subject

_SAME_SHAPE = 0.01  # by which the factors of width and height of a resized picture may differ
_ROOM = 1.0  # pixels over the border that rounding explains


class Images(NamedTuple):
    """The m images of a file, mended; all of `[m + 1]` have a last row for objects on none.

    Attributes:
        entries: those that are kept.
        is_kept: `[m + 1]` bool.
        row_of: `[m + 1]` int64: the row whose objects those of a row become; -1 of the last.
        ids: `[m + 1]` int64.
        sizes: `[m, 2]` float64 height and width.
        factors: `[m + 1, 2]` by which the objects of a row are resized, down and across.
    """

    entries: list[dict[str, Any]]
    is_kept: np.ndarray
    row_of: np.ndarray
    ids: np.ndarray
    sizes: np.ndarray
    factors: np.ndarray


def mend_images(subject: Subject, undecodable: Sequence[int], lines: list[str]) -> Images:
    """Mend the entries of a half's images; `lines` get what was changed.

    Raises:
        UserError: none would be left.
    """
    table, pictures = subject.table, subject.pictures
    assert pictures is not None
    draft = _Draft(table, lines)
    draft.leave_out(pictures.is_missing, "whose file is not there")
    refused = [row for row, head in pictures.heads.items() if head.refused]
    for rows, why in (
        (pictures.problems, "whose file_name cannot be used"),
        (pictures.unreadable, "whose file cannot be read"),
        (refused, "in a form that training refuses; convert them"),
        (undecodable, "whose file cannot be decoded"),
    ):
        draft.leave_out(draft.rows(rows), why)
    _join(draft, table, pictures)
    sizes, factors = _true_sizes(draft, table, pictures)
    keys = table.image_keys
    is_own = entry_columns.are_whole(keys) & ~entry_columns.later_ones(keys)
    draft.tell(draft.is_kept & ~is_own, "numbered anew")
    ids = np.array(entry_columns.new_ids(keys, is_own), np.int64)
    if not draft.is_kept.any():
        raise UserError(f"{table.source}: no image would be left; see what is wrong with them, and mend that")
    entries = _entries(draft, table, pictures, sizes, ids)
    return Images(
        entries, np.append(draft.is_kept, False), np.append(draft.row_of, -1), np.append(ids, 0), sizes,
        np.concatenate([factors, np.ones((1, 2))]),
    )  # fmt: skip


class _Draft:
    def __init__(self, table: HalfTable, lines: list[str]):
        self.is_kept, self.row_of, self._lines = np.ones(len(table.images), bool), np.arange(len(table.images)), lines

    def rows(self, chosen) -> np.ndarray:
        which = np.zeros(len(self.is_kept), bool)
        which[list(chosen)] = True
        return which

    def leave_out(self, which: np.ndarray, why: str) -> None:
        self.tell(self.is_kept & which, f"left out: {why}")
        self.is_kept &= ~which

    def tell(self, which: np.ndarray, done: str) -> None:
        if which.any():
            self._lines.append(f"{counted(int(which.sum()), 'image')} {done}")


def _join(draft: _Draft, table: HalfTable, pictures: Pictures) -> None:
    """Entries of one file become one; of two pictures with one id nobody knows whose the objects are."""
    keys, files = table.image_keys, entry_columns.keys(list(pictures.files))
    first_of_id = entry_columns.places(keys, keys)
    first_of_file = entry_columns.places(files, files)
    own = np.arange(len(keys))
    shares_id = (first_of_id >= 0) & (first_of_id != own)
    other_file = shares_id & (first_of_file != first_of_file[first_of_id])
    has_objects = np.bincount(table.rows[table.rows >= 0], minlength=len(keys)) > 0
    unclear = other_file & has_objects[first_of_id]
    draft.leave_out(unclear | draft.rows(first_of_id[unclear]), "with one id for several pictures")
    again = draft.is_kept & (first_of_file >= 0) & (first_of_file != own) & draft.is_kept[first_of_file]
    draft.leave_out(again, "entries of a file that another names; their objects are on that one")
    draft.row_of[again] = first_of_file[again]


def _true_sizes(draft: _Draft, table: HalfTable, pictures: Pictures) -> tuple[np.ndarray, np.ndarray]:
    """Sizes `[m, 2]` as the files have them, and the factors `[m, 2]` of objects on pictures that were resized."""
    stored, claimed = pictures.sizes.astype(np.float64), table.sizes
    upright = np.where((pictures.column("orientation", 1) >= 5)[:, None], stored[:, ::-1], stored)
    is_right = (claimed == stored).all(1) | (claimed == upright).all(1)
    reach = _reach(table)
    sizes, factors = np.where(is_right[:, None], claimed, upright), np.ones(stored.shape)
    changed = {"corrected": [], "resized": [], "lost": []}  # type: dict[str, list[int]]
    for row in np.flatnonzero(draft.is_kept & ~is_right).tolist():
        scale = upright[row] / claimed[row]
        is_scaled = np.isfinite(scale).all() and abs(scale[0] / scale[1] - 1) <= _SAME_SHAPE
        if is_scaled and (reach[row] <= claimed[row] + _ROOM).all():
            factors[row] = scale
            changed["resized"].append(row)
        else:
            changed["corrected" if (reach[row] <= upright[row] + _ROOM).all() else "lost"].append(row)
    draft.tell(draft.rows(changed["corrected"]), "given the size of their file")
    draft.tell(draft.rows(changed["resized"]), "given the size of their file, and their objects brought to it")
    draft.leave_out(draft.rows(changed["lost"]), "of another size than their file, where their objects would not fit")
    return sizes, factors


def _reach(table: HalfTable) -> np.ndarray:
    """`[m, 2]` how far down and across the boxes of each image reach, 0 of none."""
    reach = np.zeros((len(table.images), 2))
    sound = table.has_extent & (table.rows >= 0)
    with np.errstate(over="ignore"):  # infinity is beyond every image
        ends = (table.boxes[:, :2] + table.boxes[:, 2:])[sound][:, ::-1]
    np.maximum.at(reach, table.rows[sound], ends)
    return reach


def _entries(draft: _Draft, table: HalfTable, pictures: Pictures, sizes, ids) -> list[dict[str, Any]]:
    entries, renamed = [], []
    for row in np.flatnonzero(draft.is_kept).tolist():
        entry, name = table.images[row], pictures.names[row]
        changed: dict[str, Any] = {"id": int(ids[row]), "height": int(sizes[row, 0]), "width": int(sizes[row, 1])}
        if name is not None and entry["file_name"] != name:
            changed["file_name"] = name
            renamed.append(row)
        entries.append({**entry, **changed})
    draft.tell(draft.rows(renamed), "named as the disk has them")
    return entries
