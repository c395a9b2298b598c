"""Weights by which one row of values becomes one of another length, as torch's `interpolate` has them.

Both lengths are those of whole rows (`align_corners=False`): new value i lies at (i + 0.5) * old / new - 0.5.
"""

from typing import Any

import tensorflow as tf

CUBIC_SLOPE = -0.75  # torch's; TensorFlow's own resizing has -0.5


def linear_weights(old: int, new: Any, dtype: str | tf.DType = "float32") -> tf.Tensor:
    """`[new, old]`, rows of sum 1: each new value between its two neighbours, those at the ends held.

    Args:
        old, new: lengths; `new` an int or a scalar tensor.
        dtype: of the weights.
    """
    places = tf.clip_by_value(_places(old, new, dtype), 0.0, old - 1.0)
    return tf.maximum(1.0 - tf.abs(places[:, None] - tf.range(old, dtype=dtype)), 0.0)


def cubic_weights(old: int, new: Any, dtype: str | tf.DType = "float32") -> tf.Tensor:
    """`[new, old]`, rows of sum 1, by the cubic convolution of four neighbours, of which those beyond are the ends'.

    Args:
        old, new: lengths; `new` an int or a scalar tensor.
        dtype: of the weights.
    """
    places = _places(old, new, dtype)
    first = tf.floor(places)
    weights = tf.zeros_like(places)[:, None]
    for neighbour in (-1.0, 0.0, 1.0, 2.0):
        cell = first + neighbour
        nearest = tf.clip_by_value(cell, 0.0, old - 1.0)
        is_there = tf.cast(nearest[:, None] == tf.range(old, dtype=dtype), places.dtype)
        weights += _cubic(tf.abs(places - cell))[:, None] * is_there
    return weights


def _places(old, new, dtype):
    return (tf.cast(tf.range(new), dtype) + 0.5) * (old / tf.cast(new, dtype)) - 0.5


def _cubic(distance):
    """Keys' kernel at distances of 0 to 2."""
    near = ((CUBIC_SLOPE + 2.0) * distance - (CUBIC_SLOPE + 3.0)) * distance**2 + 1.0
    far = CUBIC_SLOPE * (((distance - 5.0) * distance + 8.0) * distance - 4.0)
    return tf.where(distance <= 1.0, near, far)
