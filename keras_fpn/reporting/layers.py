"""Drawings of fields below and above the outlines of boxes, such as masks and points.

An `OutputField` names one in `under` or `over`, or has a method `(canvas, values)` there. Those that are named are
given the field, too.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageFilter

from keras_fpn.ops import masks
from keras_fpn.parts.output_fields import OutputField
from keras_fpn.reporting.skeletons import draw_skeletons

_FILL = 0.4  # share of the colour in a mask


class Canvas(NamedTuple):
    """A picture on which objects are being drawn.

    Attributes:
        picture: RGB, to be drawn into.
        factor: its pixels for each pixel of the image, whose places the values are in.
        order: numbers of the objects that are drawn, the small ones last.
        colors: RGB of each object by its number.
        width: of lines, pixels of the picture.
        classes: of each object by its number; None where it is not known.
    """

    picture: Image.Image
    factor: int
    order: Sequence[int]
    colors: Sequence[tuple[int, ...]] | Mapping[int, tuple[int, ...]]
    width: int
    classes: Sequence[int] | np.ndarray | None = None


def draw_tints(canvas: Canvas, values: Sequence[Mapping[str, Any]], field: OutputField) -> None:
    """Fill masks translucently, with an outline in the colour itself.

    values: N run-length encoded masks of the image (`keras_fpn.masks`).
    """
    for index in canvas.order:
        draw_mask(canvas.picture, masks.decode(values[index]), canvas.colors[index], canvas.width)


def draw_mask(picture: Image.Image, mask: np.ndarray, color: Sequence[int], width: int) -> None:
    """Fill a mask `[H, W]` bool translucently in the picture, which may be larger, and draw a line along its inside."""
    shape = Image.fromarray(mask.astype(np.uint8) * 255).resize(picture.size, Image.Resampling.BILINEAR)
    shape = shape.point(lambda value: 255 * (value >= 128))
    bounds = shape.getbbox()
    if bounds is None:
        return
    frame = tuple(np.clip(np.add(bounds, (-3, -3, 3, 3)), 0, (*picture.size, *picture.size)).tolist())
    # A border of zeros: the line runs along the picture's edge, too.
    grown = Image.new("L", (frame[2] - frame[0] + 2, frame[3] - frame[1] + 2))
    grown.paste(shape.crop(frame), (1, 1))
    filled, outer = np.asarray(grown) > 0, np.asarray(grown.filter(ImageFilter.MaxFilter(3))) > 0
    inner = np.asarray(grown.filter(ImageFilter.MinFilter(2 * width + 1))) > 0
    area = np.zeros((*filled.shape, 3), np.float32)
    area[1:-1, 1:-1] = np.asarray(picture.crop(frame), np.float32)
    area[filled] += _FILL * (np.array(color) - area[filled])
    area[outer & ~filled] = 255  # a light rim, as of boxes
    area[filled & ~inner] = color
    picture.paste(Image.fromarray(np.rint(area[1:-1, 1:-1]).astype(np.uint8)), frame[:2])


LAYERS: dict[str, Callable[[Canvas, Any, Any], None]] = {"tints": draw_tints, "skeletons": draw_skeletons}
