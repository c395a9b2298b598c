"""The anchors of one cell, in NumPy: the same for every image, and known without TensorFlow.

Implementations round them in three ways (`ROUNDINGS`), see `keras_fpn.layers.anchors`.
"""

from collections.abc import Sequence

import numpy as np

ROUNDINGS = ("none", "torchvision", "detectron")


def boxes_of_cell(sizes: Sequence[float], ratios: Sequence[float], stride: float, rounding: str = "none") -> np.ndarray:
    """The anchors of the cell at the origin, `[sizes, ratios, 4]` x1, y1, x2, y2 in pixels.

    Args:
        sizes: side of the square anchor, pixels.
        ratios: height / width of the anchors, for every size.
        stride: pixels between neighbouring cells; read by "detectron" alone.
        rounding: one of `ROUNDINGS`.
    """
    if rounding == "detectron":
        return np.array([[_detectron_cell(size, ratio, stride) for ratio in ratios] for size in sizes])
    if rounding == "torchvision":
        # float32 like the reference, so that rounding falls the same way.
        height_factor = np.sqrt(np.array(ratios, np.float32))
        sides = np.array(sizes, np.float32)[:, None]
        widths, heights = (1 / height_factor) * sides, height_factor * sides
        return np.round(_around_origin(widths, heights))
    widths = np.sqrt(np.array(sizes)[:, None] ** 2 / np.array(ratios))
    return _around_origin(widths, widths * np.array(ratios))


def _around_origin(widths, heights):
    return np.stack([-widths, -heights, widths, heights], axis=-1) / 2


def _detectron_cell(size, ratio, stride):
    """One anchor as Detectron's `generate_anchors` makes it, converted to an exclusive right and bottom."""
    width = np.round(np.sqrt(stride**2 / ratio))
    height = np.round(width * ratio)
    centre = (stride - 1) / 2
    width, height = width * size / stride, height * size / stride
    x1, y1 = centre - (width - 1) / 2, centre - (height - 1) / 2
    return [x1, y1, x1 + width, y1 + height]
