"""COCO's compressed run lengths as pixels, in TensorFlow.

A mask is written down its columns from the left, as the lengths of runs of 0 and 1 by turns, 0 first. From the fourth
on a length is written as its difference to the last but one, in five bits a character, the lowest first: the sixth bit
says that another character follows, the highest of the five of the last one is the sign, and 48 is added to make it a
letter (pycocotools, maskApi.c).
"""

import tensorflow as tf

_OFFSET, _BITS, _VALUE, _SIGN, _MORE = 48, 5, 31, 16, 32


def decode(counts: tf.RaggedTensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """Pixels of n masks of one image.

    Args:
        counts: `[n, (characters)]` uint8, of each mask its compressed run lengths, which add up to the image's pixels.
        height, width: of the image, int32 scalars.

    Returns:
        `[n, height, width]` uint8 of 0 and 1.
    """
    height, width = tf.cast(height, tf.int64), tf.cast(width, tf.int64)
    starts, ends, objects = (tf.cast(each, tf.int64) for each in _runs_of_ones(counts))
    before = objects * height * width
    places = tf.ragged.range(before + starts, before + ends).flat_values  # down the columns of all masks
    # Not by the number of the run of each pixel: TensorFlow finds that by a table of runs times the longest.
    columns = tf.range(counts.nrows() * width)
    tops = columns // width * height * width + columns % width  # of each column where its first pixel belongs
    column = places // height
    places = tf.gather(tops, column) + (places - column * height) * width
    size = tf.stack([counts.nrows(), height, width])
    pixels = tf.scatter_nd(places[:, None], tf.ones_like(places, tf.uint8), tf.reduce_prod(size)[None])
    return tf.reshape(pixels, size)


def _runs_of_ones(counts):
    """Where each run of ones starts and ends, int32 pixels down the columns, and whose it is."""
    lengths, owners = _lengths(counts)
    number_of = tf.RaggedTensor.from_value_rowids(tf.range(tf.size(lengths)), owners, counts.nrows(), validate=False)
    firsts = tf.gather(tf.cast(number_of.row_starts(), tf.int32), owners)
    order = tf.range(tf.size(lengths)) - firsts
    is_one, is_first = order % 2 == 1, order == 0
    odd = _sums(tf.where(is_one, lengths, 0), firsts)
    even = _sums(tf.where(is_one | is_first, 0, lengths), firsts)
    lengths = tf.where(is_one, odd, tf.where(is_first, lengths, even))
    ends = _sums(lengths, firsts)
    return tuple(tf.boolean_mask(each, is_one) for each in (ends - lengths, ends, owners))


def _lengths(counts):
    """The numbers as they are written, most of them differences, and whose each is."""
    characters = tf.cast(counts.flat_values, tf.int32) - _OFFSET
    is_last = tf.bitwise.bitwise_and(characters, _MORE) == 0
    last = tf.cast(tf.where(is_last)[:, 0], tf.int32)
    first = tf.pad(last + 1, [[1, 0]])[:-1]
    number = tf.cumsum(tf.cast(is_last, tf.int32), exclusive=True)
    shift = _BITS * (tf.range(tf.size(characters)) - tf.gather(first, number))
    values = tf.bitwise.left_shift(tf.bitwise.bitwise_and(characters, _VALUE), shift)
    sums = tf.math.segment_sum(values, number)
    is_negative = tf.bitwise.bitwise_and(tf.gather(characters, last), _SIGN) > 0
    whole = tf.bitwise.left_shift(tf.ones_like(last), tf.minimum(_BITS * (last - first + 1), 31))
    return tf.where(is_negative, sums - whole, sums), tf.gather(counts.value_rowids(), last)


def _sums(values, firsts):
    """Sum of each value and those before it of the same object, the number of whose first value is `firsts`."""
    before = tf.cumsum(values, exclusive=True)
    return before + values - tf.gather(before, firsts)
