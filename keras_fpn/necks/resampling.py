"""From the grid of one level to that of another."""

import keras
import tensorflow as tf

from keras_fpn.ops.ordered_gradients import resize_nearest


@keras.saving.register_keras_serializable("keras_fpn")
class UpsampleLike(keras.layers.Layer):
    """Nearest-neighbour upsampling of the first map to the height and width of the second.

    To the second's own size rather than by two, so that sides which are not a multiple of 32 work (torchvision).
    """

    def call(self, coarse: tf.Tensor, fine: tf.Tensor) -> tf.Tensor:
        """`[B, h, w, C], [B, H, W, D] -> [B, H, W, C]`"""
        # Row i of H reads row floor(i h / H), torch's rule, also where sides are odd.
        return resize_nearest(coarse, tf.shape(fine)[1:3])

    def compute_output_shape(
        self, coarse_shape: tuple[int | None, ...], fine_shape: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        return (*fine_shape[:3], coarse_shape[3])


def subsample(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Every second cell, odd sides rounded up: a 1x1 max pooling of stride 2 (P6 of the paper)."""
    return keras.layers.MaxPooling2D(1, strides=2, name=name)(x)
