"""An image and the rows of its fields changed together, in pure TensorFlow operations.

Images are [height, width, 3] RGB 0..255, uint8 or float32; boxes [n, 4] float32 x1, y1, x2, y2 in pixels of the
image that goes with them; rows `{field: [n, ...]}`, each field a `fields.RowField` that says how its own change.
Nothing here draws random numbers: the pipeline passes what it drew, so every function can be tested by hand.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import tensorflow as tf

from keras_fpn.console.errors import UserError
from keras_fpn.data import pillow_resize

if TYPE_CHECKING:
    from keras_fpn.data.fields import RowField

INTERPOLATIONS = {"pillow": pillow_resize.resize_pillow, "bilinear": pillow_resize.resize_bilinear}


def resize_size(
    height: int | tf.Tensor,
    width: int | tf.Tensor,
    min_side: int | tf.Tensor,
    max_side: int | tf.Tensor,
    rounding: str = "half_up",
) -> tuple[tf.Tensor, ...]:
    """Size after scaling the shorter side to `min_side`, or less where the longer would pass `max_side`.

    Args:
        height, width, min_side, max_side: whole numbers or int32 scalars, pixels.
        rounding: "half_up" as detectron2's ResizeShortestEdge (480 x 640 -> 800 x 1067) or "floor" as
            torchvision's GeneralizedRCNNTransform (800 x 1066).

    Returns:
        (new_height, new_width), int32 scalars, at least 1.
    """
    # float64 and this order of operations: the references compute in Python floats.
    height, width, min_side, max_side = (
        tf.cast(value, tf.float64) for value in (height, width, min_side, max_side)
    )
    short, long = tf.minimum(height, width), tf.maximum(height, width)
    if rounding == "floor":
        scale = tf.minimum(min_side / short, max_side / long)
        sides = (tf.floor(height * scale), tf.floor(width * scale))
    elif rounding == "half_up":
        scale = min_side / short
        # The shorter side is exact by definition; a product could miss it by one bit.
        new_height = tf.where(height < width, min_side, scale * height)
        new_width = tf.where(height < width, scale * width, min_side)
        shrink = tf.minimum(max_side / tf.maximum(new_height, new_width), 1.0)
        sides = (tf.floor(new_height * shrink + 0.5), tf.floor(new_width * shrink + 0.5))
    else:
        raise UserError(f'rounding must be "half_up" or "floor", not {rounding!r}')
    return tuple(tf.maximum(tf.cast(side, tf.int32), 1) for side in sides)


def fit_size(
    height: int | tf.Tensor, width: int | tf.Tensor, frame_height: float | tf.Tensor, frame_width: float | tf.Tensor
) -> tuple[tf.Tensor, ...]:
    """Largest size of the same shape inside a frame, rounded half up; (new_height, new_width) int32."""
    height, width = tf.cast(height, tf.float64), tf.cast(width, tf.float64)
    frame_height, frame_width = tf.cast(frame_height, tf.float64), tf.cast(frame_width, tf.float64)
    scale = tf.minimum(frame_height / height, frame_width / width)
    sides = (
        tf.minimum(tf.floor(height * scale + 0.5), tf.floor(frame_height)),
        tf.minimum(tf.floor(width * scale + 0.5), tf.floor(frame_width)),
    )
    return tuple(tf.maximum(tf.cast(side, tf.int32), 1) for side in sides)


def resize_image(
    image: tf.Tensor, new_height: int | tf.Tensor, new_width: int | tf.Tensor, interpolation: str = "pillow"
) -> tf.Tensor:
    """Bring the pixels [height, width, 3] to [new_height, new_width, 3].

    Args:
        interpolation: "pillow" (detectron2) takes uint8 and returns uint8; "bilinear" (torchvision) returns float32.
            See `pillow_resize`.
    """
    if interpolation not in INTERPOLATIONS:
        raise UserError(f'interpolation must be "pillow" or "bilinear", not {interpolation!r}')
    return INTERPOLATIONS[interpolation](image, new_height, new_width)


def scale_boxes(boxes: tf.Tensor, old_size: Sequence[tf.Tensor], new_size: Sequence[tf.Tensor]) -> tf.Tensor:
    """Boxes scaled by the ratio of each axis (the two differ, since sides are rounded).

    Args:
        boxes: [n, 4] float32 pixels of the old image.
        old_size, new_size: (height, width).
    """
    ratio_y = tf.cast(new_size[0], tf.float32) / tf.cast(old_size[0], tf.float32)
    ratio_x = tf.cast(new_size[1], tf.float32) / tf.cast(old_size[1], tf.float32)
    return boxes * tf.stack([ratio_x, ratio_y, ratio_x, ratio_y])


def flip_boxes(boxes: tf.Tensor, width: int | tf.Tensor) -> tf.Tensor:
    """Boxes of the image mirrored left and right: x1' = width - x2, x2' = width - x1."""
    width = tf.cast(width, tf.float32)
    x1, y1, x2, y2 = tf.unstack(boxes, axis=-1)
    return tf.stack([width - x2, y1, width - x1, y2], axis=-1)


class Window(NamedTuple):
    """A part of an image, in pixels of it; int32 scalars. It may reach beyond the image where a function says so."""

    top: tf.Tensor
    left: tf.Tensor
    height: tf.Tensor
    width: tf.Tensor


def crop_boxes(boxes: tf.Tensor, window: Window) -> tf.Tensor:
    """Boxes in pixels of a window, clipped to it; some may be empty."""
    height, width = (tf.cast(side, tf.float32) for side in (window.height, window.width))
    offset = tf.cast(tf.stack([window.left, window.top, window.left, window.top]), tf.float32)
    return tf.clip_by_value(boxes - offset, 0.0, tf.stack([width, height, width, height]))


def has_a_pixel(boxes: tf.Tensor) -> tf.Tensor:
    """`[n]` bool: whether a box is at least one pixel wide and high."""
    return tf.reduce_all(boxes[:, 2:] - boxes[:, :2] >= 1.0, axis=-1)


def flip_horizontal(
    image: tf.Tensor, rows: "Mapping[RowField, tf.Tensor]"
) -> "tuple[tf.Tensor, dict[RowField, tf.Tensor]]":
    """Image and rows mirrored left and right."""
    size = tf.shape(image)[:2]
    return tf.reverse(image, axis=[1]), {field: field.flip(own, size) for field, own in rows.items()}


def resize(
    image: tf.Tensor, rows: "Mapping[RowField, tf.Tensor]", new_size: Sequence[tf.Tensor], interpolation: str = "pillow"
) -> "tuple[tf.Tensor, dict[RowField, tf.Tensor]]":
    """Image and rows brought to `new_size` (height, width)."""
    size = tf.shape(image)[:2]
    resized = resize_image(image, new_size[0], new_size[1], interpolation)
    return resized, {field: field.scale(own, size, new_size) for field, own in rows.items()}


def crop(
    image: tf.Tensor,
    rows: "Mapping[RowField, tf.Tensor]",
    top: int | tf.Tensor,
    left: int | tf.Tensor,
    height: int,
    width: int,
) -> "tuple[tf.Tensor, dict[RowField, tf.Tensor]]":
    """Cut a window out of the image, less at its border, and leave out the objects that it loses.

    Returns:
        (image, rows): objects stay that all fields with a say in it find shown and left (`RowField.is_shown`,
        `RowField.is_left`).
    """
    image = image[top : top + height, left : left + width]
    window = Window(top, left, *tf.unstack(tf.shape(image)[:2]))
    return image, crop_rows(rows, window)


def view(
    image: tf.Tensor,
    rows: "Mapping[RowField, tf.Tensor]",
    window: Window,
    fill: float,
    is_kept: tf.Tensor | None = None,
) -> "tuple[tf.Tensor, dict[RowField, tf.Tensor]]":
    """Show what a window shows, all of it: `fill` where it reaches beyond the image, whole grey levels.

    Args:
        is_kept: `[n]` bool, which objects may stay; see `drop_lost`.
    """
    return window_of(image, window, fill), crop_rows(rows, window, is_kept)


def window_of(pixels: tf.Tensor, window: Window, fill: float, axis: int = 0) -> tf.Tensor:
    """The part of pixels that a window shows, `fill` where it reaches beyond them.

    Args:
        axis: of their height; that of their width is the next.
    """
    length, side = (window.height, window.width), tf.shape(pixels)
    slices, paddings = [slice(None)] * axis, [(0, 0)] * axis
    for number, start in enumerate((window.top, window.left)):
        first = tf.clip_by_value(start, 0, side[axis + number])
        last = tf.clip_by_value(start + length[number], 0, side[axis + number])
        before = tf.clip_by_value(-start, 0, length[number])
        slices.append(slice(first, last))
        paddings.append((before, length[number] - before - (last - first)))
    paddings += [(0, 0)] * (len(pixels.shape) - axis - 2)
    return tf.pad(pixels[tuple(slices)], paddings, constant_values=tf.cast(fill, pixels.dtype))


def crop_rows(
    rows: "Mapping[RowField, tf.Tensor]", window: Window, is_kept: tf.Tensor | None = None
) -> "dict[RowField, tf.Tensor]":
    """Rows of an image cut to a window, which may reach beyond it, without the objects that are lost."""
    (boxes,) = (own for field, own in rows.items() if field.name == "boxes")
    votes = [] if is_kept is None else [is_kept]
    votes += [vote for vote in (field.is_shown(own, window) for field, own in rows.items()) if vote is not None]
    is_shown = tf.reduce_all(tf.stack(votes), axis=0) if votes else None
    return drop_lost({field: field.crop(own, window, boxes) for field, own in rows.items()}, is_shown)


def drop_lost(
    rows: "Mapping[RowField, tf.Tensor]", is_kept: tf.Tensor | None = None
) -> "dict[RowField, tf.Tensor]":
    """Rows of the objects that all fields with a say in it find left (`RowField.is_left`), and `is_kept` `[n]` too."""
    votes = [vote for vote in (field.is_left(own) for field, own in rows.items()) if vote is not None]
    votes += [] if is_kept is None else [is_kept]
    is_left = tf.reduce_all(tf.stack(votes), axis=0)
    return {field: field.without_lost(own, is_left) for field, own in rows.items()}


def pad_image(image: tf.Tensor, height: int | tf.Tensor, width: int | tf.Tensor) -> tf.Tensor:
    """Zeros to the bottom and the right, up to height x width; boxes need no change."""
    shape = tf.shape(image)
    return tf.pad(image, [[0, height - shape[0]], [0, width - shape[1]], [0, 0]])


def padded_side(side: int | tf.Tensor, divisor: int) -> int | tf.Tensor:
    """The next multiple of `divisor` from `side` up."""
    return (side + divisor - 1) // divisor * divisor
