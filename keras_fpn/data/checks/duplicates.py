"""Objects that are there twice: the same box and class in one image, exactly or nearly."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from keras_fpn.data.checks.finding import NOTE, WARNING, Finding, Kind, register_kind
from keras_fpn.data.checks.half_table import HalfTable
from keras_fpn.data.checks.subject import Check, Subject

NEAR = 0.95  # IoU

DUPLICATE = register_kind(
    "duplicate_box", WARNING, "box", "with the image, class and numbers of another", "remove all but one", __name__
)
NEAR_DUPLICATE = register_kind(
    "near_duplicate_box", WARNING, "box", f"with an IoU above {NEAR} with another of its class",
    "look whether one object was annotated twice", __name__,
)  # fmt: skip
TWO_CLASSES = register_kind(
    "box_of_two_classes", NOTE, "box", "with the numbers of one of another class",
    "a detector gives a box one class: look which is right", __name__,
)  # fmt: skip


def check_duplicates(subject: Subject) -> Iterator[Finding]:
    """Boxes that stand twice in a file."""
    table = subject.table
    again, first = repeated(table)
    yield from _found(table, DUPLICATE, again, first)
    yield from _found(table, NEAR_DUPLICATE, *_near(table, ~again))


def check_labels(subject: Subject) -> Iterator[Finding]:
    """Boxes that stand in a file under two classes."""
    table = subject.table
    again, _ = repeated(table)
    labelled, other = _repeats(table.is_object & ~again, [table.rows, *table.boxes.T])
    yield from _found(table, TWO_CLASSES, labelled, other)


def _found(table: HalfTable, kind: Kind, which, other) -> Iterator[Finding]:
    """A finding of boxes whose examples have the other of each, too."""
    for finding in table.find_objects(kind, which, lambda index: _words(table, other[index])):
        others = other[finding.indices[: len(finding.examples)]].tolist()
        pairs = zip(finding.examples, others, strict=True)
        examples = [dataclasses.replace(each, other_box=table.boxes[index].tolist()) for each, index in pairs]
        yield dataclasses.replace(finding, examples=examples)


def _words(table, index):
    """Which annotation is meant."""
    label = table.classes[index]
    return f"the other is annotation {table.annotations[index].get('id')!r} ({table.class_names[label]})"


def repeated(table: HalfTable) -> tuple[np.ndarray, np.ndarray]:
    """`[n]` bool: which sound boxes are the same as an earlier one in all that is learnt; `[n]` int64: as which."""
    return _repeats(table.is_sound, [table.rows, table.classes, table.crowd, *table.boxes.T])


def _repeats(which, values) -> tuple[np.ndarray, np.ndarray]:
    """Which of some rows have the values of an earlier one, and of which: `[n]` bool and int64."""
    chosen = np.flatnonzero(which)
    parts = [np.ascontiguousarray(value[chosen]) for value in values]
    order = np.argsort(_mixed(parts), kind="stable")
    is_same = np.ones(max(len(order) - 1, 0), bool)
    for part in parts:
        part = part[order]
        is_same &= part[1:] == part[:-1]
    starts = np.flatnonzero(np.concatenate([[True], ~is_same]))[: len(order)] if len(order) else np.zeros(0, int)
    lengths = np.diff(np.append(starts, len(order)))
    again, first = np.zeros(len(which), bool), np.full(len(which), -1)
    first[chosen[order]] = chosen[order[np.repeat(starts, lengths)]]
    again[chosen[order[1:][is_same]]] = True
    return again, first


def _mixed(parts) -> np.ndarray:
    """`[n]` uint64: equal for equal rows, and hardly ever for others."""
    mixed = np.zeros(len(parts[0]), np.uint64)
    for part in parts:
        # Zeros have two signs, which are one number.
        bits = (part.astype(np.float64) + 0.0).view(np.uint64)
        mixed = (mixed ^ bits) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    return mixed


def _near(table: HalfTable, which) -> tuple[np.ndarray, np.ndarray]:
    """Which boxes overlap an earlier one of their class and image by more than `NEAR`, and which that is.

    Sorted by their left sides, such pairs are close: where the IoU is above t, x1 differs by less than (1 - t) of the
    width. So each box is held against the next, the one after it and so on, while one of that width may follow.
    """
    chosen = np.flatnonzero(which & table.is_object)
    near, other = np.zeros(len(which), bool), np.full(len(which), -1)
    group = table.rows[chosen] * max(len(table.categories), 1) + table.classes[chosen]
    corners = table.corners[chosen]
    order = np.lexsort([corners[:, 0], group])
    chosen, group, corners = chosen[order], group[order], np.ascontiguousarray(corners[order].T)
    area, reach = (corners[2] - corners[0]) * (corners[3] - corners[1]), (1 - NEAR) * (corners[2] - corners[0])
    left, step = np.arange(len(chosen) - 1), 1
    while len(left):
        right = left + step
        may_follow = (group[right] == group[left]) & (corners[0, right] - corners[0, left] < reach[left])
        left, right = left[may_follow], right[may_follow]
        shared = np.minimum(corners[2:, left], corners[2:, right]) - np.maximum(corners[:2, left], corners[:2, right])
        shared = np.maximum(shared, 0).prod(0)
        is_near = shared > NEAR * (area[left] + area[right] - shared)
        first, second = np.sort(np.stack([chosen[left[is_near]], chosen[right[is_near]]]), axis=0)
        near[second], other[second] = True, first
        step += 1
        left = left[left + step < len(chosen)]
    return near, other


CHECKS = (
    Check("duplicates", of_half=check_duplicates, is_quick=True),
    Check("boxes of two classes", of_half=check_labels),
)
