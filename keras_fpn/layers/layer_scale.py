"""A learnt factor for each channel (Touvron et al., CaiT, ICCV 2021)."""

from typing import TYPE_CHECKING

import keras

from keras_fpn.layers.fixed_arguments import FixedArguments

if TYPE_CHECKING:
    import tensorflow as tf


@keras.saving.register_keras_serializable("keras_fpn")
class LayerScale(FixedArguments, keras.layers.Layer):
    """Maps times a factor for each channel.

    Args:
        initial: all factors at the beginning.
    """

    def __init__(self, initial=1.0, **kwargs):
        super().__init__(**kwargs)
        self.initial = initial

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        initializer = keras.initializers.Constant(self.initial)
        self.factors = self.add_weight(shape=input_shape[-1:], initializer=initializer, name="layer_scale")

    def call(self, inputs: "tf.Tensor") -> "tf.Tensor":
        """`[..., C] -> [..., C]`"""
        return inputs * self.factors

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape
