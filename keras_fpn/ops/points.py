"""Boxes by their distances from a point, in units of a cell (FCOS, section 3.1)."""

import tensorflow as tf


def decode_distances(distances: tf.Tensor, cells: tf.Tensor) -> tf.Tensor:
    """Boxes around points. `[..., 4], [..., 4] -> [..., 4]` pixels

    Args:
        distances: to the left, the top, the right and the bottom, in sides of the cell.
        cells: boxes around the points, as wide as the stride of their level.
    """
    centre, size = (cells[..., :2] + cells[..., 2:]) / 2, cells[..., 2:] - cells[..., :2]
    return tf.concat([centre - distances[..., :2] * size, centre + distances[..., 2:] * size], axis=-1)


def encode_distances(boxes: tf.Tensor, cells: tf.Tensor) -> tf.Tensor:
    """Distances that lead from the points to the boxes, the inverse of `decode_distances`."""
    centre, size = (cells[..., :2] + cells[..., 2:]) / 2, cells[..., 2:] - cells[..., :2]
    return tf.concat([(centre - boxes[..., :2]) / size, (boxes[..., 2:] - centre) / size], axis=-1)


def centerness(distances: tf.Tensor) -> tf.Tensor:
    """How near the middle of its box a point is: 1 there, 0 at a side. `[..., 4] -> [...]`"""
    left, top, right, bottom = tf.unstack(distances, axis=-1)
    across = tf.minimum(left, right) / tf.maximum(left, right)
    down = tf.minimum(top, bottom) / tf.maximum(top, bottom)
    return tf.sqrt(across * down)
