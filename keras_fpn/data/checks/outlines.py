"""Segmentations held against their boxes."""

from collections.abc import Iterator
from itertools import chain

import numpy as np

from keras_fpn.data import segmentations
from keras_fpn.data.checks.finding import NOTE, WARNING, Finding, register_kind
from keras_fpn.data.checks.half_table import HalfTable
from keras_fpn.data.checks.subject import Check, Subject
from keras_fpn.ops import masks

_USUAL = 1e12  # pixels, of all points of a polygon together
_ROOM, _SHARE = 2.0, 0.1  # pixels, and of the longer side: what an outline may differ from its box

UNUSABLE = register_kind(
    "segmentation_unusable", WARNING, "segmentation", "of which no mask can be made",
    "correct it; boxes alone are learnt without",
    __name__,
)  # fmt: skip
DISAGREES = register_kind(
    "segmentation_off_box", WARNING, "box", "away from the segmentation of the object",
    "look which is right: the picture may have been resized, or one of them moved", __name__,
)  # fmt: skip
MISSING = register_kind(
    "segmentation_missing", NOTE, "object", "without a segmentation, where others have one",
    "add it: masks are learnt where every object has one", __name__,
)  # fmt: skip


def check_outlines(subject: Subject) -> Iterator[Finding]:
    """Segmentations that are none, those whose bounds are not the box, and objects without beside others that have."""
    table = subject.table
    has_outline = np.array([bool(entry.get("segmentation")) for entry in table.annotations], bool)
    chosen = np.flatnonzero(has_outline & table.is_sound)
    if not len(chosen):
        return
    yield from table.find_objects(MISSING, ~has_outline & table.is_sound)
    entries = [table.annotations[index] for index in chosen.tolist()]
    is_plain = np.array([_is_plain(entry["segmentation"]) for entry in entries], bool)
    others = [entry for entry, plain in zip(entries, is_plain, strict=True) if not plain]
    problems = _problems(table, chosen[~is_plain], others)
    unusable = np.zeros(len(table.rows), bool)
    unusable[list(problems)] = True
    yield from table.find_objects(UNUSABLE, unusable, lambda index: f"its segmentation {problems[index]}")
    yield from _disagreeing(table, chosen, entries, is_plain, unusable)


def _is_plain(outline) -> bool:
    """Whether it is one polygon of usual numbers, as nearly all are: the one that is looked at all together."""
    if not (isinstance(outline, list) and len(outline) == 1 and isinstance(outline[0], list)):
        return False
    polygon = outline[0]
    if len(polygon) < 6 or len(polygon) % 2 or not set(map(type, polygon)) <= {int, float}:
        return False
    return abs(sum(polygon)) < _USUAL  # neither NaN nor infinite; JSON has whole numbers of any length


def _problems(table, indices, entries) -> dict[int, str]:
    sizes = table.of_objects[indices]
    return {int(indices[place]): words for place, words in segmentations.unusable(entries, sizes)}


def _disagreeing(table: HalfTable, chosen, entries, is_plain, unusable):
    bounds = np.full((len(chosen), 4), np.nan)
    polygons = [entry["segmentation"][0] for entry, plain in zip(entries, is_plain, strict=True) if plain]
    bounds[is_plain] = _bounds(polygons)
    for place in np.flatnonzero(~is_plain & ~unusable[chosen]).tolist():
        bounds[place] = _bounds_of(entries[place]["segmentation"], table.of_objects[chosen[place]])
    boxes = table.boxes[chosen]
    ends = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)
    with np.errstate(invalid="ignore"):
        room = np.maximum(_ROOM, _SHARE * (bounds[:, 2:] - bounds[:, :2]).max(1))
        off = np.abs(ends - bounds).max(1)
    is_off, by = np.zeros(len(table.rows), bool), np.zeros(len(table.rows))
    is_off[chosen], by[chosen] = off > room, off
    yield from table.find_objects(DISAGREES, is_off, lambda index: f"by {by[index]:.0f} pixels")


def _bounds(polygons) -> np.ndarray:
    """`[p, 4]` x1, y1, x2, y2 of p polygons."""
    if not polygons:
        return np.zeros((0, 4))
    lengths = np.fromiter(map(len, polygons), np.int64, len(polygons)) // 2
    points = np.fromiter(chain.from_iterable(polygons), np.float64, int(lengths.sum()) * 2).reshape(-1, 2)
    starts = np.cumsum(lengths) - lengths
    return np.concatenate([np.minimum.reduceat(points, starts), np.maximum.reduceat(points, starts)], 1)


def _bounds_of(outline, size) -> np.ndarray:
    """`[4]` x1, y1, x2, y2 of several polygons, or of run lengths."""
    if isinstance(outline, list):
        return _bounds([list(chain.from_iterable(outline))])[0]
    height, width = map(int, size)
    x, y, across, down = masks.bounding_boxes([masks.from_annotation(outline, height, width)])[0]
    return np.array([x, y, x + across, y + down])


CHECKS = (Check("outlines", of_half=check_outlines),)
