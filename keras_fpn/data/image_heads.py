"""Sizes of encoded images as their first bytes say, in pure TensorFlow operations: before any pixel takes memory."""

import tensorflow as tf

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def is_png(content: tf.Tensor) -> tf.Tensor:
    """Whether a file, a string scalar, begins as a PNG."""
    return tf.strings.substr(content, 0, len(PNG_SIGNATURE)) == PNG_SIGNATURE


def png_size(content: tf.Tensor) -> tf.Tensor:
    """`[2]` int32 height and width in IHDR, always the first chunk of a PNG; 0 0 of a shorter file."""
    return _numbers(content, 16, tf.int32, little_endian=False)[::-1]


def size_in_header(content: tf.Tensor) -> tf.Tensor:
    """`[2]` int32 height and width as stored, of a JPEG, PNG, BMP or GIF; 0 0 of others.

    Raises:
        tf.errors.InvalidArgumentError: when run, for a JPEG that is damaged before its size.
    """
    start = tf.strings.substr(content, 0, 3)
    return tf.case(
        [
            (tf.io.is_jpeg(content), lambda: tf.io.extract_jpeg_shape(content)[:2]),
            (is_png(content), lambda: png_size(content)),
            # Upside down, where a BMP's height is below zero.
            (tf.strings.substr(content, 0, 2) == b"BM", lambda: tf.abs(_numbers(content, 18, tf.int32)[::-1])),
            (start == b"GIF", lambda: tf.cast(_numbers(content, 6, tf.uint16)[::-1], tf.int32)),
        ],
        default=lambda: tf.zeros([2], tf.int32),
    )


def _numbers(content, start, dtype, little_endian=True):
    """Two numbers from a byte on; 0 where the file ends before."""
    length = 2 * dtype.size
    bytes_of = tf.strings.substr(tf.strings.join([content, "\0" * (start + length)]), start, length)
    return tf.ensure_shape(tf.io.decode_raw(bytes_of, dtype, little_endian=little_endian), [2])
