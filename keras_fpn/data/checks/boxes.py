"""Boxes: missing, without extent, outside, over the border, too small to be seen."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from keras_fpn.console.errors import UserError
from keras_fpn.data.box_sanity import refuse_another_form
from keras_fpn.data.checks.finding import ERROR, NOTE, WARNING, Finding, register_kind
from keras_fpn.data.checks.half_table import HalfTable
from keras_fpn.data.checks.subject import Check, Subject
from keras_fpn.data.objects import Objects, short
from keras_fpn.data.sizes import resized_size

_LEAVE_OUT = "correct x, y, width, height, or leave such boxes out"
_OVER = 1.0  # pixels over the border that rounding explains
_LEAST, _LEAST_RESIZED = 1.0, 2.0  # pixels


def _kind(name, severity, what, mend, noun="box"):
    return register_kind(name, severity, noun, what, mend, __name__)


FORM = _kind("box_form", ERROR, "of which most are in another form or of another scale", "see what is said")
MISSING = _kind("box_missing", ERROR, "without four numbers as box", "write x, y, width, height", "annotation")
NOT_FINITE = _kind("box_not_finite", ERROR, "with NaN or infinity", _LEAVE_OUT)
NEGATIVE = _kind("box_negative", ERROR, "of negative width or height", _LEAVE_OUT)
EMPTY = _kind("box_empty", ERROR, "without width or height", _LEAVE_OUT)
OUTSIDE = _kind("box_outside", ERROR, "outside the image", _LEAVE_OUT)
OVER_BORDER = _kind("box_over_border", WARNING, "over the border of the image", "clip them, as training does")
BELOW_PIXEL = _kind("box_below_pixel", WARNING, "narrower or lower than a pixel", "look whether they are objects")
TINY = _kind(
    "box_tiny", WARNING, "narrower or lower than two pixels after the resize",
    "train at a larger size (--set size=N), or leave such boxes out",
)  # fmt: skip
ODD_CROWD = _kind("iscrowd_odd", ERROR, 'with an "iscrowd" that is neither 0 nor 1', "write 0 or 1", "annotation")
CROWD = _kind("crowd", NOTE, "marked as a crowd, neither learnt nor measured", "nothing, if they are crowds", "object")


def check_boxes(subject: Subject) -> Iterator[Finding]:
    """Boxes that cannot be learnt from, each in one finding alone."""
    table = subject.table
    boxes, has_box = table.boxes, table.has_box
    is_finite, has_extent = table.is_finite, table.has_extent
    extents = boxes[:, 2:]
    is_negative = is_finite & (extents < 0).any(1)
    yield from table.find_objects(MISSING, ~has_box, lambda index: _said(table, index))
    yield from table.find_objects(NOT_FINITE, has_box & ~is_finite)
    yield from table.find_objects(NEGATIVE, is_negative)
    yield from table.find_objects(EMPTY, is_finite & ~has_extent & ~is_negative)
    corners = table.corners
    with np.errstate(invalid="ignore"):
        is_outside = has_extent & ((corners[:, 2:] <= corners[:, :2]).any(1))
    yield from table.find_objects(OUTSIDE, is_outside, lambda index: _size_of(table, index))
    yield from _over_border(table)
    yield from table.find_objects(ODD_CROWD, table.crowd < 0, lambda index: _crowd(table, index))
    yield from table.find_objects(CROWD, table.crowd == 1)


def _said(table, index):
    entry = table.annotations[index]
    return f"bbox {short(entry['bbox'], 40)}" if "bbox" in entry else "no bbox"


def _crowd(table, index):
    return f"iscrowd {short(table.annotations[index].get('iscrowd'), 30)}"


def _size_of(table, index):
    height, width = table.of_objects[index]
    return f"the image has {width:.0f} x {height:.0f}"


def _beyond_border(table: HalfTable) -> np.ndarray:
    """`[n]` float64 pixels by which a box that has a part in its image reaches over the border, 0 within."""
    boxes, sizes = table.boxes, table.of_objects
    with np.errstate(invalid="ignore", over="ignore"):
        beyond = np.concatenate([-boxes[:, :2], boxes[:, :2] + boxes[:, 2:] - sizes[:, ::-1]], 1).max(1)
    return np.where(table.is_sound, np.maximum(beyond, 0), 0)


def is_over_border(table: HalfTable) -> np.ndarray:
    """`[n]` bool: which boxes reach over the border by more than rounding explains."""
    return _beyond_border(table) > _OVER


def _over_border(table):
    beyond = _beyond_border(table)
    is_over = is_over_border(table)
    if is_over.any():
        most, middle = float(beyond.max()), float(np.median(beyond[is_over]))
        detail = f"by {middle:,.0f} pixels (median), {most:,.0f} at most"
        yield from table.find_objects(OVER_BORDER, is_over, lambda index: f"{beyond[index]:.0f} pixels over", detail)


def check_small(subject: Subject) -> Iterator[Finding]:
    """Boxes that are hardly a pixel, in the file or after the resize."""
    table = subject.table
    sides = np.where(table.is_object, (table.corners[:, 2:] - table.corners[:, :2]).min(1), np.inf)
    yield from table.find_objects(BELOW_PIXEL, sides < _LEAST)
    if subject.resize is None:
        return
    resized = resized_corners(table, subject.resize)
    least = np.where(table.is_object, (resized[:, 2:] - resized[:, :2]).min(1), np.inf)
    is_tiny = (least < _LEAST_RESIZED) & (sides >= _LEAST)
    yield from table.find_objects(TINY, is_tiny, lambda index: f"{least[index]:.1f} pixels after the resize")


def resized_sizes(table: HalfTable, resize: Mapping[str, Any]) -> np.ndarray:
    """`[m, 2]` height and width that the images have after the resize, NaN where their size is not known."""
    sizes = np.full(table.sizes.shape, np.nan)
    is_known = np.isfinite(table.sizes).all(1)
    different, place = np.unique(table.sizes[is_known], axis=0, return_inverse=True)
    found = [resized_size(int(height), int(width), resize) for height, width in different.tolist()]
    sizes[is_known] = np.array(found, np.float64).reshape(-1, 2)[place.reshape(-1)]
    return sizes


def resized_corners(table: HalfTable, resize: Mapping[str, Any]) -> np.ndarray:
    """`[n, 4]` x1, y1, x2, y2 of the clipped boxes after the resize, NaN where the size is not known."""
    with np.errstate(invalid="ignore", divide="ignore"):
        factors = resized_sizes(table, resize) / table.sizes
        factors = np.concatenate([factors, np.full((1, 2), np.nan)])[table.rows]
        return table.corners * np.tile(factors[:, ::-1], 2)


def check_form(subject: Subject) -> Iterator[Finding]:
    """Boxes that seem to be in another form than COCO's, or to belong to pictures of another size."""
    table = subject.table
    if table.form != "xywh":  # they were said to be in this one
        return
    is_named = [isinstance(image.get("file_name"), str) and "id" in image for image in table.images]
    is_usable = table.is_finite & np.isfinite(table.of_objects).all(1) & np.array([*is_named, False])[table.rows]
    usable = np.flatnonzero(is_usable).tolist()
    entries = [table.annotations[index] for index in usable]
    images = [table.images[row] for row in table.rows[usable].tolist()]
    try:
        refuse_another_form(Objects(table.source, entries, images, ()))  # type: ignore[arg-type]
    except UserError as error:
        yield from table.find_whole(FORM, str(error).removeprefix(f"{table.source}: "), len(usable))


CHECKS = (
    Check("boxes", of_half=check_boxes),
    Check("small boxes", of_half=check_small, is_quick=True),
    Check("form of boxes", of_half=check_form),
)
