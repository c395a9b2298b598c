"""Boxes in another form than COCO's, recognised over a whole file: read as they stand they would teach nonsense.

A single box tells little: the rules here go by the share of all boxes, and leave a file alone in which a few boxes
reach over a border. Where objects have polygons, these tell which form the boxes have.
"""

import logging

import numpy as np

from keras_fpn.console.errors import UserError
from keras_fpn.data.box_forms import FORMS, as_xywh
from keras_fpn.data.objects import Objects

log = logging.getLogger(__name__)

_SHARE = 1.5  # the largest number of a box in shares of its image, with some room for those over a border
_LARGE = 8  # pixels: the shorter side of an image in which boxes of a pixel are no objects
_OVER = 0.1  # of its extent that a box reaches over a border before it counts as leaving the image
_PIXELS_FORMS = ("xywh", "xyxy", "cxcywh")
_SHARE_FORMS = ("shares", "cxcywh_shares", "xyxy_shares")
_OUTLINES = 300  # polygons looked at


def refuse_another_form(objects: Objects) -> None:
    """Refuse objects whose boxes, read as x, y, width, height in pixels, seem to be something else.

    Raises:
        UserError: says in which form the boxes seem to be and how to have them read so.
    """
    wanted = "four numbers x, y, width, height in pixels"
    sides, sizes = objects.numbers("bbox", "float64", (4,), wanted=wanted), objects.sizes
    usable = np.flatnonzero(np.isfinite(sides).all(1) & (np.abs(sides) < 1e9).all(1))
    if not len(usable):
        return
    sides, sizes = sides[usable], sizes[usable].astype(np.float64)
    corners, outlined = _outlines(objects, usable)
    forms = _share_forms(sides, sizes, corners, outlined)
    if not forms:
        form = _pixel_form(sides, sizes, corners, outlined)
        forms = [] if form == "xywh" else [form]
    if forms:
        _refuse(objects, usable, sides, forms)
    _check_outlines(objects, usable, sides, corners, outlined)
    _check_scale(objects, usable, sides, sizes)


def _refuse(objects, usable, sides, forms):
    name, box = objects.name(int(usable[0])), ", ".join(f"{value:g}" for value in sides[0])
    others = f" (and those of {len(usable) - 1} more objects)" if len(usable) > 1 else ""
    further = "".join(f" or, if they are {FORMS[form].numbers}, data.boxes={form}" for form in forms[1:])
    raise UserError(
        f"{name}: box [{box}]{others} seems to be {FORMS[forms[0]].words}, not x, y, width, height in pixels; give"
        f' --set data.boxes={forms[0]} (from Python boxes="{forms[0]}"){further}, or write COCO\'s form'
    )


# ---------------------------------------------------------------------------------------------------- forms


def _share_forms(sides, sizes, corners, outlined) -> list[str]:
    """The forms in shares of the image that the boxes may have, the likeliest first; none if they are in pixels."""
    large = sizes.min(1) >= _LARGE
    small = ((sides <= _SHARE) & (sides >= 1 - _SHARE)).all(1)[large]
    if not len(small) or small.mean() < (0.95 if len(small) >= 20 else 1):
        return []
    if len(small) < 3 and (sides[large] == np.round(sides[large])).all():
        return []  # a pixel in the corner, or all of the image: too few to say
    if len(outlined) and np.abs(corners).max() > _SHARE:
        agreeing = [_agreement(sides[outlined], sizes[outlined], corners, form) for form in _SHARE_FORMS]
        if max(agreeing) >= 0.9:
            return [_SHARE_FORMS[int(np.argmax(agreeing))]]
    outside = [_outside(sides[large], sizes[large], form).mean() for form in _SHARE_FORMS]
    least = min(outside)
    return [form for form, share in zip(_SHARE_FORMS, outside, strict=True) if share == least]


def _pixel_form(sides, sizes, corners, outlined) -> str:
    """The form in pixels that the boxes have: COCO's unless much speaks for another."""
    if len(outlined) >= min(len(sides), 3):
        agreeing = {form: _agreement(sides[outlined], sizes[outlined], corners, form) for form in _PIXELS_FORMS}
        best = max(agreeing, key=agreeing.__getitem__)
        if agreeing["xywh"] >= 0.5:
            return "xywh"
        if agreeing[best] >= 0.9:
            return best
    leaving, number = _leaving(sides, sizes), len(sides)
    fitting = ~_outside(sides, sizes, "xyxy")
    if number >= 3 and leaving.mean() >= 0.4 and fitting.mean() >= (0.95 if number >= 20 else 1):
        return "xyxy"
    enough = leaving.sum() >= max(3, (0.05 if number >= 50 else 0.15) * number)
    if number >= 6 and enough and _outside(sides, sizes, "cxcywh").mean() <= 0.01:
        return "cxcywh"
    return "xywh"


def _outside(sides, sizes, form) -> np.ndarray:
    """`[n]` bool: of boxes in a form which have no extent, or are not within their image, but for a hundredth of it."""
    boxes = as_xywh(sides, sizes, form)
    extents, room = sizes[:, ::-1], np.maximum(sizes[:, ::-1] * 0.01, 0.01)
    start, end = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    return ((boxes[:, 2:] <= 0) | (start < -room) | (end > extents + room)).any(1)


def _leaving(sides, sizes) -> np.ndarray:
    """`[n]` bool: which boxes x, y, width, height clearly reach over the right or lower border."""
    beyond = sides[:, :2] + sides[:, 2:] - sizes[:, ::-1]
    return ((beyond > 1) & (beyond > _OVER * sides[:, 2:])).any(1)


# ------------------------------------------------------------------------------------------------- outlines


def _outlines(objects, usable) -> tuple[np.ndarray, np.ndarray]:
    """Corners `[m, 4]` of the polygons of some objects, and which of the usable ones `[m]` these are."""
    corners, indices = [], []
    for index in np.unique(np.linspace(0, len(usable) - 1, min(len(usable), _OUTLINES)).astype(int)).tolist():
        polygons = objects.entries[usable[index]].get("segmentation")
        try:
            points = np.concatenate([np.array(polygon, np.float64).reshape(-1, 2) for polygon in polygons])
        except (TypeError, ValueError, OverflowError):
            continue  # run lengths, or nothing, or a number beyond all bounds
        if len(points) >= 3 and np.isfinite(points).all():
            corners.append(np.concatenate([points.min(0), points.max(0)]))
            indices.append(index)
    return np.array(corners).reshape(-1, 4), np.array(indices, np.int64)


def _agreement(sides, sizes, corners, form) -> float:
    """The share of boxes that, in a form, lie around their polygons, but for two pixels or a tenth of their extent."""
    boxes = as_xywh(sides, sizes, form)
    found = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)
    room = np.maximum(2, 0.1 * (corners[:, 2:] - corners[:, :2]).max(1, keepdims=True))
    return float((np.abs(found - corners) <= room).all(1).mean())


# ---------------------------------------------------------------------------------------------------- scale


def _check_outlines(objects, usable, sides, corners, outlined) -> None:
    """Refuse boxes that are all of them so many times as large as their polygons."""
    extents = corners[:, 2:] - corners[:, :2]
    large = (extents >= _LARGE).all(1)
    if large.sum() < 5:
        return
    low, middle, high = np.quantile(sides[outlined][large, 2:] / extents[large], (0.25, 0.5, 0.75))
    if high - low <= 0.1 * middle and not 0.8 <= middle <= 1.25:
        first = objects.name(int(usable[outlined[np.argmax(large)]]))
        raise UserError(
            f"{first}: its box is {middle:.2f} times as large as its polygons, and so are those of the other objects;"
            " pictures were resized, and boxes or polygons with them: bring both to the pixels of the files"
        )


def _check_scale(objects, usable, sides, sizes) -> None:
    """Refuse boxes for pictures of another size: they reach to a multiple of the width and height of theirs."""
    number, leaving = len(sides), _leaving(sides, sizes)
    reach = np.quantile((sides[:, :2] + sides[:, 2:]) / sizes[:, ::-1], 0.98, axis=0)
    across, down = reach.tolist()
    # Boxes that were never clipped leave their images on all sides, those of larger pictures on two.
    before = (-sides[:, :2] > np.maximum(1, _OVER * sides[:, 2:])).any(1)
    enough = leaving.mean() >= (0.25 if number >= 8 else 0.4) and before.sum() <= 0.1 * leaving.sum()
    if number >= 5 and max(reach) >= 1.2 and enough:
        first = int(np.argmax(leaving))
        box = ", ".join(f"{value:g}" for value in sides[first])
        raise UserError(
            f"{objects.name(int(usable[first]))}: box [{box}] leaves its image, as {int(leaving.sum())} of {number}"
            f" boxes do, and they reach to {across:.2f} times the width and {down:.2f} times the height; the pictures"
            f" seem to have been resized after they were annotated: multiply the boxes by {1 / across:.3g} and"
            f" {1 / down:.3g}, or use the pictures that were annotated"
        )
    if number >= 50 and len({id(image) for image in objects.images}) >= 20 and max(reach) <= 0.6:
        log.warning(
            "%s: no box reaches beyond %.2f of the width and %.2f of the height of its image; if the pictures were"
            " enlarged after they were annotated, enlarge the boxes, too",
            objects.path, across, down,
        )  # fmt: skip
