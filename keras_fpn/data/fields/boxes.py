"""Boxes of objects, and what any box of an image does when the image is changed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from keras_fpn.data.box_forms import clipped_corners
from keras_fpn.data.fields.field import ObjectField, RowField
from keras_fpn.data.objects import Objects

if TYPE_CHECKING:
    import tensorflow as tf

    from keras_fpn.data.transforms import Window


class BoxRows(RowField):
    """Boxes x1, y1, x2, y2 in pixels of an image."""

    shape = (4,)

    def flip(self, rows: "tf.Tensor", size: "tf.Tensor") -> "tf.Tensor":
        """See `RowField`."""
        from keras_fpn.data import transforms

        return transforms.flip_boxes(rows, size[1])

    def scale(self, rows: "tf.Tensor", old_size: "Sequence[tf.Tensor]", new_size: "Sequence[tf.Tensor]") -> "tf.Tensor":
        """See `RowField`."""
        from keras_fpn.data import transforms

        return transforms.scale_boxes(rows, old_size, new_size)

    def crop(self, rows: "tf.Tensor", window: "Window", boxes: "tf.Tensor") -> "tf.Tensor":
        """Boxes in pixels of the window, clipped to it; some may be empty."""
        from keras_fpn.data import transforms

        return transforms.crop_boxes(rows, window)


class Boxes(BoxRows, ObjectField):
    """The box of each object, clipped to its image; an object is left of a crop where a pixel of its box is."""

    name = "boxes"

    def read(self, objects: Objects) -> tuple[np.ndarray, np.ndarray]:
        """COCO's x, y, width, height; a box without extent, or wholly outside, is unsound."""
        sides = objects.numbers("bbox", "float64", (4,), wanted="four numbers x, y, width, height in pixels")
        boxes = clipped_corners(sides, objects.sizes)
        with np.errstate(invalid="ignore"):
            is_finite = np.isfinite(sides).all(1)
            is_positive = (sides[:, 2:] > 0).all(1)
            is_inside = (boxes[:, 2:] > boxes[:, :2]).all(1)

        def wrong(index):
            box = ", ".join(f"{value:g}" for value in sides[index])
            if not is_finite[index]:
                return f"box [{box}] is not finite"
            if not is_positive[index]:
                return f"box [{box}] has no positive width and height"
            height, width = objects.sizes[index]
            return f"box [{box}] lies outside the image of {width} x {height} pixels (width x height)"

        mend = "correct it (x, y, width, height), or leave such boxes out"
        return boxes, objects.sound_or_refused(is_finite & is_positive & is_inside, wrong, mend)

    def cover(
        self, rows: "tf.Tensor", is_seen: "tf.Tensor", boxes: "tf.Tensor", new_boxes: "tf.Tensor"
    ) -> "tf.Tensor":
        """See `RowField`."""
        return new_boxes

    def is_left(self, rows: "tf.Tensor") -> "tf.Tensor":
        """See `ObjectField`."""
        from keras_fpn.data import transforms

        return transforms.has_a_pixel(rows)
