"""Image and boxes changed together, in pure TensorFlow operations.

Images are [height, width, 3] RGB 0..255, uint8 or float32; boxes [n, 4] float32 x1, y1, x2, y2 in pixels of the
image that goes with them. Nothing here draws random numbers: the pipeline passes what it drew, so every function
can be tested by hand.
"""

import tensorflow as tf

from keras_fpn.data import resampling
from keras_fpn.errors import UserError

INTERPOLATIONS = {"pillow": resampling.resize_pillow, "bilinear": resampling.resize_bilinear}


def resize_size(height, width, min_side, max_side, rounding: str = "half_up"):
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


def fit_size(height, width, frame_height, frame_width):
    """Largest size of the same shape inside a frame, rounded half up; (new_height, new_width) int32."""
    height, width = tf.cast(height, tf.float64), tf.cast(width, tf.float64)
    frame_height, frame_width = tf.cast(frame_height, tf.float64), tf.cast(frame_width, tf.float64)
    scale = tf.minimum(frame_height / height, frame_width / width)
    sides = (
        tf.minimum(tf.floor(height * scale + 0.5), tf.floor(frame_height)),
        tf.minimum(tf.floor(width * scale + 0.5), tf.floor(frame_width)),
    )
    return tuple(tf.maximum(tf.cast(side, tf.int32), 1) for side in sides)


def resize_image(image, new_height, new_width, interpolation: str = "pillow"):
    """Bring the pixels [height, width, 3] to [new_height, new_width, 3].

    Args:
        interpolation: "pillow" (detectron2) takes uint8 and returns uint8; "bilinear" (torchvision) returns float32.
            See `resampling`.
    """
    if interpolation not in INTERPOLATIONS:
        raise UserError(f'interpolation must be "pillow" or "bilinear", not {interpolation!r}')
    return INTERPOLATIONS[interpolation](image, new_height, new_width)


def scale_boxes(boxes, old_size, new_size):
    """Boxes scaled by the ratio of each axis (the two differ, since sides are rounded).

    Args:
        boxes: [n, 4] float32 pixels of the old image.
        old_size, new_size: (height, width).
    """
    ratio_y = tf.cast(new_size[0], tf.float32) / tf.cast(old_size[0], tf.float32)
    ratio_x = tf.cast(new_size[1], tf.float32) / tf.cast(old_size[1], tf.float32)
    return boxes * tf.stack([ratio_x, ratio_y, ratio_x, ratio_y])


def resize(image, boxes, new_size, interpolation: str = "pillow"):
    """Image and boxes brought to `new_size` (height, width)."""
    shape = tf.shape(image)
    resized = resize_image(image, new_size[0], new_size[1], interpolation)
    return resized, scale_boxes(boxes, (shape[0], shape[1]), new_size)


def flip_horizontal(image, boxes):
    """Mirror left and right: x1' = width - x2, x2' = width - x1."""
    width = tf.cast(tf.shape(image)[1], tf.float32)
    x1, y1, x2, y2 = tf.unstack(boxes, axis=-1)
    return tf.reverse(image, axis=[1]), tf.stack([width - x2, y1, width - x1, y2], axis=-1)


def crop(image, boxes, top, left, height, width):
    """Cut the window out of the image (less at its border) and clip the boxes to it.

    Returns:
        image, boxes (clipped, some may be empty), kept: [n] bool, at least one pixel of the box is left each
        way.
    """
    image = image[top : top + height, left : left + width]
    size = tf.cast(tf.shape(image), tf.float32)
    offset = tf.cast(tf.stack([left, top, left, top]), tf.float32)
    boxes = tf.clip_by_value(boxes - offset, 0.0, tf.stack([size[1], size[0], size[1], size[0]]))
    kept = tf.reduce_all(boxes[:, 2:] - boxes[:, :2] >= 1.0, axis=-1)
    return image, boxes, kept


def pad_image(image, height, width):
    """Zeros to the bottom and the right, up to height x width; boxes need no change."""
    shape = tf.shape(image)
    return tf.pad(image, [[0, height - shape[0]], [0, width - shape[1]], [0, 0]])


def padded_side(side, divisor: int):
    """The next multiple of `divisor` from `side` up."""
    return (side + divisor - 1) // divisor * divisor
