"""Convolutions in groups of channels (Xie et al., CVPR 2017: ResNeXt), by TensorFlow's own operator."""

import functools

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("keras_fpn")
class GroupedConv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D` with `groups`, in one operator that all runtimes have and whose gradient is quick.

    Keras compiles convolutions in groups with XLA, for an error on the CPU that TensorFlow no longer has (2.21) where
    oneDNN is: that goes into no TFLite or ONNX file, and a gradient takes a hundred times as long (5 to 10 s for one
    layer of ResNeXt-101 at 800 x 1056, where TensorFlow's takes 50 ms on a core). Where TensorFlow has no gradient, in
    float64 and on CPUs that it does not use oneDNN on (those without AVX-512), the groups are taken one by one.
    """

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """The convolution without bias: `[B, H, W, C]` and `[h, w, C / groups, filters]` -> `[B, H', W', filters]`."""
        kernel = tf.convert_to_tensor(kernel)
        if inputs.dtype == tf.float64 or not has_operator():
            return self._one_by_one(inputs, kernel)
        return convolve(self, inputs, kernel)

    def _one_by_one(self, inputs, kernel):
        groups = zip(tf.split(inputs, self.groups, axis=-1), tf.split(kernel, self.groups, axis=-1), strict=True)
        return tf.concat([convolve(self, *group) for group in groups], axis=-1)


def convolve(layer: keras.layers.Conv2D, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """The convolution of a layer, without bias, by TensorFlow's operator: as `GroupedConv2D.convolution_op`."""
    return tf.nn.convolution(inputs, kernel, layer.strides, layer.padding.upper(), dilations=layer.dilation_rate)


@functools.cache
def has_operator() -> bool:
    """Whether TensorFlow convolves in groups here, which only trying tells.

    Without oneDNN it has no gradient on the CPU, and a graph in which a bias or a normalisation follows fails.
    """
    with tf.init_scope():  # where no tape records: the gradient's own operator is asked
        maps, kernel = tf.ones([1, 3, 3, 4]), tf.ones([3, 3, 2, 4])
        try:
            tf.raw_ops.Conv2DBackpropInput(
                input_sizes=maps.shape, filter=kernel, out_backprop=maps, strides=[1] * 4, padding="SAME"
            )
        except tf.errors.InvalidArgumentError:
            return False
        return True
