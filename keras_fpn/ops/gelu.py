"""The exact GELU (Hendrycks and Gimpel 2016), by the error function."""

import math

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("keras_fpn")
def gelu(values: tf.Tensor) -> tf.Tensor:
    """x times the share of a normal distribution that lies below x.

    TensorFlow's is by the complementary error function, which is three times as slow on a CPU and has no operator in
    ONNX. Of it this one is 1e-6 apart at most.
    """
    return values * (0.5 + 0.5 * tf.math.erf(values * math.sqrt(0.5)))
