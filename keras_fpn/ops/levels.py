"""Which pyramid level a region of interest is read from (paper, eq. 1)."""

from collections.abc import Sequence

import tensorflow as tf

from keras_fpn.ops import boxes as box_ops
from keras_fpn.ops.octaves import level_number, octave_edges


def roi_levels(
    boxes: tf.Tensor, min_level: int, max_level: int, canonical_size: float = 224.0, canonical_level: int = 4
) -> tf.Tensor:
    """k = floor(k0 + log2(sqrt(w h) / 224)), clamped to the levels there are.

    Args:
        boxes: `[..., 4]`, pixels of the network's input.
        min_level, max_level: the finest and the coarsest level, 2 and 5 in the paper.
        canonical_size: side in pixels of a box that belongs on `canonical_level`.
        canonical_level: k0.

    Returns:
        `[...]` int32. An empty box belongs on the finest level.
    """
    side = tf.sqrt(box_ops.area(boxes))
    level = tf.fill(tf.shape(side), min_level)
    for edge in octave_edges(min_level, max_level, canonical_size, canonical_level):
        level += tf.cast(side >= edge, tf.int32)
    return level


def place_rois(
    boxes: tf.Tensor, levels: Sequence[str], canonical_size: float, canonical_level: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Flatten a batch of RoIs and say where each is read.

    Args:
        boxes: `[B, R, 4]`, pixels of the network's input.
        levels: names of the levels that are read, neighbours from the finest on.
        canonical_size, canonical_level: see `roi_levels`.

    Returns:
        `boxes` `[B * R, 4]` without gradient, and for each its image's index and its level's index among `levels`,
        `[B * R]` int32 both.
    """
    shape = tf.shape(boxes)
    boxes = tf.stop_gradient(tf.reshape(boxes, [-1, 4]))
    finest, coarsest = level_number(levels[0]), level_number(levels[-1])
    numbers = roi_levels(boxes, finest, coarsest, canonical_size, canonical_level)
    return boxes, tf.repeat(tf.range(shape[0]), shape[1]), numbers - finest
