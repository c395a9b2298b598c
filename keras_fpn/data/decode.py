"""Image files -> pixels, with errors that name the file."""

import contextlib
import re
from collections.abc import Iterator

import tensorflow as tf

from keras_fpn.console.errors import UserError

_START, _END = "<<", ">>"  # around our sentence in a TensorFlow error, to find it again


def decode_image(path: str | tf.Tensor, expected_size: tf.Tensor | None = None) -> tf.Tensor:
    """Read an image file as [height, width, 3] uint8 RGB, in pure TensorFlow operations.

    JPEG, PNG, BMP, WebP and the first picture of a GIF, the same pixels as Pillow's. Grey and CMYK become
    RGB, alpha is dropped, EXIF is not read.

    Args:
        path: string scalar.
        expected_size: [2] int32 height, width that the image must have, if given.

    Raises:
        tf.errors.InvalidArgumentError: the file cannot be decoded or has another size. It names the file;
            `readable_errors()` makes a UserError of it.
    """
    one = tf.data.Dataset.from_tensors(path)
    # A decoder's error does not say which file it met. So let it fail in a dataset that ignores errors and
    # see whether anything came out (0.1 ms an image).
    nothing = one.map(lambda _: tf.zeros([0, 0, 3], tf.uint8))
    image = one.map(_decode).ignore_errors().concatenate(nothing).take(1).get_single_element()
    checks = [
        _demand(
            tf.size(image) > 0,
            path,
            ": cannot be read as a JPEG, PNG, BMP, GIF or WebP image (absent, cut short or damaged); ",
            "replace the file, or remove it from the annotations",
        )
    ]
    if expected_size is not None:
        with tf.control_dependencies(checks):
            checks.append(_demand_size(path, tf.shape(image)[:2], expected_size))
    with tf.control_dependencies(checks):
        return tf.ensure_shape(tf.identity(image), [None, None, 3])


@contextlib.contextmanager
def readable_errors() -> Iterator[None]:
    """Within this context a bad image met by the pipeline raises a one-line `UserError` naming the file."""
    try:
        yield
    except tf.errors.OpError as error:
        message = bad_image_message(error)
        if message is None:
            raise
        raise UserError(message) from None


def bad_image_message(error: Exception) -> str | None:
    """The sentence of `decode_image` in a TensorFlow error, or None if the error is about something else."""
    found = re.search(f"{_START}(.*?){_END}", str(error), re.DOTALL)
    return _unescaped(found.group(1)) if found else None


def _unescaped(text: str) -> str:
    """TensorFlow writes other bytes than printable ASCII as \\xc3 or \\303, and \\ before quotes."""

    def byte(match):
        code = match[1]
        if code[:1] == b"x" and len(code) == 3:
            return bytes([int(code[1:], 16)])
        return bytes([int(code, 8) % 256]) if len(code) == 3 else code

    return re.sub(rb"\\(x[0-9a-f]{2}|[0-7]{3}|.)", byte, text.encode()).decode(errors="replace")


def _decode(path):
    content = tf.io.read_file(path)
    return tf.cond(
        tf.io.is_jpeg(content),
        # The accurate method is Pillow's, hence what the published detectors were trained on.
        lambda: tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE"),
        lambda: tf.io.decode_image(content, channels=3, expand_animations=False),
    )


def _demand_size(path, size, expected_size):
    said, found = (
        tf.strings.reduce_join(tf.strings.as_string(sides[::-1]), separator=" x ")
        for sides in (expected_size, size)
    )
    return _demand(
        tf.reduce_all(size == expected_size),
        path,
        *(": the annotations say ", said, " pixels (width x height), the file has ", found),
        ' (EXIF rotation is not applied); correct "width", "height" and the boxes, or replace the file',
    )


def _demand(condition, *parts):
    return tf.debugging.Assert(condition, [tf.strings.join([_START, *parts, _END])])
