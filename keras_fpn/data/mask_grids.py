"""Masks over boxes, in TensorFlow: brought to another box, painted on an image, read from one.

A mask is a grid of S x S bins over the box of its object, see `segmentations`, whose rule for a bin holds here, too: it
is part of the object where the object covers at least half of it.
"""

from collections.abc import Sequence

import tensorflow as tf

from keras_fpn.data.segmentations import SIDE

_ROUNDING = 1e-4  # of float32 sums: it must not decide where an edge runs through the middle of bins


def regrid(
    masks: tf.Tensor, boxes: tf.Tensor, new_boxes: tf.Tensor, offset: Sequence[int | tf.Tensor] = (0, 0, 0, 0)
) -> tf.Tensor:
    """Masks over smaller boxes, which lie in those that they were over.

    Args:
        masks: `[n, S, S]` of 0 and 1.
        boxes, new_boxes: `[n, 4]` x1, y1, x2, y2.
        offset: where the new boxes' origin is, x, y, x, y in pixels of the old.

    Returns:
        `[n, S, S]` of the masks' dtype; all 0 over a box without extent.
    """
    new_boxes = new_boxes + tf.cast(tf.stack(offset), tf.float32)
    rows, columns = (_shares(boxes, new_boxes, axis) for axis in (1, 0))
    coverage = tf.matmul(tf.matmul(rows, tf.cast(masks, tf.float32)), columns, transpose_b=True)
    most = tf.reduce_max(coverage, axis=[1, 2], keepdims=True)
    # Of an object too thin to cover half of any bin those that it covers most, as where masks are read.
    is_covered = (coverage >= tf.minimum(0.5 - _ROUNDING, most / 2)) & (coverage > _ROUNDING)
    return tf.cast(is_covered, masks.dtype)


def _shares(boxes, new_boxes, axis):
    """`[n, S, S]`: how much of each new bin along an axis (0: x) each old bin makes up."""
    start, extent = boxes[:, axis], boxes[:, axis + 2] - boxes[:, axis]
    first, last = ((new_boxes[:, side] - start) / extent * SIDE for side in (axis, axis + 2))
    step = (last - first) / SIDE
    edges = first[:, None] + step[:, None] * tf.range(SIDE + 1, dtype=tf.float32)
    bins = tf.range(SIDE, dtype=tf.float32)
    shared = tf.minimum(edges[:, 1:, None], bins + 1) - tf.maximum(edges[:, :-1, None], bins)
    return tf.math.divide_no_nan(tf.maximum(shared, 0.0), step[:, None, None])


def paint(masks: tf.Tensor, boxes: tf.Tensor, height: int | tf.Tensor, width: int | tf.Tensor) -> tf.Tensor:
    """Which pixels of an image the objects cover, all of them together.

    Between the middles of bins a mask is interpolated, so that the edge of a large object has no steps. One object is
    painted after the other, so that memory is that of one: `4 height width` bytes.

    Args:
        masks: `[n, S, S]` of 0 and 1.
        boxes: `[n, 4]` in pixels of the image.

    Returns:
        `[height, width]` bool.
    """

    def add(painted, one):
        mask, box = one
        rows, columns = _weights(box[1], box[3], height), _weights(box[0], box[2], width)
        covered = tf.matmul(tf.matmul(rows, tf.cast(mask, tf.float32)), columns, transpose_b=True)
        return painted | (covered >= 0.5)

    return tf.foldl(add, (masks, boxes), initializer=tf.zeros([height, width], bool), parallel_iterations=1)


def _weights(start, end, side):
    """`[side, S]`: how much each bin between two coordinates counts at the middle of each pixel; 0 outside of them."""
    place = (tf.range(side, dtype=tf.float32) + 0.5 - start) / (end - start)
    is_inside = (place > 0) & (place < 1)
    place = tf.clip_by_value(place * SIDE - 0.5, 0.0, SIDE - 1.0)
    weights = tf.maximum(1.0 - tf.abs(place[:, None] - tf.range(SIDE, dtype=tf.float32)), 0.0)
    return tf.where(is_inside[:, None], weights, 0.0)


def sample(pixels: tf.Tensor, boxes: tf.Tensor) -> tf.Tensor:
    """`[n, S, S]`: the pixel of `[height, width]` under the middle of each bin of each box."""
    height, width = tf.unstack(tf.shape(pixels))
    middles = (tf.range(SIDE, dtype=tf.float32) + 0.5) / SIDE

    def places(axis, side):
        middle = boxes[:, axis, None] + (boxes[:, axis + 2] - boxes[:, axis])[:, None] * middles
        return tf.clip_by_value(tf.cast(middle, tf.int32), 0, side - 1)

    flat = places(1, height)[:, :, None] * width + places(0, width)[:, None, :]
    return tf.gather(tf.reshape(pixels, [-1]), flat)


def shrink(boxes: tf.Tensor, before: tf.Tensor, after: tf.Tensor) -> tf.Tensor:
    """Boxes around what is left of their masks: a side moves in as far as its outermost bins were taken away.

    Args:
        boxes: `[n, 4]`.
        before, after: `[n, S, S]` bool, `after` part of `before`. Boxes of an empty `after` have no extent.
    """
    sides = []
    for axis, bins in ((0, 1), (1, 2)):
        was, still = tf.reduce_any(before, axis=bins), tf.reduce_any(after, axis=bins)
        start, end = boxes[:, axis], boxes[:, axis + 2]
        step = (end - start) / SIDE
        first, last = _first(still), SIDE - _first(still[:, ::-1])
        sides.append(tf.where(_first(was) == first, start, start + step * first))
        sides.append(tf.where(SIDE - _first(was[:, ::-1]) == last, end, start + step * last))
    x1, x2, y1, y2 = sides
    is_left = tf.reduce_any(after, axis=[1, 2])
    return tf.where(is_left[:, None], tf.stack([x1, y1, x2, y2], axis=1), tf.stack([x1, y1, x1, y1], axis=1))


def _first(bins):
    """Number of the first bin that is set, `[n]` float32."""
    return tf.cast(tf.argmax(tf.cast(bins, tf.int32), axis=1, output_type=tf.int32), tf.float32)
