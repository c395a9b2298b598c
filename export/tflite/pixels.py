"""`PixelNormalization` for one image of a fixed size, in operations that LiteRT runs on all its threads.

Masks of bool are LiteRT's slow path: on an image of 320 x 640 they took a tenth of a whole MobileNet detector. Here
rows and columns outside the image are multiplied by 0, and a row of pixels is one vector of width * 3 numbers.
"""

from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from keras_fpn.layers.pixels import PixelNormalization


def normalize(layer: "PixelNormalization", images: tf.Tensor, image_sizes: tf.Tensor) -> tf.Tensor:
    """`PixelNormalization.call` for a batch of 1; padding may hold any finite values.

    Args:
        layer: a `PixelNormalization`.
        images: `[1, H, W, 3]` static, RGB 0..255, uint8 or float32.
        image_sizes: `[1, 2]` int32.

    Returns:
        `[1, H, W, 3]` float32.
    """
    _, height, width, _ = images.shape
    pixels = tf.cast(images, tf.float32)
    if layer.channel_order == "BGR":
        # A convolution that only changes the order: reversing an innermost axis copies number by number.
        pixels = tf.nn.conv2d(pixels, tf.reverse(tf.eye(3), [1])[None, None], 1, "VALID")
    pixels = tf.reshape(pixels, [1, height, width * 3])
    size = tf.cast(image_sizes, tf.float32)  # [1, 2]
    in_rows = _ones_below(np.arange(height), size[:, :1])[..., None]  # [1, H, 1]
    in_columns = _ones_below(np.repeat(np.arange(width), 3), size[:, 1:])  # [1, W * 3]
    scale = in_columns * np.tile(1.0 / np.array(layer.std, np.float32), width)
    pixels = (pixels - np.tile(np.array(layer.mean, np.float32), width)) * scale * in_rows
    return tf.reshape(pixels, [1, height, width, 3])


def _ones_below(places, limit):
    """1.0 where a whole number is below the limit, else 0.0."""
    return tf.clip_by_value(limit - places.astype(np.float32), 0.0, 1.0)
