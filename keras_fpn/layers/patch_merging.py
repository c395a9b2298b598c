"""Four neighbouring cells of a map become one (Liu et al., Swin Transformer, ICCV 2021)."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("keras_fpn")
class PatchMerging(keras.layers.Layer):
    """The channels of each square of 2 x 2 cells one after the other, column by column; odd sides are padded with 0."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """`[B, h, w, C] -> [B, ceil(h / 2), ceil(w / 2), 4 C]`"""
        odd = tf.shape(inputs)[1:3] % 2
        maps = tf.pad(inputs, [[0, 0], [0, odd[0]], [0, odd[1]], [0, 0]])
        return tf.concat([maps[:, row::2, column::2] for column in (0, 1) for row in (0, 1)], -1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, height, width, channels = input_shape
        height, width = (None if side is None else -(-side // 2) for side in (height, width))
        return batch, height, width, None if channels is None else 4 * channels
