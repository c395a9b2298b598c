"""Areas of polygons, and of their parts in a window, in TensorFlow operations.

The area of a polygon is the integral of x dy along its edges. That of its part in a window is the same with y and x cut
to the window, each edge by itself: nothing needs to be clipped. Where a polygon crosses itself, its areas on both sides
are taken off each other.
"""

from typing import TYPE_CHECKING, NamedTuple

import tensorflow as tf

if TYPE_CHECKING:
    from keras_fpn.data.transforms import Window

_STEEP = 1e-3  # pixels across, below which an edge is taken for vertical


class Edges(NamedTuple):
    """The E edges of the P polygons of n objects.

    Attributes:
        start, end: `[E, 2]` float64 x, y in pixels.
        polygons: `[E]` int32, which polygon.
        owners: `[P]` int32, which object.
        number: n, int32.
    """

    start: tf.Tensor
    end: tf.Tensor
    polygons: tf.Tensor
    owners: tf.Tensor
    number: tf.Tensor

    def areas(self, window: "Window | None" = None) -> tf.Tensor:
        """`[n]` float64 square pixels of each object, or of its part in a window; its polygons add up."""
        own = _beneath(self.start, self.end) if window is None else _beneath_in(self.start, self.end, window)
        of_polygons = tf.math.unsorted_segment_sum(own, self.polygons, tf.size(self.owners))
        return tf.math.unsorted_segment_sum(tf.abs(of_polygons), self.owners, self.number)


def edges_of(polygons: tf.Tensor) -> Edges:
    """The edges of closed polygons.

    Args:
        polygons: `[n, V, 3]` x, y in pixels and part of each point, all -1 past the last.
    """
    is_point = polygons[..., 2] >= 0
    points = tf.cast(tf.boolean_mask(polygons, is_point), tf.float64)
    count = tf.shape(points)[0]
    objects = tf.cast(tf.where(is_point)[:, 0], tf.int32)
    key = tf.stack([tf.cast(objects, tf.float64), points[:, 2]], axis=1)
    is_first = tf.concat([[True], tf.reduce_any(key[1:] != key[:-1], axis=1)], axis=0)[:count]
    is_last = tf.concat([is_first[1:], [True]], axis=0)[:count]
    firsts = tf.cast(tf.where(is_first)[:, 0], tf.int32)
    number = tf.cumsum(tf.cast(is_first, tf.int32)) - 1
    after = tf.where(is_last, tf.gather(firsts, number), tf.range(count) + 1)
    places = points[:, :2]
    return Edges(places, tf.gather(places, after), number, tf.gather(objects, firsts), tf.shape(polygons)[0])


def _beneath(start, end):
    """Integral of x dy along each edge."""
    return (start[:, 0] + end[:, 0]) / 2 * (end[:, 1] - start[:, 1])


def _beneath_in(start, end, window):
    """The same of what a window shows."""
    corner = tf.cast(tf.stack([window.left, window.top]), tf.float64)
    width, height = (tf.cast(side, tf.float64) for side in (window.width, window.height))
    (x, y), (end_x, end_y) = (tf.unstack(each - corner, axis=1) for each in (start, end))
    first, last = (tf.clip_by_value(each, tf.zeros([], tf.float64), height) for each in (y, end_y))
    slope = tf.math.divide_no_nan(end_x - x, end_y - y)
    from_x, to_x = x + (first - y) * slope, x + (last - y) * slope
    way = to_x - from_x
    is_steep = tf.abs(way) < _STEEP
    mean = (_integral(to_x, width) - _integral(from_x, width)) / tf.where(is_steep, tf.ones_like(way), way)
    middle = tf.clip_by_value((from_x + to_x) / 2, tf.zeros([], tf.float64), width)
    return tf.where(is_steep, middle, mean) * (last - first)


def _integral(x, width):
    """Integral from 0 to x of a coordinate cut to 0 .. width."""
    inside = tf.clip_by_value(x, tf.zeros([], tf.float64), width)
    return inside**2 / 2 + width * tf.maximum(x - width, 0)
