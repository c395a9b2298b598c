"""Encoded images of a request -> the batch that the detector takes, and its boxes back in their pixels.

All in TensorFlow operations, for a graph that runs without Python. Pixels are those of `data.decode` and
`inference`: JPEG by the accurate method, EXIF orientation applied, alpha dropped, of 16 bits the upper 8.

An image that is no image fails its request with an InvalidArgumentError that names its place in it, before anything of
its size is allocated.
"""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from keras_fpn.console.picture_files import MAX_PIXELS
from keras_fpn.data import exif, image_heads, picture_kinds, rewriting, transforms
from keras_fpn.data.decode import decode_pixels, or_else
from keras_fpn.parts.output_fields import BOXES, OutputField


def decode_batch(
    contents: tf.Tensor, rule: Mapping[str, Any], max_pixels: int = MAX_PIXELS
) -> dict[str, tf.Tensor]:
    """Decode, turn, resize and pad the images of a request.

    Args:
        contents: `[B]` strings, each a JPEG, PNG, BMP, GIF or WebP file; B at least 1.
        rule: `model.settings["resize"]`.
        max_pixels: an image with more is refused by its header alone.

    Returns:
        `{"images": [B, H, W, 3] float32 RGB 0..255, "image_sizes": [B, 2] int32, "original_sizes": [B, 2] int32}`:
        sizes are height and width after and before the resize, both as the image is looked at.

    Raises:
        tf.errors.InvalidArgumentError: when run, for what is none of these, is damaged or has more pixels.
    """
    heads = tf.map_fn(lambda content: _head(content, max_pixels), contents, fn_output_signature=_HEAD)
    with tf.control_dependencies([_demand_images(contents), _demand_none(heads["problem"])]):
        contents, sizes = tf.identity(contents), tf.identity(heads["size"])
    original_sizes = tf.where(heads["orientation"][:, None] >= 5, sizes[:, ::-1], sizes)
    limits = rule["min_side"], rule["max_side"]
    heights, widths = tf.unstack(original_sizes, axis=1)
    new_sizes = transforms.resize_size(heights, widths, *limits, rounding=rule["rounding"])
    new_sizes = tf.stack(new_sizes, axis=1)
    canvas = transforms.padded_side(tf.reduce_max(new_sizes, axis=0), rule["size_divisor"])

    def one(given):
        content, orientation, size = given
        pixels, problem = _decode(content)
        pixels = transforms.resize_image(exif.turn(pixels, orientation), size[0], size[1], rule["interpolation"])
        return transforms.pad_image(tf.cast(pixels, tf.float32), canvas[0], canvas[1]), problem

    signature = (tf.TensorSpec([None, None, 3], tf.float32), tf.TensorSpec([], tf.string))
    given = contents, heads["orientation"], new_sizes
    # Few at a time: of a large image, all pixels are in memory until it is resized.
    images, problems = tf.map_fn(one, given, fn_output_signature=signature, parallel_iterations=2)
    with tf.control_dependencies([_demand_none(problems)]):
        images = tf.identity(images)
    return {"images": images, "image_sizes": new_sizes, "original_sizes": original_sizes}


def to_original_pixels(
    found: Mapping[str, tf.Tensor], field: OutputField, sizes: tf.Tensor, original_sizes: tf.Tensor
) -> tf.Tensor:
    """Values of a field in resized images, `[B, D, ...]`, in pixels of the original ones; as they are if no places.

    Args:
        found: detections in resized images.
        field: the `OutputField`: its name, its `axes`, and whether it is clipped.
        sizes, original_sizes: `[B, 2]` height and width.
    """
    values = found[field.name]
    if not field.axes:
        return values
    scaled = _scaled(values, field, sizes, original_sizes)
    if not field.is_clipped:
        return scaled
    least = tf.constant([0.0 if axis in "xy" else values.dtype.min for axis in field.axes])
    most = _along(field.axes, original_sizes, values.dtype.max, len(values.shape))
    return tf.clip_by_value(scaled, least, most)


def placed(
    found: Mapping[str, tf.Tensor], field: OutputField, sizes: tf.Tensor, original_sizes: tf.Tensor
) -> tf.Tensor:
    """Values of a field brought into the original images, see `OutputField.place_in_graph`.

    They have as many rows as the image with the most detections needs, at least one. Arguments are those of
    `to_original_pixels`.
    """
    boxes = _scaled(found["boxes"], BOXES, sizes, original_sizes)
    number = tf.maximum(tf.reduce_max(found["num_detections"]), 1)
    return field.place_in_graph(found[field.name][:, :number], boxes[:, :number], original_sizes)


def _scaled(values, field, sizes, original_sizes):
    # Each axis by its own ratio: rounding makes the two differ.
    edges = _along(field.axes, original_sizes, 1.0, len(values.shape))
    return values * (edges / _along(field.axes, sizes, 1.0, len(values.shape)))


def _along(axes, sizes, other, rank):
    """Width or height of each image for each component of the last axis, `other` of those that are no places."""
    sides = {"x": tf.cast(sizes[:, 1], tf.float32), "y": tf.cast(sizes[:, 0], tf.float32)}
    no_place = tf.fill(tf.shape(sizes)[:1], other)
    columns = tf.stack([sides.get(axis, no_place) for axis in axes], axis=-1)
    return tf.reshape(columns, [-1, *[1] * (rank - 2), len(axes)])


# One image ----------------------------------------------------------------------------------------------------

_HEAD = {
    "size": tf.TensorSpec([2], tf.int32),  # height, width as stored
    "orientation": tf.TensorSpec([], tf.int32),
    "problem": tf.TensorSpec([], tf.string),  # "" if there is none
}


def _head(content, max_pixels):
    """Facts in the first bytes of an image: `_HEAD`."""
    is_picture = image_heads.is_picture(content)
    size = or_else(image_heads.size_in_header, tf.where(is_picture, content, ""), tf.zeros([2], tf.int32))
    pixels = tf.reduce_prod(tf.cast(size, tf.int64))
    written = [tf.strings.as_string(side) for side in (size[1], size[0], pixels)]
    too_large = tf.strings.join(
        ["has ", written[0], " x ", written[1], f" pixels by its header; at most {max_pixels} are decoded"]
    )
    is_odd = ~is_picture | tf.reduce_any(size < 1) | image_heads.is_animated_webp(content)
    other = tf.cond(is_odd, lambda: _other_kind(content), lambda: tf.constant(""))
    problem = tf.case(
        [
            (content == "", lambda: tf.constant("is empty")),
            (other != "", lambda: tf.strings.join(["is ", other, f", and no {image_heads.FORMATS} that is read here"])),
            (~is_picture, lambda: tf.constant(f"is no {image_heads.FORMATS} file")),
            (tf.reduce_any(size < 1), lambda: tf.constant("has a damaged header, or is cut short before its size")),
            (pixels > max_pixels, lambda: too_large),
        ],
        default=lambda: tf.constant(""),
    )
    orientation = tf.cond(problem == "", lambda: exif.orientation(content), lambda: 1)
    return {"size": size, "orientation": orientation, "problem": problem}


def _other_kind(content):
    """The name of what is not read here, where its first bytes tell."""
    unread = picture_kinds.unread(content)
    return tf.cond(unread == "", lambda: picture_kinds.foreign(content), lambda: unread)


def _decode(content):
    """`([height, width, 3] uint8 RGB, "")`, or one black pixel and what is wrong."""
    nothing = tf.zeros([0, 0, 3], tf.uint8)
    image = or_else(decode_pixels, content, nothing)
    is_there = tf.size(image) > 0
    problem = tf.where(is_there, "", f"cannot be decoded: it is cut short, damaged, or a {rewriting.PARTIAL_GIF}")
    return tf.cond(is_there, lambda: image, lambda: tf.zeros([1, 1, 3], tf.uint8)), problem


# Errors -------------------------------------------------------------------------------------------------------


def _demand_images(contents):
    return tf.debugging.Assert(tf.size(contents) > 0, ["image_bytes: no image in the request; send one or more"])


def _demand_none(problems):
    """Fail with every problem and the place of its image."""
    number = tf.size(problems)
    places = tf.range(number)
    of = tf.strings.join([" of ", tf.strings.as_string(number), "): "])
    lines = tf.strings.join(
        ["image_bytes[", tf.strings.as_string(places), "] (image ", tf.strings.as_string(places + 1), of, problems]
    )
    said = tf.strings.reduce_join(tf.boolean_mask(lines, problems != ""), separator="; ")
    return tf.debugging.Assert(tf.reduce_all(problems == ""), [said])
