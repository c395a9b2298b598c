"""Branches that are left out of whole images in training (Huang et al., ECCV 2016)."""

import zlib

import keras
import tensorflow as tf

from keras_fpn.layers.fixed_arguments import FixedArguments


@keras.saving.register_keras_serializable("keras_fpn")
class StochasticDepth(FixedArguments, keras.layers.Layer):
    """Maps as they are; in training 0 for some images, and more for the others by as much.

    What is drawn follows from the layer's name and the number of its calls in training, which is one of its weights: a
    run that is resumed draws what it would have drawn. (That of Keras' generators is in no file.)

    Args:
        rate: share of images that get 0.
    """

    def __init__(self, rate, **kwargs):
        super().__init__(**kwargs)
        self.rate = rate

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.calls = self.add_weight(shape=(), dtype="int32", initializer="zeros", trainable=False, name="calls")

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """`[B, ...] -> [B, ...]`"""
        if not training:
            return inputs
        seed = tf.stack([tf.constant(zlib.crc32(self.name.encode()) & 0x7FFFFFFF), self.calls.value])
        self.calls.assign(self.calls + 1)
        shape = tf.concat([tf.shape(inputs)[:1], tf.ones([inputs.shape.rank - 1], tf.int32)], 0)
        is_kept = tf.random.stateless_uniform(shape, seed) >= self.rate
        return inputs * tf.cast(tf.where(is_kept, 1.0 / (1.0 - self.rate), 0.0), inputs.dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape
