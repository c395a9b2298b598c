"""Which way up a photograph is looked at: the orientation in a JPEG, PNG or WebP file, in pure TensorFlow operations.

A camera stores the pixels as its sensor read them and notes how to turn them. The note is tag 274 of the first
directory of the EXIF block (TIFF 6.0, section 2), which a JPEG has in a segment APP1, a PNG in a chunk eXIf and a WebP
in a chunk EXIF; without it `tiff:Orientation` of an XMP block counts, as in Pillow. What is broken is passed over: such
an image is as stored.

Data are `[n]` uint8 here, places in them int64 scalars; a block is (first byte, length), length 0 for none.
"""

import tensorflow as tf

from keras_fpn.data import image_heads

ORIENTATION_TAG = 274
MAX_SEGMENTS = 10_000  # looked at in one file: a forged one could have millions of empty ones

_SHORT, _LONG = 3, 4  # TIFF's types of a whole number; of others Pillow does not turn either
_NO_BLOCK = (0, 0)


@tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)  # traced once, not in each pipeline
def orientation(content: tf.Tensor) -> tf.Tensor:
    """Orientation 1..8 of an encoded image, 1 where nothing (readable) is said.

    A look for the words spares most files the walk through their parts.

    Args:
        content: string scalar, a file.

    Returns:
        int32 scalar; 1 as stored, 2 mirrored left to right, 3 turned by 180 degrees, 4 mirrored top to bottom, 5
        transposed, 6 to be turned clockwise by 90 degrees, 7 transposed over the other diagonal, 8 anticlockwise.
    """
    has_words = tf.strings.regex_full_match(content, r"\C*(?:Exif|eXIf|EXIF|tiff:Orientation)\C*")
    return tf.cond(has_words, lambda: _walked(content), lambda: 1)


def _walked(content):
    data = _bytes_of(content)
    blocks = tf.case(
        [
            (image_heads.is_webp(content), lambda: _webp_blocks(data)),
            (image_heads.is_png(content), lambda: _png_blocks(data)),
        ],
        default=lambda: _jpeg_blocks(data),
    )
    return _said(content, data, *blocks)


def _said(content, data, exif, xmp):
    said = _orientation_of_exif(data, *exif)
    said = tf.cond(said >= 0, lambda: said, lambda: _orientation_of_xmp(content, *xmp))
    return tf.where((said >= 1) & (said <= 8), said, 1)


def turn(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """The image `[height, width, 3]` as it is looked at."""
    image = tf.cond(orientation >= 5, lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
    step = (orientation - 1) % 4  # 0 nothing, 1 left to right, 2 both ways, 3 top to bottom
    axes = tf.boolean_mask([0, 1], tf.stack([step >= 2, (step == 1) | (step == 2)]))
    return tf.ensure_shape(tf.reverse(image, axes), [None, None, 3])


# Walks through the file ---------------------------------------------------------------------------------------


def _jpeg_blocks(data):
    """(EXIF block, XMP block) of a JPEG: the first segments APP1 of either kind before the pixels."""

    def step(position, exif, xmp):
        lead, marker = tf.unstack(_bytes(data, position, 2))
        length = tf.maximum(_number(data, position + 2, 2), 2)
        block = (position + 4, length - 2)
        is_app1 = (lead == 0xFF) & (marker == 0xE1)
        exif = _keep(is_app1 & _starts_with(data, position + 4, b"Exif\0\0") & (exif[1] == 0), block, exif)
        xmp = _keep(is_app1 & _starts_with(data, position + 4, b"http://ns.adobe.com/xap/") & (xmp[1] == 0), block, xmp)
        is_padding = (lead != 0xFF) | (marker == 0xFF) | (marker == 0)
        is_bare = ((marker >= 0xD0) & (marker <= 0xD8)) | (marker == 1)  # markers without a length
        forward = tf.where(~is_padding, tf.where(~is_bare, length + 2, 2), 1)
        is_last = ~is_padding & ((marker == 0xD9) | (marker == 0xDA))  # end of the image, start of the pixels
        return tf.where(is_last, _size(data), position + forward), exif, xmp

    return _walk(data, 2, step)


def _png_blocks(data):
    """(EXIF block, XMP block) of a PNG: the chunk eXIf, and the iTXt of that name."""

    def step(position, exif, xmp):
        length = _number(data, position, 4)
        block = (position + 8, length)
        exif = _keep(_starts_with(data, position + 4, b"eXIf"), block, exif)
        xmp = _keep(_starts_with(data, position + 4, b"iTXtXML:com.adobe.xmp\0") & (xmp[1] == 0), block, xmp)
        return position + length + 12, exif, xmp

    return _walk(data, 8, step)


def _webp_blocks(data):
    """(EXIF block, XMP block) of a WebP: its chunks EXIF and XMP, of even length."""

    def step(position, exif, xmp):
        length = _number(data, position + 4, 4, little=True)
        block = (position + 8, length)
        exif = _keep(_starts_with(data, position, b"EXIF") & (exif[1] == 0), block, exif)
        xmp = _keep(_starts_with(data, position, b"XMP ") & (xmp[1] == 0), block, xmp)
        return position + 8 + length + length % 2, exif, xmp

    return _walk(data, 12, step)


def _walk(data, start, step):
    start = tf.constant(start, tf.int64)
    none = tuple(tf.constant(value, tf.int64) for value in _NO_BLOCK)
    _, exif, xmp = tf.while_loop(
        lambda position, *_: position < _size(data),
        step,
        (start, none, none),
        parallel_iterations=1,
        maximum_iterations=MAX_SEGMENTS,
    )
    return exif, xmp


def _keep(condition, block, other):
    return tuple(tf.where(condition, one, two) for one, two in zip(block, other, strict=True))


# What the blocks say ------------------------------------------------------------------------------------------


def _orientation_of_exif(data, start, length):
    """Value of the tag in the first directory of a TIFF block, int32; -1 without one."""
    for _ in range(2):  # some writers put the prefix of a JPEG into a PNG, or write it twice
        skipped = 6 * tf.cast(_starts_with(data, start, b"Exif\0\0"), tf.int64)
        start, length = start + skipped, length - skipped
    block = tf.pad(data[start : tf.minimum(start + tf.maximum(length, 0), _size(data))], [[0, 1]])
    first = tf.constant(0, tf.int64)
    little = _starts_with(block, first, b"II")
    is_tiff = little | _starts_with(block, first, b"MM")
    directory = _number(block, first + 4, 4, little)
    count = tf.minimum(_number(block, directory, 2, little), (_size(block) - directory - 2) // 12)
    entries = directory + 2 + 12 * tf.range(tf.where(is_tiff, tf.maximum(count, 0), 0))
    is_one = _number(block, entries + 4, 4, little) == 1
    is_tag = (_number(block, entries, 2, little) == ORIENTATION_TAG) & is_one
    # The last one counts: a zero before them stands for "none found".
    entry = tf.concat([first[None], tf.boolean_mask(entries, is_tag)], axis=0)[-1]
    kind = _number(block, entry + 2, 2, little)
    value = tf.where(kind == _SHORT, _number(block, entry + 8, 2, little), _number(block, entry + 8, 4, little))
    is_known = (entry > 0) & ((kind == _SHORT) | (kind == _LONG))
    return tf.where(is_known, tf.cast(tf.minimum(value, 255), tf.int32), -1)


def _orientation_of_xmp(content, start, length):
    """The digit behind the first `tiff:Orientation` of an XMP block, int32; -1 without one."""
    text = tf.strings.substr(content, start, length)
    pattern = r'(?s)^.*?tiff:Orientation(?:="|>)([0-9]).*$'
    digit = tf.strings.regex_replace(text, pattern, r"\1")
    is_found = tf.strings.regex_full_match(digit, "[0-9]")
    return tf.strings.to_number(tf.where(is_found, digit, "-1"), tf.int32)


# Bytes --------------------------------------------------------------------------------------------------------


def _bytes_of(content):
    """The bytes of a string scalar and a zero behind them: what is read past the end is that zero."""
    return tf.io.decode_raw(tf.strings.join([content, "\0"]), tf.uint8)


def _size(data):
    return tf.size(data, tf.int64) - 1


def _bytes(data, position, number):
    """`number` bytes from each position, `[..., number]` int64."""
    places = position[..., None] + tf.range(number, dtype=tf.int64)
    return tf.cast(tf.gather(data, tf.minimum(places, _size(data))), tf.int64)


def _number(data, position, size, little=False):
    """Whole number of `size` bytes without sign, int64; the most significant byte first unless `little`."""
    powers = [256**index for index in range(size)]
    weights = tf.where(little, tf.constant(powers, tf.int64), tf.constant(powers[::-1], tf.int64))
    return tf.reduce_sum(_bytes(data, position, size) * weights, axis=-1)


def _starts_with(data, position, text):
    return tf.reduce_all(_bytes(data, position, len(text)) == tf.constant(list(text), tf.int64))
