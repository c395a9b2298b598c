"""A linear layer of each cell with a GELU after it, in one operation where TensorFlow has one."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("keras_fpn")
class PointwiseGELU(keras.layers.Conv2D):
    """`keras.layers.Conv2D(filters, 1, activation="gelu")`, computed as a product of matrices.

    TensorFlow on a CPU joins the exact GELU to a product and its bias, not to a convolution: of a map of 200 x 336
    cells and 96 channels the two layers of a block take half the time.

    Args:
        filters: channels that leave.
        **kwargs: of a Keras layer, and `kernel_initializer`.
    """

    def __init__(self, filters, **kwargs):
        super().__init__(filters, **kwargs | {"kernel_size": 1, "activation": "gelu"})

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """`[B, h, w, C] -> [B, h, w, filters]`"""
        dynamic = tf.shape(inputs)
        sides = [dynamic[axis] if inputs.shape[axis] is None else inputs.shape[axis] for axis in range(3)]
        kernel, bias = (tf.cast(variable.value, inputs.dtype) for variable in (self.kernel, self.bias))
        cells = tf.nn.bias_add(tf.matmul(tf.reshape(inputs, [-1, inputs.shape[-1]]), kernel[0, 0]), bias)
        return tf.reshape(keras.ops.gelu(cells, approximate=False), [*sides, self.filters])
