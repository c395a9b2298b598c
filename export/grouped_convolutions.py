"""Keras' own convolutions in groups, such as those of ConvNeXt in `keras.applications`, in files for other runtimes.

Keras compiles them with XLA, which is a call in the graph that no TFLite or ONNX file can hold. TensorFlow's operator
has groups; here it is written down and never run, so that it does not matter whether this CPU has it.
"""

import functools

import keras
import tensorflow as tf

from keras_fpn.export.replacing import replace
from keras_fpn.layers.grouped_convolution import convolve


def by_operator(layer: keras.layers.Conv2D, model: keras.Model | None = None) -> None:
    """Have a `keras.layers.Conv2D` with groups convolve by TensorFlow's operator; others stay as they are."""
    if layer.groups > 1:
        replace(layer, "convolution_op", keras.layers.Conv2D.convolution_op, functools.partial(_convolve, layer))


def _convolve(layer, inputs, kernel):
    return convolve(layer, inputs, tf.convert_to_tensor(kernel))
