"""Masks of objects on the pixels of their image, kept as run lengths."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_fpn.console.errors import UserError
from keras_fpn.data import columns, segmentations
from keras_fpn.data.fields.field import ObjectField
from keras_fpn.data.objects import Objects
from keras_fpn.ops import masks

if TYPE_CHECKING:
    import tensorflow as tf

    from keras_fpn.data.coco import Record
    from keras_fpn.data.transforms import Window

_CHUNK = 256  # objects whose areas are asked for at a time
RESIZINGS = ("torchvision", "pillow")


class Bitmaps(ObjectField):
    """`[H, W]` 0 and 1 of each object: the pixels of its image that are its own.

    Read from polygons, by pycocotools' own rasteriser, or run lengths, compressed or not. In memory an object has its
    compressed run lengths, a character or two for each border of a column: of 860,000 objects of COCO's sizes 280 MB.
    The pixels are made of them when the turn of the image comes, and each object then takes a third of what the image
    does.

    Args:
        resizing: the rule by which pixels are taken over to another size, always the nearest: "torchvision"
            (PyTorch's "nearest") or "pillow" (detectron2's, for masks in run lengths).
    """

    name, dtype, shape = "bitmaps", "uint8", (None, None)
    kept_dtype, kept_shape = "uint8", (None,)

    def __init__(self, resizing: str = "torchvision"):
        if resizing not in RESIZINGS:
            raise UserError(f'Bitmaps: resizing must be "torchvision" or "pillow", not {resizing!r}')
        self.resizing = resizing

    def read(self, objects: Objects) -> tuple[Any, np.ndarray]:
        """Every object needs a "segmentation"; without one, or without a pixel of its image, it is unsound."""
        counts, lengths, problems = bytearray(), np.zeros(len(objects), np.int64), {}
        areas, total, sizes = np.zeros(len(objects)), len(objects), objects.sizes.tolist()
        with segmentations.counted(total) as count:
            for start in range(0, total, _CHUNK):
                segments = {}
                for index in range(start, min(start + _CHUNK, total)):
                    try:
                        given = objects.entries[index].get("segmentation")
                        segments[index] = masks.from_annotation(given, *sizes[index])
                    except ValueError as problem:
                        problems[index] = str(problem)
                areas[list(segments)] = masks.areas(segments.values())
                for index, segment in segments.items():
                    counts += segment["counts"].encode("ascii")
                    lengths[index] = len(segment["counts"])
                count(min(start + _CHUNK, total))
        is_usable = segmentations.are_usable(objects, problems, segmentations.NEEDED, segmentations.ADD)
        column = columns.Ragged.of(np.frombuffer(counts, np.uint8), lengths)
        return column, is_usable & objects.sound_or_refused(
            (areas > 0) | ~is_usable,
            lambda index: 'its "segmentation" covers no pixel of its image',
            "correct it, or leave such objects out",
        )

    def source(self, records: "Sequence[Record]") -> "Callable[[tf.Tensor], tf.Tensor]":
        """See `ObjectField`; the size of an image says how many pixels its run lengths are of."""
        import tensorflow as tf

        from keras_fpn.ops import run_lengths

        load = super().source(records)
        sizes = tf.constant([(record.height, record.width) for record in records], tf.int32)
        return lambda index: run_lengths.decode(load(index), sizes[index, 0], sizes[index, 1])

    def flip(self, rows: "tf.Tensor", size: "tf.Tensor") -> "tf.Tensor":
        """See `RowField`."""
        import tensorflow as tf

        return tf.reverse(rows, axis=[2])

    def scale(self, rows: "tf.Tensor", old_size: "Sequence[tf.Tensor]", new_size: "Sequence[tf.Tensor]") -> "tf.Tensor":
        """The nearest pixel by the rule of `resizing`."""
        from keras_fpn.data import nearest

        places = nearest.PLACES[self.resizing]
        return nearest.resize(rows, *(places(old_size[axis], new_size[axis]) for axis in (0, 1)))

    def crop(self, rows: "tf.Tensor", window: "Window", boxes: "tf.Tensor") -> "tf.Tensor":
        """Pixels of the window; 0 where it reaches beyond the image."""
        from keras_fpn.data import transforms

        return transforms.window_of(rows, window, 0, axis=1)

    def cover(
        self, rows: "tf.Tensor", is_seen: "tf.Tensor", boxes: "tf.Tensor", new_boxes: "tf.Tensor"
    ) -> "tf.Tensor":
        """Pixels without those that lie in a bin of the object's box that is hidden."""
        import tensorflow as tf

        seen = tf.cast(is_seen, rows.dtype)
        seen = tf.gather(seen, _bins(boxes, 1, tf.shape(rows)[1]), axis=1, batch_dims=1)
        return rows * tf.gather(seen, _bins(boxes, 0, tf.shape(rows)[2]), axis=2, batch_dims=1)

    def is_left(self, rows: "tf.Tensor") -> "tf.Tensor":
        """Objects of which a pixel is left: a box may reach into a window that the object itself does not."""
        import tensorflow as tf

        return tf.reduce_any(rows > 0, axis=[1, 2])


def _bins(boxes, axis, side):
    """`[n, side]` int32: the bin of each box that each pixel of an axis (0: x) lies in, or is nearest to."""
    import tensorflow as tf

    start, extent = boxes[:, axis, None], (boxes[:, axis + 2] - boxes[:, axis])[:, None]
    share = (tf.range(side, dtype=tf.float32) + 0.5 - start) / extent
    return tf.clip_by_value(tf.cast(tf.floor(share * segmentations.SIDE), tf.int32), 0, segmentations.SIDE - 1)
