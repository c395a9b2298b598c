"""Targets of all points of FCOS (FCOS, section 3.2, and its centre sampling)."""

import math
from collections.abc import Mapping

import tensorflow as tf

from keras_fpn.stages.dense_targets import labels_of_images

LEAST, MOST = 4.0, 8.0  # strides: an object is of the level from which its farthest side is so far away
LARGEST_AREA = 1e8  # square pixels; of two objects the point is of the smaller


def reaches(cells: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Distances in pixels between which the farthest side of a point's object is: `{level: [N_l, 4]} -> [N, 2]`.

    The first level has no least, the last no most.
    """
    levels = list(cells)
    bounds = []
    for level, own in cells.items():
        side = own[:, 2] - own[:, 0]
        least = tf.zeros_like(side) if level == levels[0] else LEAST * side
        most = tf.fill(tf.shape(side), math.inf) if level == levels[-1] else MOST * side
        bounds.append(tf.stack([least, most], axis=1))
    return tf.concat(bounds, axis=0)


def point_labels(
    cells: Mapping[str, tf.Tensor], ground_truth: Mapping[str, tf.Tensor], *, radius: float, crowd_ioa: float
) -> dict[str, tf.Tensor]:
    """The class and the box of every point of every image.

    A point is of an object if it is inside, less than `radius` strides from the middle along both axes, and its
    farthest side is of the point's level; of several the smallest has it.

    Args:
        cells: `{level: [N_l, 4]}` boxes around the points, as wide as the stride.
        ground_truth: see `targets.anchor_targets`.
        radius: see above.
        crowd_ioa: see `targets.ignore_crowd`.

    Returns:
        As `dense_targets.anchor_labels`, with the cell for the box of a point of no object.
    """
    bounds, cells = reaches(cells), tf.concat(list(cells.values()), axis=0)

    def find(boxes, is_object):
        return _match(cells, bounds, boxes, is_object, radius)

    return labels_of_images(cells, ground_truth, find, crowd_ioa)


def _match(cells, bounds, boxes, is_object, radius):
    """Of `[N]` points the object `[N]` int32, and whether there is one, `[N]` int32 1 or 0."""
    points, size = (cells[:, :2] + cells[:, 2:]) / 2, cells[:, 2] - cells[:, 0]
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    offset = tf.reduce_max(tf.abs(points[:, None] - middles[None]), axis=2)  # [N, G]
    distances = tf.concat([points[:, None] - boxes[None, :, :2], boxes[None, :, 2:] - points[:, None]], axis=2)
    farthest = tf.reduce_max(distances, axis=2)
    is_of = (offset < radius * size[:, None]) & (tf.reduce_min(distances, axis=2) > 0.0) & is_object[None]
    is_of &= (farthest > bounds[:, :1]) & (farthest < bounds[:, 1:])
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    preference = tf.where(is_of, LARGEST_AREA - areas[None], 0.0)
    labels = tf.cast(tf.reduce_any(is_of, axis=1), tf.int32)
    return tf.argmax(preference, axis=1, output_type=tf.int32), labels
