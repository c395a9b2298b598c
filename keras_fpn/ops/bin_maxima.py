"""The maximum over each of many windows of a map, by tables of windows whose sides are powers of two.

A window of 5 x 3 cells is covered by four of 4 x 2 that overlap, and a table of the maxima of all windows of 4 x 2 is
made of that of 2 x 2 in one step: four reads a window, however large, where reading every cell takes 15.
"""

import tensorflow as tf


@tf.custom_gradient
def bin_maxima(
    feature: tf.Tensor, images: tf.Tensor, top: tf.Tensor, bottom: tf.Tensor, left: tf.Tensor, right: tf.Tensor
) -> tf.Tensor:
    """Maxima of bins, each over the cells top <= y < bottom, left <= x < right of one image.

    The gradient of a bin goes to its largest cell alone, the first in reading order of those that are equal, as in
    torchvision.

    Args:
        feature: `[B, h, w, C]`.
        images, top, bottom, left, right: `[N]` int32 inside the map.

    Returns:
        `[N, C]`; 0 for a bin without cells.
    """
    bins = (images, top, bottom, left, right)
    is_filled = ((bottom > top) & (right > left))[:, None]
    (values,) = _reduce((feature,), bins, _larger)
    values = tf.where(is_filled, values, tf.zeros([], values.dtype))

    def gradient(upstream):
        shape = tf.shape(feature, tf.int64)
        cells = tf.range(tf.size(feature, tf.int64))
        places = tf.ensure_shape(tf.reshape(cells, shape), feature.shape)
        _, at = _reduce((feature, places), bins, _larger_and_first)
        upstream = tf.where(is_filled, upstream, tf.zeros([], upstream.dtype))
        summed = tf.math.unsorted_segment_sum(tf.reshape(upstream, [-1]), tf.reshape(at, [-1]), tf.size(cells))
        return tf.reshape(summed, shape), None, None, None, None, None

    return values, gradient


def _larger(first, second):
    return (tf.maximum(first[0], second[0]),)


def _larger_and_first(first, second):
    """Of two values and the places that they are at."""
    (value, at), (other, other_at) = first, second
    wins = (other > value) | ((other == value) & (other_at < at))
    return tf.where(wins, other, value), tf.where(wins, other_at, at)


def _reduce(maps, bins, merge):
    """Merge the cells of each bin: `[N, C]` of each of the maps `[B, h, w, C]`."""
    images, top, bottom, left, right = bins
    levels_y, levels_x = _level(bottom - top), _level(right - left)
    most_y, most_x = (tf.reduce_max(tf.concat([levels, [0]], axis=0)) for levels in (levels_y, levels_x))
    pairs = (most_y + 1) * (most_x + 1)
    shapes = [[None, one.shape[-1]] for one in maps]
    start = [
        tf.TensorArray(one.dtype, pairs, infer_shape=False, element_shape=shape)
        for one, shape in zip(maps, shapes, strict=True)
    ]
    places = tf.TensorArray(tf.int32, pairs, infer_shape=False, element_shape=[None])

    def row(level_y, tall, *state):
        def column(level_x, wide, *state):
            members = tf.cast(tf.where((levels_y == level_y) & (levels_x == level_x))[:, 0], tf.int32)
            corners = [tf.gather(part, members) for part in (images, top, bottom, left, right)]
            found = _cover(wide, corners, level_y, level_x, merge)
            at = level_y * (most_x + 1) + level_x
            state = [array.write(at, value) for array, value in zip(state, (members, *found), strict=True)]
            return (level_x + 1, _double(wide, level_x, 2, merge), *state)

        _, _, *state = tf.while_loop(
            lambda level_x, *_: level_x <= most_x, column, (0, tall, *state), parallel_iterations=1
        )
        return (level_y + 1, _double(tall, level_y, 1, merge), *state)

    _, _, places, *values = tf.while_loop(
        lambda level_y, *_: level_y <= most_y, row, (0, maps, places, *start), parallel_iterations=1
    )
    order = tf.math.invert_permutation(places.concat())
    return [tf.gather(value.concat(), order) for value in values]


def _level(sizes):
    """floor(log2(size)), 0 of an empty bin, `[N]` int32, by comparison: no logarithm that rounds."""
    powers = 2 ** tf.range(1, 16)
    return tf.reduce_sum(tf.cast(sizes[:, None] >= powers, tf.int32), axis=1)


def _double(table, level, axis, merge):
    """From maxima of windows of 2^level cells along an axis to those of twice as many, cut off at the edge."""
    step = tf.minimum(tf.bitwise.left_shift(1, level), tf.shape(table[0])[axis])

    def shifted(one):
        last = tf.gather(one, [tf.shape(one)[axis] - 1], axis=axis)
        rest = tf.split(one, [step, tf.shape(one)[axis] - step], axis=axis)[1]
        return tf.ensure_shape(tf.concat([rest, tf.repeat(last, step, axis=axis)], axis=axis), one.shape)

    return merge(table, [shifted(one) for one in table])


def _cover(table, corners, level_y, level_x, merge):
    """Read each bin as four windows of 2^level_y x 2^level_x cells, one in each of its corners."""
    images, top, bottom, left, right = corners
    shape = tf.shape(table[0])
    low_y = tf.clip_by_value(bottom - tf.bitwise.left_shift(1, level_y), 0, shape[1] - 1)
    low_x = tf.clip_by_value(right - tf.bitwise.left_shift(1, level_x), 0, shape[2] - 1)
    top, left = tf.minimum(top, shape[1] - 1), tf.minimum(left, shape[2] - 1)
    rows = [tf.reshape(one, [-1, one.shape[-1]]) for one in table]

    def read(y, x):
        at = (images * shape[1] + y) * shape[2] + x
        return [tf.gather(one, at) for one in rows]

    upper = merge(read(top, left), read(top, low_x))
    return merge(upper, merge(read(low_y, left), read(low_y, low_x)))
