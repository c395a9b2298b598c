"""Fully connected layers with many inputs, as a sum of products of some of the inputs each.

XNNPACK goes through a whole row of weights for every tile of its answer. Twelve thousand inputs, those of a box head on
7 x 7 x 256 crops, are more than a core's cache holds; in seven pieces the same product took half as long.
"""

import functools

import keras
import tensorflow as tf

from keras_fpn.export.replacing import replace

MOST_INPUTS = 2048  # of one piece
FEWEST_INPUTS = 512


def narrow_products(layer: keras.layers.Dense, model: keras.Model | None = None) -> None:
    """Have a wide `Dense` layer compute piece by piece; the sums' order changes, no more.

    Args:
        layer: a `keras.layers.Dense`; one with few inputs, or not built, stays as it is.
        model: not read.
    """
    if layer.built and _is_wide(layer.kernel.shape[0]):
        replace(layer, "call", keras.layers.Dense.call, functools.partial(_in_pieces, layer))


def _is_wide(inputs):
    return inputs > MOST_INPUTS and _even_step(inputs) >= FEWEST_INPUTS


def _in_pieces(layer, inputs, training=None):
    kernel, width = layer.kernel.value, inputs.shape[-1]
    step = _even_step(width)
    total = tf.matmul(inputs[..., :step], kernel[:step])
    total = total if layer.bias is None else total + layer.bias.value
    for first in range(step, width, step):
        total += tf.matmul(inputs[..., first : first + step], kernel[first : first + step])
    return layer.activation(total)


def _even_step(width):
    """The largest divisor of `width` that is no more than MOST_INPUTS: a row of bins for crops of 7 x 7 x 256."""
    return next(step for step in range(MOST_INPUTS, 0, -1) if width % step == 0)
