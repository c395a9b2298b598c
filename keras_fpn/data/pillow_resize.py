"""Pixels at another size, as the libraries do it that the published detectors were trained with.

Both filters are separable and touch few pixels, so each pass gathers its taps row by row instead of multiplying
by a matrix; the horizontal pass works on the transposed image, whose rows lie together in memory.
"""

import tensorflow as tf

_PRECISION = 22  # bits behind the point of Pillow's weights: 32 less 8 of a pixel and 2 to spare
_SIDE = tf.TensorSpec([], tf.int32)


def _traced_once(dtype):
    """A decorator: one graph for images of a type, in the place of one in each pipeline."""
    signature = [tf.TensorSpec([None, None, 3], dtype), _SIDE, _SIDE]
    return tf.function(input_signature=signature, autograph=False)


@_traced_once(tf.uint8)
def resize_pillow(image: tf.Tensor, new_height: int | tf.Tensor, new_width: int | tf.Tensor) -> tf.Tensor:
    """Pillow's `Image.resize((new_width, new_height), BILINEAR)`, bit for bit: detectron2's resize.

    A triangle as wide as the shrinking asks for, horizontally and then vertically, each pass in fixed point and
    rounded to 8 bits; a side that keeps its length is left alone. This is the order of every Pillow before 13, hence
    of the published weights. Pillow 13 shrinks some images vertically first: there values differ, by at most 1.

    Args:
        image: [height, width, 3] uint8.
        new_height, new_width: whole numbers or int32 scalars.

    Returns:
        [new_height, new_width, 3] uint8.
    """
    return _by_side(image, new_height, new_width, _triangle_rows)


def resize_bilinear(image: tf.Tensor, new_height: int | tf.Tensor, new_width: int | tf.Tensor) -> tf.Tensor:
    """Between the two nearest pixels each way, half-pixel centres, no antialiasing: torchvision's detectors.

    Args:
        image: [height, width, 3] uint8 or float32.
        new_height, new_width: whole numbers or int32 scalars.

    Returns:
        [new_height, new_width, 3] float32, in the range of the image and not rounded.
    """
    return _resize_floats(tf.cast(image, tf.float32), new_height, new_width)


@_traced_once(tf.float32)
def _resize_floats(image, new_height, new_width):
    return _by_side(image, new_height, new_width, _linear_rows)


def _by_side(image, new_height, new_width, resize_rows):
    """`resize_rows(image, length)` on columns and then on rows, each only where the length changes."""

    def columns():
        turned = resize_rows(tf.transpose(image, [1, 0, 2]), new_width)
        return tf.transpose(turned, [1, 0, 2])

    wide = tf.cond(tf.equal(tf.shape(image)[1], new_width), lambda: image, columns)
    wide = tf.ensure_shape(wide, [None, None, 3])
    resized = tf.cond(tf.equal(tf.shape(wide)[0], new_height), lambda: wide, lambda: resize_rows(wide, new_height))
    return tf.ensure_shape(resized, [None, None, 3])


def _triangle_rows(image, length):
    """[old, n, 3] uint8 -> [length, n, 3] uint8."""
    rows, weights = _triangle_taps(tf.shape(image)[0], length)

    def add(tap, total):
        return tap + 1, total + tf.cast(tf.gather(image, rows[:, tap]), tf.int32) * weights[:, tap, None, None]

    half = tf.fill([length, tf.shape(image)[1], 3], 1 << (_PRECISION - 1))
    _, total = tf.while_loop(lambda tap, _: tap < tf.shape(rows)[1], add, (0, half), parallel_iterations=1)
    # Weights are positive and their rounding errors small: the sum cannot leave 0..255, so nothing is clipped.
    return tf.cast(tf.bitwise.right_shift(total, _PRECISION), tf.uint8)


def _triangle_taps(old, new):
    """Rows that each new row is made of, and their weights in units of 2^-22: [new, taps] int32 both.

    In Pillow's order of operations, in float64: the weights must be equal to the last bit before they are rounded.
    """
    scale = tf.cast(old, tf.float64) / tf.cast(new, tf.float64)
    support = tf.maximum(scale, 1.0)
    centres = (tf.cast(tf.range(new), tf.float64) + 0.5) * scale
    first = tf.maximum(tf.cast(centres - support + 0.5, tf.int32), 0)
    end = tf.minimum(tf.cast(centres + support + 0.5, tf.int32), old)
    rows = first[:, None] + tf.range(tf.cast(tf.math.ceil(2.0 * support), tf.int32))
    distances = (tf.cast(rows, tf.float64) - centres[:, None] + 0.5) * (1.0 / support)
    weights = tf.where(rows < end[:, None], tf.maximum(1.0 - tf.abs(distances), 0.0), 0.0)
    weights = weights / tf.cumsum(weights, axis=1)[:, -1:]  # cumsum adds from left to right, as a loop does
    return tf.minimum(rows, old - 1), tf.cast(weights * 2.0**_PRECISION + 0.5, tf.int32)


def _linear_rows(image, length):
    """[old, n, 3] float32 -> [length, n, 3] float32."""
    old = tf.shape(image)[0]
    # float32 scale, and one rounding for product and difference together (torch's fused operation): a coordinate
    # that is off by its last bit moves a value between very different pixels by 0.01 of 255.
    scale = tf.cast(old, tf.float32) / tf.cast(length, tf.float32)
    positions = (tf.cast(tf.range(length), tf.float64) + 0.5) * tf.cast(scale, tf.float64) - 0.5
    positions = tf.maximum(tf.cast(positions, tf.float32), 0.0)
    lower = tf.minimum(tf.cast(positions, tf.int32), old - 1)
    share = tf.clip_by_value(positions - tf.cast(lower, tf.float32), 0.0, 1.0)[:, None, None]
    upper = tf.minimum(lower + 1, old - 1)
    return tf.gather(image, lower) * (1.0 - share) + tf.gather(image, upper) * share
