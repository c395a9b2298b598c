"""Where segments are proposed, and how large they are there (paper, section 6 and appendix A).

Every cell of every level is a position, once for each MLP. Objects of 32 px (longer side) belong on the finest level,
those of 64, 128, ... px on the next ones: the octaves, of the 5x5 MLP. Half an octave above each, 45, 90, 181, ... px,
is the 7x7 MLP's: 7 is nearly 5 sqrt(2). L levels, K MLPs, N = K (sum of all cells) positions.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_fpn.console.errors import UserError

HALF_OCTAVES = {5: 0, 7: 1}  # by kernel size: how far above the octave
PADDING = 1.25  # side of the window that a mask covers, by that of the object


class Layout(NamedTuple):
    """The positions of maps of given sizes, in the order (level, y, x, MLP)."""

    starts: tf.Tensor  # the first position of each level, [L] int32
    heights: tf.Tensor  # cells of each level, [L] int32
    widths: tf.Tensor
    centres: tf.Tensor  # x, y of each position, pixels, [N, 2] float32
    windows: tf.Tensor  # what its mask covers, pixels, not clipped, [N, 4] float32


class Places(NamedTuple):
    """Positions one by one: index of the level, row and column of the cell, index of the MLP; int32, of one shape."""

    level: tf.Tensor
    row: tf.Tensor
    column: tf.Tensor
    mlp: tf.Tensor


class SegmentGrid:
    """Positions, their windows, and which of them suit an object.

    Args:
        strides: `{level: pixels between cells}`, finest first.
        kernel_sizes: of the MLPs: [5, 7], or [5] for the octaves alone, or [7] for the half octaves alone.
        canonical_size: longer side of the objects of the finest level's octave, pixels.

    Raises:
        UserError: for other kernel sizes.
    """

    def __init__(self, strides, kernel_sizes=(5, 7), canonical_size=32.0):
        if list(kernel_sizes) not in ([5], [7], [5, 7]):
            raise UserError(f"segments.kernel_sizes: {list(kernel_sizes)!r}; valid are [5], [7] and [5, 7]")
        self.strides = list(strides.values())
        self.num_mlps = len(kernel_sizes)
        half_octaves = [2 * level + HALF_OCTAVES[size] for level in range(len(strides)) for size in kernel_sizes]
        self.sides = canonical_size * 2.0 ** (np.array(half_octaves) / 2)  # of objects, pixels, [L * K], rising

    def scales(self, boxes: tf.Tensor) -> tf.Tensor:
        """Which of `sides` is nearest to the longer side of each box, on a logarithmic scale. `[..., 4] -> [...]`

        Objects below the first belong to the first, those above the last to the last. Index // K is the level.
        """
        longer = tf.reduce_max(boxes[..., 2:] - boxes[..., :2], axis=-1)
        # By comparison with the edges between them rather than through a logarithm: exact, and an empty box may come.
        edges = np.sqrt(self.sides[:-1] * self.sides[1:]).astype(np.float32)
        return tf.reduce_sum(tf.cast(longer[..., None] >= edges, tf.int32), axis=-1)

    def lay_out(self, shapes: Sequence[Sequence[int | tf.Tensor]]) -> Layout:
        """The `Layout` of maps of `shapes`, `[(height, width), ...]` of the levels, ints or scalar tensors."""
        windows = PADDING * self.sides.reshape(-1, self.num_mlps, 1) / 2 * np.array([-1.0, -1.0, 1.0, 1.0])
        starts, centres, first = [], [], 0
        for (height, width), stride in zip(shapes, self.strides, strict=True):
            starts.append(first)
            first = first + height * width * self.num_mlps
            x, y = tf.meshgrid(_steps(width, stride), _steps(height, stride))
            centres.append(tf.reshape(tf.stack([x, y], axis=-1), [-1, 1, 2]))
        boxes = [
            tf.reshape(tf.tile(centre, [1, 1, 2]) + window.astype(np.float32), [-1, 4])
            for centre, window in zip(centres, windows, strict=True)
        ]
        centres = [tf.reshape(tf.tile(centre, [1, self.num_mlps, 1]), [-1, 2]) for centre in centres]
        heights, widths = zip(*shapes, strict=True)
        return Layout(
            tf.stack(starts), tf.stack(heights), tf.stack(widths), tf.concat(centres, axis=0), tf.concat(boxes, axis=0)
        )

    def places(self, indices: tf.Tensor, layout: Layout) -> Places:
        """The `Places` of positions of a layout, given by index. `[...] int32`"""
        level = tf.reduce_sum(tf.cast(indices[..., None] >= layout.starts[1:], tf.int32), axis=-1)
        inside = indices - tf.gather(layout.starts, level)
        cell, width = inside // self.num_mlps, tf.gather(layout.widths, level)
        return Places(level, cell // width, cell % width, inside % self.num_mlps)

    def indices(self, places: Places, layout: Layout) -> tf.Tensor:
        """The index of each place in a layout: the inverse of `places`. `[...] int32`"""
        cell = places.row * tf.gather(layout.widths, places.level) + places.column
        return tf.gather(layout.starts, places.level) + cell * self.num_mlps + places.mlp


def _steps(count, stride):
    return tf.cast(tf.range(count) * stride, tf.float32)
