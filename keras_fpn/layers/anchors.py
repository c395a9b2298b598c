"""Anchors: the reference boxes of every cell of every pyramid level (paper, section 4.1).

One size a level (32 px on P2 to 512 px on P6) and three ratios of height to width. Implementations agree on that
and differ in four things, which are arguments here:

`rounding` of the boxes of one cell
    "none": detectron2, exact sizes. "torchvision": half sides rounded to whole pixels.
    "detectron": the paper's authors' release, which makes a stride-sized box, rounds its sides and scales it up,
    in pixels counted inclusively; written here with an exclusive right and bottom.
`offset` of the first cell's centre, in strides
    0.0 in all three (Detectron's own half stride is part of its rounding).
`stride_source`
    "nominal": the level's stride. "floor": torchvision's image side // feature side, which is 61 instead of 64
    on P6 of an image padded to 800 px.
`order` of the anchors of one cell, where a level has several sizes
    "size_major": all ratios of the first size, then those of the next (detectron2). "ratio_major": all sizes of the
    first ratio, then those of the next (torchvision).
"""

from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from keras_fpn.layers.fixed_arguments import FixedArguments
from keras_fpn.ops.anchor_cells import ROUNDINGS, boxes_of_cell

STRIDE_SOURCES = ("nominal", "floor")
ORDERS = ("size_major", "ratio_major")


@keras.saving.register_keras_serializable("keras_fpn")
class AnchorGenerator(FixedArguments, keras.layers.Layer):
    """Anchors of all levels for feature maps of given sizes.

    Args:
        sizes: `{level: [side of the square anchor in pixels, ...]}`.
        ratios: height / width of the anchors, for every size.
        strides: `{level: pixels between neighbouring cells}`.
        rounding: "none", "torchvision" or "detectron", see above.
        offset: centre of the first cell, in strides.
        stride_source: "nominal" or "floor", see above.
        order: "size_major" or "ratio_major", see above.

    Raises:
        ValueError: for an unknown `rounding`, `stride_source` or `order`, or a level without a stride.
    """

    def __init__(
        self,
        sizes,
        ratios,
        strides,
        rounding="none",
        offset=0.0,
        stride_source="nominal",
        order="size_major",
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        for name, value, valid in (
            ("rounding", rounding, ROUNDINGS),
            ("stride_source", stride_source, STRIDE_SOURCES),
            ("order", order, ORDERS),
        ):
            if value not in valid:
                raise ValueError(f"{name} must be one of {valid}, not {value!r}")
        missing = [level for level in sizes if level not in strides]
        if missing:
            raise ValueError(f"no stride for the anchors of {', '.join(missing)}")
        self.sizes = {level: [float(size) for size in level_sizes] for level, level_sizes in sizes.items()}
        self.ratios = [float(ratio) for ratio in ratios]
        self.strides = dict(strides)
        self.rounding = rounding
        self.offset = float(offset)
        self.stride_source = stride_source
        self.order = order

    @property
    def num_anchors(self) -> dict[str, int]:
        """Anchors in one cell, `{level: count}`."""
        return {level: len(level_sizes) * len(self.ratios) for level, level_sizes in self.sizes.items()}

    def cell_anchors(self, level: str) -> np.ndarray:
        """The anchors of the cell at the origin: float32 numpy array `[A, 4]`, in the order of `order`."""
        cell = boxes_of_cell(self.sizes[level], self.ratios, self.strides[level], self.rounding)
        if self.order == "ratio_major":
            cell = cell.transpose(1, 0, 2)
        return cell.reshape(-1, 4).astype(np.float32)

    def __call__(self, feature_shapes, image_shape):
        # By name: Keras takes nothing but tensors by position, and sizes may be ints.
        return super().__call__(feature_shapes=feature_shapes, image_shape=image_shape)

    def on(self, features: Mapping[str, tf.Tensor], images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Anchors of feature maps `{level: [B, h, w, C]}` of padded images `[B, H, W, 3]`, see `call`."""
        shapes = {level: tuple(tf.unstack(tf.shape(feature)[1:3])) for level, feature in features.items()}
        return self(shapes, tf.unstack(tf.shape(images)[1:3]))

    def call(
        self, feature_shapes: Mapping[str, Sequence[int | tf.Tensor]], image_shape: Sequence[int | tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        """Anchors of every level.

        Args:
            feature_shapes: `{level: (height, width)}`, ints or scalar tensors.
            image_shape: (height, width) of the padded images; read by `stride_source="floor"` only.

        Returns:
            `{level: [height * width * A, 4]}` float32, in the order (y, x, anchor), not clipped.
        """
        return {level: self._level(level, feature_shapes[level], image_shape) for level in self.sizes}

    def _level(self, level, feature_shape, image_shape):
        height, width = feature_shape
        stride_y = stride_x = self.strides[level]
        if self.stride_source == "floor":
            stride_y, stride_x = image_shape[0] // height, image_shape[1] // width
        y = self._centres(height, stride_y)
        x = self._centres(width, stride_x)
        grid_y, grid_x = tf.meshgrid(y, x, indexing="ij")
        shifts = tf.reshape(tf.stack([grid_x, grid_y, grid_x, grid_y], axis=-1), [-1, 1, 4])
        return tf.reshape(shifts + self.cell_anchors(level)[None], [-1, 4])

    def _centres(self, count, stride):
        return (tf.cast(tf.range(count), tf.float32) + self.offset) * tf.cast(stride, tf.float32)
