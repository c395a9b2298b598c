"""From RGB 0..255 to the pixels that a backbone was trained on."""

import keras
import tensorflow as tf

from keras_fpn.layers.fixed_arguments import FixedArguments


@keras.saving.register_keras_serializable("keras_fpn")
class PixelNormalization(FixedArguments, keras.layers.Layer):
    """Order the channels, subtract the mean, divide by the standard deviation; padding stays zero.

    Padding is set to zero after normalisation, as Detectron, detectron2 and torchvision have it: to the backbone
    it looks like an image of the mean colour.

    Args:
        channel_order: "RGB" or "BGR", the order that the backbone expects.
        mean: three numbers in 0..255, in the order of `channel_order`.
        std: three numbers in 0..255, in the order of `channel_order`.
    """

    def __init__(self, channel_order="RGB", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), **kwargs):
        super().__init__(autocast=False, **kwargs)
        if channel_order not in ("RGB", "BGR"):
            raise ValueError(f'channel_order must be "RGB" or "BGR", not {channel_order!r}')
        self.channel_order = channel_order
        self.mean = [float(value) for value in mean]
        self.std = [float(value) for value in std]

    def call(self, images: tf.Tensor, image_sizes: tf.Tensor) -> tf.Tensor:
        """Normalise a batch.

        Args:
            images: `[B, H, W, 3]` RGB 0..255, uint8 or float.
            image_sizes: `[B, 2]` height and width of the valid part, pixels.

        Returns:
            `[B, H, W, 3]` in the layer's compute dtype, zero outside the valid part.
        """
        pixels = tf.cast(images, tf.float32)
        if self.channel_order == "BGR":
            pixels = pixels[..., ::-1]
        # A row of values at a time: three channels by themselves take TensorFlow three times as long.
        height, width = tf.unstack(tf.shape(images)[1:3])
        rows = tf.reshape(pixels, [-1, height, 3 * width])
        rows = (rows - tf.tile(self.mean, [width])) / tf.tile(self.std, [width])
        is_row = tf.sequence_mask(image_sizes[:, 0], height)[:, :, None]
        is_valid = is_row & tf.sequence_mask(3 * image_sizes[:, 1], 3 * width)[:, None]
        # where, not a product: a product would keep a NaN of the padding.
        pixels = tf.reshape(tf.where(is_valid, rows, 0.0), [-1, height, width, 3])
        return tf.cast(pixels, self.compute_dtype)
