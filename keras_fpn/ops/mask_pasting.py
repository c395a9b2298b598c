"""Masks of boxes pasted into images as the two sources of published weights do it, which differ by whole pixels.

    detectron2    every pixel centre is looked up between the centres of the bins, beyond which there are zeros; boxes
                  end at the borders of the image; a pixel is part of the object from 0.5 on
    torchvision   the mask gets a rim of zeros of one bin, the box grows with it and is cut to whole pixels, the last of
                  which counts; the mask is resized to them; a pixel is part of the object above 0.5

A mask of ones over the box 10, 10, 20, 20 covers 100 pixels by the first and 144 by the second. Arithmetic is float32
as there (detectron2's `layers/mask_ops.py`, torchvision's `roi_heads.py`). What is pasted here is [m, n] probabilities
over a box; for the segments that it becomes see `masks`, whose own `paste` is that of segment proposals.
"""

import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from keras_fpn.ops import masks


class _Axis(NamedTuple):
    """Pixels of one axis of an image, and between which bins each lies.

    Bins are numbered from 1: the mask has a rim of zeros when it is looked up.
    """

    first: int  # pixel
    before: np.ndarray  # [n] int
    after: np.ndarray
    share: np.ndarray  # [n] float32, of the bin after


class _Rule(NamedTuple):
    axes: Callable  # (box [4] float32, (m, n), height, width) -> (of the rows, of the columns)
    is_object: Callable  # (probabilities, 0.5) -> bool


TIE = 1e-4  # probabilities that near to 0.5 fall to either side by the last digits of their runtime
_NOTHING = _Axis(0, np.zeros(0, int), np.zeros(0, int), np.zeros(0, np.float32))


def paste(mask: np.ndarray, box: np.ndarray, height: int, width: int, rule: str) -> dict[str, Any]:
    """The segment that a mask makes in an image, by the rule of a source.

    Args:
        mask: `[m, n]` probabilities over the box, rows from the top.
        box: `[4]` x1, y1, x2, y2 in pixels of the image; may reach beyond it.
        height, width: of the image, pixels.
        rule: one of `RULES`.

    Returns:
        Run lengths, `{"size", "counts"}`; of no pixels where the box has no extent, lies outside or is not finite.

    Raises:
        ValueError: there is no such rule.
    """
    rule_named = _rule(rule)
    top, left, window = _window(mask, box, height, width, rule_named)
    return masks.encode_window(rule_named.is_object(window, np.float32(0.5)), top, left, height, width)


def paste_all(boxed: np.ndarray, boxes: np.ndarray, height: int, width: int, rule: str) -> list[dict[str, Any]]:
    """`paste` of `[D, m, n]` probabilities over `[D, 4]` boxes: a list of D segments."""
    return [paste(mask, box, height, width, rule) for mask, box in zip(boxed, boxes, strict=True)]


def overlap(mask: np.ndarray, other: np.ndarray, box: np.ndarray, height: int, width: int, rule: str) -> float:
    """IoU of the pixels of two masks pasted over one box, but for pixels of the first that are 0.5 up to `TIE`.

    Args:
        mask, other: `[m, n]` probabilities.
        box, height, width, rule: see `paste`.

    Returns:
        1 where neither has a pixel that counts.
    """
    _, _, ours = _window(mask, box, height, width, _rule(rule))
    theirs = _rule(rule).is_object(_window(other, box, height, width, _rule(rule))[2], np.float32(0.5))
    return _overlap(ours, theirs, _rule(rule))


def overlap_with(mask: np.ndarray, pixels: np.ndarray, box: np.ndarray, rule: str) -> float:
    """`overlap` of a mask and what is pasted already.

    Args:
        mask: `[m, n]` probabilities.
        pixels: `[height, width]` bool or 0 and 1 of the image.
        box, rule: see `paste`.
    """
    height, width = pixels.shape
    top, left, ours = _window(mask, box, height, width, _rule(rule))
    columns, rows = ours.shape
    theirs = np.asarray(pixels[top : top + rows, left : left + columns], bool)
    return _overlap(ours, theirs.T, _rule(rule), beyond=np.count_nonzero(pixels) - np.count_nonzero(theirs))


def _overlap(soft, other, rule, beyond=0):
    """Of probabilities, and of pixels of the same window and those of the other beyond it."""
    counts, own = np.abs(soft - np.float32(0.5)) > TIE, rule.is_object(soft, np.float32(0.5))
    union = np.count_nonzero((own | other) & counts) + beyond
    return np.count_nonzero(own & other & counts) / union if union else 1.0


def paste_soft(boxed: np.ndarray, boxes: np.ndarray, height: int, width: int, rule: str) -> np.ndarray:
    """Probabilities in the image before they are told apart: `[D, height, width]` float32, zeros outside of boxes.

    torchvision's models return them so. detectron2 on a CPU gives them for the pixels of a box and one more on each
    side, and so does this. Arguments are those of `paste_all`.
    """
    pasted = np.zeros((len(boxes), height, width), np.float32)
    for image, mask, box in zip(pasted, boxed, boxes, strict=True):
        top, left, window = _window(mask, box, height, width, _rule(rule))
        columns, rows = window.shape
        image[top : top + rows, left : left + columns] = window.T
    return pasted


def _rule(name):
    if name not in RULES:
        raise ValueError(f"a rule of pasting is one of {', '.join(RULES)}, not {name!r}")
    return RULES[name]


def _window(mask, box, height, width, rule):
    """(top, left, `[columns, rows]` probabilities): COCO counts down the columns."""
    box = np.asarray(box, np.float32)
    # From 2**31 on an image cannot have a pixel of such a box that differs from its neighbours.
    is_sound = np.isfinite(box).all() and np.abs(box).max() < 2**31
    rows, columns = rule.axes(box, np.shape(mask), height, width) if is_sound else (_NOTHING, _NOTHING)
    rimmed = np.pad(np.asarray(mask, np.float32), 1)
    # Not as products of matrices: BLAS would start threads for each of a hundred small ones.
    across = _between(rimmed.T, columns)  # [columns, m + 2]
    return rows.first, columns.first, _between(np.ascontiguousarray(across.T), rows).T


def _between(lines, axis):
    """`[n, k]` between the lines of `[m, k]`."""
    share = axis.share[:, None]
    found = lines[axis.before]
    found *= 1 - share
    found += lines[axis.after] * share
    return found


def _detectron2_axes(box, bins, height, width):
    limits = np.array([width, height, width, height], np.float32)
    box = np.clip(box, np.float32(0), limits)
    if box[2] <= box[0] or box[3] <= box[1]:
        return _NOTHING, _NOTHING
    return (_looked_up(box[1], box[3], bins[0], height), _looked_up(box[0], box[2], bins[1], width))


def _looked_up(start, end, bins, size):
    """`grid_sample` of one axis without aligned corners: places from -1 to 1 along the box, zeros outside."""
    first = max(int(np.floor(start)) - 1, 0)
    last = min(int(np.ceil(end)) + 1, size)
    along = (np.arange(first, last, dtype=np.float32) + np.float32(0.5) - start) / (end - start) * 2 - 1
    place = (((along + 1) * np.float32(bins) - 1) / 2).clip(-1, bins)
    before = np.floor(place)
    share = place - before
    before = before.astype(int) + 1
    return _Axis(first, before, np.minimum(before + 1, bins + 1), share)


def _torchvision_axes(box, bins, height, width):
    middle, half = (box[2:] + box[:2]) * np.float32(0.5), (box[2:] - box[:2]) * np.float32(0.5)
    half *= np.float32((bins[1] + 2) / bins[1])  # of the columns, for both axes
    (x1, y1), (x2, y2) = (edge.astype(np.int64).tolist() for edge in (middle - half, middle + half))  # towards 0
    return _resized(y1, y2, bins[0] + 2, height), _resized(x1, x2, bins[1] + 2, width)


def _resized(start, end, bins, size):
    """Bilinear resize to the pixels from `start` to `end`, both of them, by the middles of pixels."""
    first, last = max(start, 0), min(end + 1, size)
    if last <= first:
        return _NOTHING
    scale = np.float32(bins) / np.float32(max(end - start + 1, 1))
    place = scale * (np.arange(first - start, last - start, dtype=np.float32) + np.float32(0.5)) - np.float32(0.5)
    place = np.maximum(place, np.float32(0))
    before = np.minimum(place.astype(int), bins - 1)
    return _Axis(first, before, np.minimum(before + 1, bins - 1), (place - before.astype(np.float32)).clip(0, 1))


RULES = {
    "detectron2": _Rule(_detectron2_axes, operator.ge),
    "torchvision": _Rule(_torchvision_axes, operator.gt),
}
