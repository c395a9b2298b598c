"""Masks of objects: grids over their boxes, kept as a bit for each bin."""

from typing import TYPE_CHECKING

import numpy as np

from keras_fpn.data import segmentations
from keras_fpn.data.fields.field import ObjectField
from keras_fpn.data.objects import Objects

if TYPE_CHECKING:
    import tensorflow as tf

    from keras_fpn.data.transforms import Window


class Masks(ObjectField):
    """`[56, 56]` bins over the box of each object, 1 where the object covers half or more of one."""

    name, dtype, shape = "masks", "uint8", (segmentations.SIDE, segmentations.SIDE)
    kept_dtype, kept_shape = "uint8", (segmentations.PACKED,)

    def read(self, objects: Objects) -> tuple[np.ndarray, np.ndarray]:
        """Every object needs a "segmentation"; without one, or if it covers nothing of its box, it is unsound."""
        sizes = objects.sizes
        is_usable = segmentations.are_usable(
            objects, dict(segmentations.unusable(objects.entries, sizes)), segmentations.NEEDED, segmentations.ADD
        )
        outlines = [entry["segmentation"] for entry, has in zip(objects.entries, is_usable, strict=True) if has]
        packed = np.zeros((len(objects), segmentations.PACKED), np.uint8)
        packed[is_usable] = segmentations.rasterise(outlines, objects.columns["boxes"][is_usable], sizes[is_usable])
        return packed, is_usable & objects.sound_or_refused(
            packed.any(axis=1) | ~is_usable,  # type: ignore[arg-type]
            lambda index: 'its "segmentation" covers nothing of its box',
            "correct it, or leave such objects out",
        )

    def unpack(self, rows: "tf.Tensor") -> "tf.Tensor":
        """`[n, 392]` -> `[n, 56, 56]` of 0 and 1, as `segmentations.unpack` does: the first bin is the highest bit."""
        import tensorflow as tf

        shifts = tf.constant([7, 6, 5, 4, 3, 2, 1, 0], tf.uint8)
        bits = tf.bitwise.bitwise_and(tf.bitwise.right_shift(rows[..., None], shifts), tf.constant(1, tf.uint8))
        return tf.reshape(bits, [-1, *self.shape])

    def flip(self, rows: "tf.Tensor", size: "tf.Tensor") -> "tf.Tensor":
        """See `RowField`."""
        import tensorflow as tf

        return tf.reverse(rows, axis=[2])

    def crop(self, rows: "tf.Tensor", window: "Window", boxes: "tf.Tensor") -> "tf.Tensor":
        """Grids over what the window leaves of the boxes, by the rule that they were read by."""
        from keras_fpn.data import mask_grids, transforms

        offset = [window.left, window.top] * 2
        return mask_grids.regrid(rows, boxes, transforms.crop_boxes(boxes, window), offset)

    def cover(
        self, rows: "tf.Tensor", is_seen: "tf.Tensor", boxes: "tf.Tensor", new_boxes: "tf.Tensor"
    ) -> "tf.Tensor":
        """Grids over what is left of the boxes, without what is hidden."""
        import tensorflow as tf

        from keras_fpn.data import mask_grids

        return mask_grids.regrid(rows * tf.cast(is_seen, rows.dtype), boxes, new_boxes)

    def is_left(self, rows: "tf.Tensor") -> "tf.Tensor":
        """Objects of which a bin is left: a box may reach into a window that the object itself does not."""
        import tensorflow as tf

        return tf.reduce_any(rows > 0, axis=[1, 2])
