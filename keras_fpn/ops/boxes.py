"""Box arithmetic.

A box is `x1, y1, x2, y2`: float32, absolute pixels, right and bottom exclusive, so its width is `x2 - x1`.
All functions take and return TensorFlow tensors with boxes on the last axis and are differentiable.
"""

import math
from collections.abc import Sequence

import tensorflow as tf

# Detectron and its successors: no box grows by more than this factor of exp, 1000 px from a 16 px anchor.
SCALE_CLAMP = math.log(1000.0 / 16.0)


def area(boxes: tf.Tensor) -> tf.Tensor:
    """Area in square pixels; a box with a negative side has area 0. `[..., 4] -> [...]`"""
    x1, y1, x2, y2 = tf.unstack(boxes, axis=-1)
    return tf.maximum(x2 - x1, 0.0) * tf.maximum(y2 - y1, 0.0)


def _pairwise_intersection(boxes, others):
    # Coordinate by coordinate: TensorFlow is several times slower where the innermost axis has only x and y.
    x1, y1, x2, y2 = (tf.expand_dims(side, -1) for side in tf.unstack(boxes, axis=-1))
    other_x1, other_y1, other_x2, other_y2 = (tf.expand_dims(side, -2) for side in tf.unstack(others, axis=-1))
    width = tf.minimum(x2, other_x2) - tf.maximum(x1, other_x1)
    height = tf.minimum(y2, other_y2) - tf.maximum(y1, other_y1)
    return tf.maximum(width, 0.0) * tf.maximum(height, 0.0)


def pairwise_iou(boxes: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """Intersection over union of every pair; 0 where both are empty.

    Args:
        boxes: `[..., N, 4]`.
        others: `[..., M, 4]`.

    Returns:
        `[..., N, M]` float32 in [0, 1].
    """
    intersection = _pairwise_intersection(boxes, others)
    union = area(boxes)[..., :, None] + area(others)[..., None, :] - intersection
    return tf.math.divide_no_nan(intersection, union)


def pairwise_ioa(boxes: tf.Tensor, regions: tf.Tensor) -> tf.Tensor:
    """Share of each box's own area that lies in each region; COCO's overlap with a crowd region.

    Args:
        boxes: `[..., N, 4]`.
        regions: `[..., M, 4]`.

    Returns:
        `[..., N, M]` float32 in [0, 1]; 0 for an empty box.
    """
    intersection = _pairwise_intersection(boxes, regions)
    return tf.math.divide_no_nan(intersection, area(boxes)[..., :, None])


def clip(boxes: tf.Tensor, sizes: tf.Tensor) -> tf.Tensor:
    """Clip boxes to their image.

    Args:
        boxes: `[..., N, 4]`.
        sizes: `[..., 2]`, height and width in pixels, any numeric dtype.

    Returns:
        `[..., N, 4]`, every x in [0, width] and every y in [0, height].
    """
    sizes = tf.cast(sizes, boxes.dtype)
    limits = tf.stack([sizes[..., 1], sizes[..., 0]] * 2, axis=-1)[..., None, :]
    return tf.minimum(tf.maximum(boxes, 0.0), limits)


def _centre_and_size(boxes):
    size = boxes[..., 2:] - boxes[..., :2]
    return boxes[..., :2] + 0.5 * size, size


def encode(boxes: tf.Tensor, references: tf.Tensor, weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0)) -> tf.Tensor:
    """Deltas that lead from the reference boxes to the boxes (Faster R-CNN, eq. 2).

    Args:
        boxes: `[..., 4]`, with positive sides.
        references: `[..., 4]`, anchors or proposals, with positive sides.
        weights: factors of (dx, dy, dw, dh).

    Returns:
        `[..., 4]`: dx, dy in units of the reference's sides, dw, dh as natural logarithms, times `weights`.
    """
    centre, size = _centre_and_size(boxes)
    reference_centre, reference_size = _centre_and_size(references)
    shift = (centre - reference_centre) / reference_size
    growth = tf.math.log(size / reference_size)
    return tf.concat([shift, growth], axis=-1) * tf.constant(weights, boxes.dtype)


def decode(
    deltas: tf.Tensor,
    references: tf.Tensor,
    weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
    clamp: float = SCALE_CLAMP,
) -> tf.Tensor:
    """Boxes that the deltas make of the reference boxes, the inverse of `encode`.

    Args:
        deltas: `[..., 4]`.
        references: `[..., 4]`, broadcast against `deltas`.
        weights: factors of (dx, dy, dw, dh), as for `encode`.
        clamp: upper bound of dw and dh after division by their weights.

    Returns:
        `[..., 4]`, not clipped to any image.
    """
    deltas = deltas / tf.constant(weights, deltas.dtype)
    reference_centre, reference_size = _centre_and_size(references)
    centre = deltas[..., :2] * reference_size + reference_centre
    half = 0.5 * (tf.exp(tf.minimum(deltas[..., 2:], clamp)) * reference_size)
    return tf.concat([centre - half, centre + half], axis=-1)


def larger_than(boxes: tf.Tensor, min_size: float) -> tf.Tensor:
    """True for boxes whose sides both exceed 0 and reach `min_size`. `[..., 4] -> [...]` bool

    A minimum of 0 asks for positive sides (detectron2's `nonempty`); a positive one is inclusive
    (torchvision's `remove_small_boxes`).
    """
    smaller_side = tf.reduce_min(boxes[..., 2:] - boxes[..., :2], axis=-1)
    return (smaller_side > 0.0) & (smaller_side >= min_size)
