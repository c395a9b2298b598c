"""Image files -> pixels, with errors that name the file."""

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from keras_fpn.console.errors import UserError
from keras_fpn.data import exif, image_heads, rewriting

_START, _END = "<<", ">>"  # around our sentence in a TensorFlow error, to find it again
_UNREADABLE = f": cannot be read as a {image_heads.FORMATS} image "
_DAMAGED = "(absent, cut short or damaged); replace the file, or remove it from the annotations"


def decode_image(
    path: str | tf.Tensor,
    expected_size: tf.Tensor | None = None,
    content: Callable[[], tf.Tensor] | None = None,
) -> tf.Tensor:
    """Read an image file as [height, width, 3] uint8 RGB, in pure TensorFlow operations.

    JPEG, PNG, BMP, WebP and the first picture of a GIF, the same pixels as `rewriting.upright` gives of Pillow's. Grey
    and CMYK become RGB, alpha is dropped. An image is turned as it is looked at (EXIF), unless it has the expected size
    only as it is stored.

    Args:
        path: string scalar; a name for errors where `content` is given.
        expected_size: [2] int32 height, width that the image must have, if given: those of the annotations, which tell
            which way their boxes were drawn. Where both ways fit (upside down, mirrored, square), the upright view
            counts, which labelling tools show. An image whose header says otherwise is not decoded.
        content: gives the file's content, string scalar, in place of reading it; where it fails the image cannot be
            read.

    Raises:
        tf.errors.InvalidArgumentError: the file cannot be decoded or has another size. It names the file;
            `readable_errors()` makes a UserError of it.
    """
    nothing = (tf.zeros([0, 0, 3], tf.uint8), tf.zeros([2], tf.int32), 1)
    image, stored, orientation = or_else(
        lambda one: _decode(tf.io.read_file(one) if content is None else content(), expected_size), path, nothing
    )
    upright, is_turned = tf.where(orientation >= 5, stored[::-1], stored), orientation > 1
    checks = [demand(tf.reduce_all(stored > 0), path, _UNREADABLE, _DAMAGED)]
    if expected_size is not None:
        is_turned &= tf.reduce_all(upright == expected_size)
        with tf.control_dependencies(checks):
            checks.append(_demand_size(path, stored, upright, expected_size))
    with tf.control_dependencies(checks):
        image = tf.cond(is_turned, lambda: exif.turn(image, orientation), lambda: image)
    return tf.ensure_shape(image, [None, None, 3])


@tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)  # traced once, not in each pipeline
def decode_pixels(content: tf.Tensor) -> tf.Tensor:
    """The pixels of a file as they are stored, `[height, width, 3]` uint8 RGB, alpha dropped.

    Raises:
        tf.errors.InvalidArgumentError: it is none of the formats, damaged, or one of the pictures that
            `rewriting.rewritten` is for: TensorFlow would read some of them as noise, and writes past its memory for
            animated WebP.
    """
    is_bmp = image_heads.is_bmp(content)
    is_odd = image_heads.is_animated_webp(content) | (is_bmp & ~image_heads.is_plain_bmp(content))
    return tf.case(
        [
            # The accurate method is Pillow's, hence what the published detectors were trained on.
            (
                tf.io.is_jpeg(content),
                lambda: tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE"),
            ),
            (is_odd, lambda: tf.io.decode_png(tf.strings.substr(content, 0, 0), channels=3)),  # which fails
            # TensorFlow takes nothing but the channels that a WebP has.
            (
                image_heads.has_webp_alpha(content),
                lambda: tf.io.decode_image(content, channels=4, expand_animations=False)[..., :3],
            ),
            (is_bmp & (image_heads.bmp_bits(content) == 8), lambda: _palette_bmp(content)),
            (image_heads.is_gif(content), lambda: _first_of_gif(content)),
        ],
        default=lambda: tf.io.decode_image(content, channels=3, expand_animations=False),
    )


def _palette_bmp(content):
    """The pixels of a BMP of 8 bits, of which TensorFlow gives the places in its palette as greys."""
    places = tf.cast(tf.io.decode_bmp(content, channels=3)[..., 0], tf.int32)
    return tf.gather(image_heads.bmp_palette(content), places)


def _first_of_gif(content):
    """The first picture of a GIF, which TensorFlow gives without the rest of the whole where it is smaller."""
    image = tf.io.decode_image(content, channels=3, expand_animations=False)
    with tf.control_dependencies([tf.debugging.assert_equal(tf.shape(image)[:2], image_heads.size_in_header(content))]):
        return tf.identity(image)


def or_else(function: Callable, given: tf.Tensor | str, otherwise: Any) -> Any:
    """`function(given)`, or `otherwise`, of the same structure, where an operation in it fails.

    A decoder's error does not say which file it met. So let it fail in a dataset that ignores errors and see whether
    anything came out (0.1 ms an image).
    """
    one = tf.data.Dataset.from_tensors(given)
    spare = one.map(lambda _: otherwise)
    return one.map(function).ignore_errors().concatenate(spare).take(1).get_single_element()


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
    """The sentence of `decode_image` in a TensorFlow error, or None if the error is about something else.

    Of a file that cannot be read, what it is by its first bytes: the graph has no words for that.
    """
    found = re.search(f"{_START}(.*?){_END}", str(error), re.DOTALL)
    if not found:
        return None
    sentence = _unescaped(found.group(1))
    path, unreadable, _ = sentence.partition(_UNREADABLE)
    return rewriting.why_unread(path) or sentence if unreadable else sentence


def _unescaped(text: str) -> str:
    """TensorFlow writes other bytes than printable ASCII as \\xc3 or \\303, and \\ before quotes."""

    def byte(match):
        code = match[1]
        if code[:1] == b"x" and len(code) == 3:
            return bytes([int(code[1:], 16)])
        return bytes([int(code, 8) % 256]) if len(code) == 3 else code

    return re.sub(rb"\\(x[0-9a-f]{2}|[0-7]{3}|.)", byte, text.encode()).decode(errors="replace")


def _decode(content, expected_size):
    """(pixels as stored, their height and width, orientation); no pixels where the header says another size."""
    said, orientation = image_heads.size_in_header(content), exif.orientation(content)
    is_wanted = tf.reduce_any(said <= 0)  # the header does not tell
    if expected_size is None:
        is_wanted |= True
    else:
        is_wanted |= tf.reduce_all(said == expected_size) | tf.reduce_all(said[::-1] == expected_size)

    def decoded():
        image = decode_pixels(content)
        return image, tf.shape(image)[:2]

    image, size = tf.cond(is_wanted, decoded, lambda: (tf.zeros([0, 0, 3], tf.uint8), said))
    return image, size, orientation


def _demand_size(path, stored, upright, expected_size):
    said, found, looked_at = (
        tf.strings.reduce_join(tf.strings.as_string(sides[::-1]), separator=" x ")
        for sides in (expected_size, stored, upright)
    )
    seen = tf.where(tf.reduce_all(stored == upright), "", tf.strings.join([" (", looked_at, " as it is looked at)"]))
    return demand(
        tf.reduce_all(stored == expected_size) | tf.reduce_all(upright == expected_size),
        path,
        *(": the annotations say ", said, " pixels (width x height), the file has ", found, seen),
        '; correct "width", "height" and the boxes, or replace the file',
    )


def demand(condition: bool | tf.Tensor, *parts: str | tf.Tensor) -> tf.Operation | None:
    """Assertion whose sentence, of texts and string scalars, `readable_errors` finds again."""
    return tf.debugging.Assert(condition, [tf.strings.join([_START, *parts, _END])])
