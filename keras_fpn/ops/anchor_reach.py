"""How well the anchors of a grid can lie on boxes, in NumPy and exactly.

The overlap of a box with an anchor is the product of what they share across and down, which depend on the column and on
the row of the anchor's cell alone; and of two boxes of given sizes the IoU grows with the overlap. So the best cell is
the one whose centre is nearest to the box's, across and down each by itself, and no cell need be tried.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class AnchorGrid:
    """The anchors of a pyramid; see `keras_fpn.layers.anchors`.

    Attributes:
        cells: `{level: [A, 4]}` x1, y1, x2, y2 of the anchors of the cell at the origin, pixels.
        strides: `{level: pixels between neighbouring cells}`.
        offset: of the first cell's centre, in strides.
        stride_source: "nominal", or "floor": image side // cells.
    """

    cells: Mapping[str, np.ndarray]
    strides: Mapping[str, int]
    offset: float = 0.0
    stride_source: str = "nominal"


def best_overlaps(boxes: np.ndarray, canvases: np.ndarray, grid: AnchorGrid) -> tuple[np.ndarray, np.ndarray]:
    """The highest IoU that any anchor has with each box, and the level of that anchor.

    Args:
        boxes: `[n, 4]` x1, y1, x2, y2 with positive sides, pixels of the network's input.
        canvases: `[n, 2]` height and width of the padded image of each.

    Returns:
        `([n] float64, [n] int64: number of the level in `grid.cells`)`.
    """
    best, level_of = np.zeros(len(boxes)), np.zeros(len(boxes), np.int64)
    for number, (level, cell) in enumerate(grid.cells.items()):
        for anchor in cell:
            overlap = overlaps_with(boxes, canvases, anchor, grid.strides[level], grid)
            better = overlap > best
            best[better], level_of[better] = overlap[better], number
    return best, level_of


def overlaps_with(
    boxes: np.ndarray, canvases: np.ndarray, anchor: np.ndarray, stride: int, grid: AnchorGrid
) -> np.ndarray:
    """`[n]` IoU of each box with the best placed copy of an anchor `[4]`; see `best_overlaps`."""
    shared, area = 1.0, 1.0
    for axis in (0, 1):
        low, high = boxes[:, axis], boxes[:, axis + 2]
        count = np.ceil(canvases[:, 1 - axis] / stride)
        step = canvases[:, 1 - axis] // count if grid.stride_source == "floor" else float(stride)
        middle, extent = (anchor[axis] + anchor[axis + 2]) / 2, anchor[axis + 2] - anchor[axis]
        place = np.clip(np.rint(((low + high) / 2 - middle) / step - grid.offset), 0, count - 1)
        start = (place + grid.offset) * step + anchor[axis]
        shared = shared * np.maximum(np.minimum(high, start + extent) - np.maximum(low, start), 0)
        area = area * (high - low)
    return shared / (area + (anchor[2] - anchor[0]) * (anchor[3] - anchor[1]) - shared)
