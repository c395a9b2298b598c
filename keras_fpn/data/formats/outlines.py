"""Outlines of objects as tools draw them: their boxes, and polygons or run lengths in COCO's form.

Points are x, y in pixels of the image. Angles are degrees clockwise, as they look on a screen, where y runs down.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_fpn.ops import masks

_CORNERS = 64  # of the polygon that stands for an ellipse: four of them are its vertices


class Outline(NamedTuple):
    """The outline of one object.

    Attributes:
        box: x1, y1, x2, y2 in pixels.
        segmentation: polygons `[[x, y, x, y, ...], ...]`, run lengths `{"size", "counts"}`, or None of a rectangle,
            whose box says all.
        area: square pixels.
    """

    box: tuple[float, float, float, float]
    segmentation: list[list[float]] | dict[str, Any] | None
    area: float

    @property
    def entry(self) -> dict[str, Any]:
        """The keys of a COCO annotation that an outline gives."""
        x1, y1, x2, y2 = self.box
        shape = {} if self.segmentation is None else {"segmentation": self.segmentation}
        return {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": self.area, **shape}


def rectangle(points: Any) -> Outline:
    """The upright rectangle around two corners or more, in any order."""
    x1, y1, x2, y2 = box = _box_around(_as_points(points, 2))
    return Outline(box, None, (x2 - x1) * (y2 - y1))


def polygon(points: Any) -> Outline:
    """A polygon of three corners or more."""
    corners = _as_points(points, 3)
    return Outline(_box_around(corners), [[side for corner in corners for side in corner]], _area(corners))


def ellipse(center: Sequence[float], radii: Sequence[float], degrees: float = 0) -> Outline:
    """An ellipse, whose box is exact and whose polygon has its corners on it."""
    x, y, across, down = _finite([*center, *radii])
    turn = math.radians(_finite([degrees])[0])
    half_width = math.hypot(across * math.cos(turn), down * math.sin(turn))
    half_height = math.hypot(across * math.sin(turn), down * math.cos(turn))
    angles = [index * 2 * math.pi / _CORNERS for index in range(_CORNERS)]
    corners = [(x + across * math.cos(angle), y + down * math.sin(angle)) for angle in angles]
    turned = [side for corner in _turned(corners, (x, y), degrees) for side in corner]
    box = (x - half_width, y - half_height, x + half_width, y + half_height)
    return Outline(box, [turned], math.pi * abs(across * down))


def turned_rectangle(box: Sequence[float], pivot: Sequence[float], degrees: float) -> Outline:
    """A rectangle x1, y1, x2, y2 turned about a point; upright where the angle is 0."""
    if not degrees:
        return rectangle([box[:2], box[2:]])
    x1, y1, x2, y2 = _finite(box)
    corners = [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]
    return polygon(_turned(corners, _finite(pivot), _finite([degrees])[0]))


def mask(pixels: np.ndarray, left: int, top: int, height: int, width: int) -> Outline | None:
    """The pixels of an object, `[rows, columns]` bool at a place of an image; None where there are none."""
    rows, columns = max(0, -top), max(0, -left)  # a tool may let a mask reach over the border
    pixels = np.asarray(pixels, bool)[rows : max(rows, height - top), columns : max(columns, width - left)]
    left, top = left + columns, top + rows
    filled_rows, filled_columns = np.flatnonzero(pixels.any(1)), np.flatnonzero(pixels.any(0))
    if not len(filled_rows):
        return None
    box = (left + filled_columns[0], top + filled_rows[0], left + filled_columns[-1] + 1, top + filled_rows[-1] + 1)
    segment = masks.encode_window(pixels.T, top, left, height, width)
    return Outline(tuple(map(float, box)), segment, float(pixels.sum()))  # type: ignore[arg-type]


def from_runs(runs: Sequence[int], rows: int, columns: int) -> np.ndarray:
    """`[rows, columns]` bool from the lengths of runs along the rows, the first of pixels that are not set."""
    lengths = np.array(runs, np.int64).reshape(-1)
    if rows < 1 or columns < 1 or (lengths < 0).any() or lengths.sum() > rows * columns:
        raise ValueError(f"the runs do not fit {columns} x {rows} pixels")
    flat = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return np.pad(flat, (0, rows * columns - len(flat))).reshape(rows, columns)


def joined(outlines: Sequence[Outline], height: int, width: int) -> Outline:
    """One object of several parts: the box around all of them, and their polygons or pixels together."""
    if len(outlines) == 1:
        return outlines[0]
    box = joined_box(outlines)
    if all(outline.segmentation is None for outline in outlines):
        return rectangle([box[:2], box[2:]])
    shapes = [_shape(outline) for outline in outlines]
    if all(isinstance(shape, list) for shape in shapes):
        polygons = [each for shape in shapes for each in shape]
        return Outline(box, polygons, sum(outline.area for outline in outlines))
    decoded = [masks.decode(masks.from_annotation(shape, height, width)) for shape in shapes]
    pixels = np.any(decoded, axis=0)
    return Outline(box, masks.encode(pixels), float(pixels.sum()))


def joined_box(outlines: Sequence[Outline]) -> tuple[float, float, float, float]:
    """The box x1, y1, x2, y2 around several outlines."""
    left, top, right, bottom = zip(*(outline.box for outline in outlines), strict=True)
    return min(left), min(top), max(right), max(bottom)


def _shape(outline):
    """The segmentation, of a rectangle its four corners."""
    if outline.segmentation is not None:
        return outline.segmentation
    x1, y1, x2, y2 = outline.box
    return [[x1, y1, x2, y1, x2, y2, x1, y2]]


_Point = tuple[float, float]


def _as_points(points: Any, least: int) -> list[_Point]:
    """Points x, y: pairs, or one list of numbers."""
    given = list(points)
    pairs = given if given and hasattr(given[0], "__len__") else list(zip(given[::2], given[1::2], strict=True))
    found = [(float(x), float(y)) for x, y in pairs]  # words that are numbers, too: some programs write them
    if len(found) < least:
        raise ValueError(f"{len(found)} points where {least} are needed")
    _finite([side for point in found for side in point])
    return found


def _finite(numbers: Sequence[Any]) -> list[float]:
    found = [float(number) for number in numbers]
    if not all(map(math.isfinite, found)):
        raise ValueError("a coordinate is not a finite number")
    return found


def _box_around(points: Sequence[_Point]) -> tuple[float, float, float, float]:
    across, down = zip(*points, strict=True)
    return min(across), min(down), max(across), max(down)


def _turned(points: Sequence[_Point], pivot: Sequence[float], degrees: float) -> list[_Point]:
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    (x0, y0), found = pivot, []
    for x, y in points:
        across, down = x - x0, y - y0
        found.append((x0 + across * cosine - down * sine, y0 + across * sine + down * cosine))
    return found


def _area(corners: Sequence[_Point]) -> float:
    following = [*corners[1:], corners[0]]
    return abs(sum(x * next_y - next_x * y for (x, y), (next_x, next_y) in zip(corners, following, strict=True))) / 2
