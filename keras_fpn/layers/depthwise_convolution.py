"""Depthwise convolutions with the normalisation after them."""

from typing import Any

import keras
import tensorflow as tf

from keras_fpn.layers.normalization import scale_and_shift


@keras.saving.register_keras_serializable("keras_fpn")
class NormalizedDepthwiseConv2D(keras.layers.DepthwiseConv2D):
    """`keras.layers.DepthwiseConv2D` without bias, and a normalisation of its channels.

    Statistics that are given are multiplied into the kernel, which is small: TensorFlow joins a normalisation to a
    convolution over all channels, but not to this one, and would go over the map once more.

    Args:
        kernel_size: see Keras.
        norm: the normalisation, a layer of `normalization.build_norm`; it takes on the dtype policy of this one.
        **kwargs: see Keras.
    """

    def __init__(self, kernel_size, norm, **kwargs):
        super().__init__(kernel_size, **kwargs | {"use_bias": False})
        self.norm = norm
        self.norm.dtype_policy = self.dtype_policy

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        if not self.norm.built:  # as it is when it was read from a file
            self.norm.build(self.compute_output_shape(input_shape))
        super().build(input_shape)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """`[B, h, w, C] -> [B, h', w', C]`"""
        if not hasattr(self.norm, "moving_variance"):  # of groups: nothing is given
            return self.norm(super().call(inputs))
        learns_statistics = training and self.norm.trainable_variables
        # A kernel of few digits would be rounded twice.
        if learns_statistics or self.compute_dtype != self.variable_dtype:
            return self.norm(super().call(inputs), training=training)
        scale, shift = scale_and_shift(self.norm)
        kernel = self.kernel.value * scale[:, None]
        return tf.nn.bias_add(keras.ops.depthwise_conv(inputs, kernel, self.strides, self.padding), shift)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"norm": keras.saving.serialize_keras_object(self.norm)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "NormalizedDepthwiseConv2D":
        return cls(**config | {"norm": keras.saving.deserialize_keras_object(config["norm"])})
