"""Borders of masks as polygons, by contourpy.

A border runs half-way between the centres of pixels inside and outside, and keeps only the corners that it needs.
Corners are x, y in pixels of the image, where pixel i covers [i, i + 1].
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from keras_fpn.ops import masks

TOLERANCE = 0.35  # pixels that a border may move where corners are left out


class Outline(NamedTuple):
    """The border of one part of a mask.

    Attributes:
        outer: `[n, 2]` corners x, y, the first not repeated at the end.
        holes: how many holes the part has; they are filled by its outer border.
    """

    outer: np.ndarray
    holes: int


def outlines(segment: Mapping[str, Any]) -> list[Outline]:
    """The outer border of each part of a segment, the largest first; none of one without pixels.

    Pixels that touch at a corner alone may be two parts.
    """
    from contourpy import FillType, contour_generator

    left, top, width, height = (int(side) for side in masks.bounding_boxes([segment])[0])
    if not width or not height:
        return []
    inside = np.pad(masks.decode(segment)[top : top + height, left : left + width], 1).astype(np.float32)
    generator = contour_generator(z=inside, fill_type=FillType.OuterOffset)
    found = []
    for points, offsets in zip(*generator.filled(0.5, 2.0), strict=True):
        outer = _simplified(points[: offsets[1] - 1])  # the last repeats the first
        found.append(Outline(outer + (left - 0.5, top - 0.5), len(offsets) - 2))
    return sorted(found, key=lambda outline: -_area(outline.outer))


def as_one(parts: list[np.ndarray]) -> np.ndarray:
    """Corners `[n, 2]` of one polygon around several, joined at their nearest corners by a bridge without width."""
    whole, *others = parts
    for other in others:
        distances = ((whole[:, None] - other[None]) ** 2).sum(axis=2)
        here, there = np.unravel_index(int(distances.argmin()), distances.shape)
        around = np.concatenate([other[there:], other[: there + 1]])
        whole = np.concatenate([whole[: here + 1], around, whole[here:]])
    return whole


def _area(corners):
    x, y = corners.T
    return abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def _simplified(ring):
    """The corners of a ring without which it would move by more than the tolerance (Douglas and Peucker, 1973)."""
    far = int(((ring - ring[0]) ** 2).sum(axis=1).argmax())
    closed = np.concatenate([ring, ring[:1]])
    kept, pending = {0, far}, [(0, far), (far, len(ring))]
    while pending:
        first, last = pending.pop()
        if last - first < 2:
            continue
        across = closed[last] - closed[first]
        offsets = closed[first + 1 : last] - closed[first]
        # A ring's farthest corner lies elsewhere than its first, so that no stretch begins where it ends.
        away = np.abs(offsets[:, 0] * across[1] - offsets[:, 1] * across[0]) / np.hypot(*across)
        middle = first + 1 + int(away.argmax())
        if away[middle - first - 1] > TOLERANCE:
            kept.add(middle)
            pending += [(first, middle), (middle, last)]
    return ring[sorted(kept)] if len(kept) > 2 else ring
