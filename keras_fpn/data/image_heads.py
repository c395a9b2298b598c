"""Sizes of encoded images as their first bytes say, in pure TensorFlow operations: before any pixel takes memory."""

import tensorflow as tf

READS_WEBP = hasattr(tf.io, "decode_webp")  # TensorFlow 2.21 has it, 2.18 has not
FORMATS = "JPEG, PNG, BMP, GIF or WebP" if READS_WEBP else "JPEG, PNG, BMP or GIF"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def is_png(content: tf.Tensor) -> tf.Tensor:
    """Whether a file, a string scalar, begins as a PNG."""
    return tf.strings.substr(content, 0, len(PNG_SIGNATURE)) == PNG_SIGNATURE


def png_size(content: tf.Tensor) -> tf.Tensor:
    """`[2]` int32 height and width in IHDR, always the first chunk of a PNG; 0 0 of a shorter file."""
    return _numbers(content, 16, tf.int32, little_endian=False)[::-1]


def is_webp(content: tf.Tensor) -> tf.Tensor:
    """Whether a file, a string scalar, begins as a WebP."""
    return tf.strings.regex_full_match(tf.strings.substr(content, 0, 12), r"RIFF\C{4}WEBP")


def is_picture(content: tf.Tensor) -> tf.Tensor:
    """Whether a file begins as one of the `FORMATS` that are read."""
    is_jpeg = tf.strings.substr(content, 0, 3) == b"\xff\xd8\xff"
    return is_jpeg | is_gif(content) | is_bmp(content) | is_png(content) | (is_webp(content) & READS_WEBP)


def is_gif(content: tf.Tensor) -> tf.Tensor:
    """Whether a file begins as a GIF."""
    return tf.strings.substr(content, 0, 3) == b"GIF"


def is_bmp(content: tf.Tensor) -> tf.Tensor:
    """Whether a file begins as a BMP."""
    return tf.strings.substr(content, 0, 2) == b"BM"


def is_plain_bmp(content: tf.Tensor) -> tf.Tensor:
    """Whether TensorFlow reads a BMP: of 8, 24 or 32 bits, not packed, its colours in the usual order."""
    bits, packing = bmp_bits(content), _text(content, 30, 4)
    masks = b"\0\0\xff\0" b"\0\xff\0\0" b"\xff\0\0\0"  # of red, green and blue
    is_usual = (bits == 32) & (packing == b"\3\0\0\0") & (_text(content, 54, len(masks)) == masks)
    is_unpacked = tf.reduce_any(bits == [8, 24, 32]) & (packing == b"\0\0\0\0")
    return is_bmp(content) & (_little(_ints(content, 14, 4)) >= 40) & (is_usual | is_unpacked)


def bmp_bits(content: tf.Tensor) -> tf.Tensor:
    """Bits a pixel of a BMP, int32; of 8 the colours lie in a palette."""
    return _little(_ints(content, 28, 2))


def bmp_palette(content: tf.Tensor) -> tf.Tensor:
    """`[256, 3]` uint8 RGB, the palette of such a BMP, black from where it ends."""
    start = 14 + _little(_ints(content, 14, 4))
    end = tf.minimum(_little(_ints(content, 10, 4)), start + 4 * 256)
    entries = tf.strings.substr(tf.strings.join([content, "\0" * 4 * 256]), start, 4 * ((end - start) // 4))
    colours = tf.reshape(tf.io.decode_raw(entries, tf.uint8), [-1, 4])[:, 2::-1]  # blue, green, red, nothing
    return tf.ensure_shape(tf.pad(colours, [[0, 256 - tf.shape(colours)[0]], [0, 0]]), [256, 3])


def is_animated_webp(content: tf.Tensor) -> tf.Tensor:
    """Whether a file is a WebP of several pictures, as its first chunk says."""
    flags = _bytes(content, 20, 1)[0]
    return is_webp(content) & (_text(content, 12, 4) == b"VP8X") & (tf.bitwise.bitwise_and(flags, 0x02) == 0x02)


def has_webp_alpha(content: tf.Tensor) -> tf.Tensor:
    """Whether a file is a WebP of one picture with alpha, as its first chunk says."""
    kind, data = _text(content, 12, 4), _bytes(content, 20, 5)
    extended = (kind == b"VP8X") & (tf.bitwise.bitwise_and(data[0], 0x12) == 0x10)  # alpha, and no animation
    lossless = (kind == b"VP8L") & (tf.bitwise.bitwise_and(data[4], 0x10) == 0x10)
    return is_webp(content) & (extended | lossless)


def webp_size(content: tf.Tensor) -> tf.Tensor:
    """`[2]` int32 height and width in the first chunk of a WebP (RFC 9649); 0 0 of a shorter file."""
    kind = _text(content, 12, 4)
    data = _ints(content, 20, 10)

    def extended():  # VP8X: four bytes, then 24 bits for each side, less 1
        return 1 + tf.stack([_little(data[7:10]), _little(data[4:7])])

    def lossless():  # VP8L: a byte, then 14 bits for each side, less 1
        both = tf.bitwise.bitwise_and(_little(data[1:5]), 0x0FFFFFFF)
        return 1 + tf.stack([both // 2**14, both % 2**14])

    def lossy():  # VP8: six bytes, then 16 bits for each side, two of them of its scale
        return tf.stack([_little(data[8:10]), _little(data[6:8])]) % 2**14

    is_whole = tf.strings.length(content) >= 30
    size = tf.case(
        [(kind == b"VP8X", extended), (kind == b"VP8L", lossless), (kind == b"VP8 ", lossy)],
        default=lambda: tf.zeros([2], tf.int32),
    )
    return tf.where(is_whole, size, 0)


@tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)  # traced once, not in each pipeline
def size_in_header(content: tf.Tensor) -> tf.Tensor:
    """`[2]` int32 height and width as stored, of a JPEG, PNG, plain BMP, GIF or WebP; 0 0 of others.

    Raises:
        tf.errors.InvalidArgumentError: when run, for a JPEG that is damaged before its size.
    """
    return tf.case(
        [
            (tf.io.is_jpeg(content), lambda: tf.io.extract_jpeg_shape(content)[:2]),
            (is_png(content), lambda: png_size(content)),
            # Upside down, where a BMP's height is below zero.
            (is_plain_bmp(content), lambda: tf.abs(_numbers(content, 18, tf.int32)[::-1])),
            (is_gif(content), lambda: tf.cast(_numbers(content, 6, tf.uint16)[::-1], tf.int32)),
            (is_webp(content), lambda: webp_size(content)),
        ],
        default=lambda: tf.zeros([2], tf.int32),
    )


def _numbers(content, start, dtype, little_endian=True):
    """Two numbers from a byte on; 0 where the file ends before."""
    text = _text(content, start, 2 * dtype.size)
    return tf.ensure_shape(tf.io.decode_raw(text, dtype, little_endian=little_endian), [2])


def _bytes(content, start, number):
    """Some bytes as `[number]` uint8; 0 where the file ends before."""
    return tf.ensure_shape(tf.io.decode_raw(_text(content, start, number), tf.uint8), [number])


def _ints(content, start, number):
    return tf.cast(_bytes(content, start, number), tf.int32)


def _text(content, start, length):
    head = tf.strings.substr(content, 0, start + length)  # not the whole file again
    return tf.strings.substr(tf.strings.join([head, "\0" * (start + length)]), start, length)


def _little(digits):
    """The whole number of some bytes, the least significant first."""
    return tf.reduce_sum(digits * 256 ** tf.range(digits.shape[0]))
