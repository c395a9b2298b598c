"""The convolutions of a pyramid: no non-linearity, normalised or not (paper, section 3)."""

import keras

from keras_fpn.layers.normalization import build_norm

# Detectron's XavierFill and detectron2's c2_xavier: U(+-sqrt(3 / fan_in)).
XAVIER = {"scale": 1.0, "mode": "fan_in", "distribution": "uniform"}


class Convolutions:
    """Makes the convolutions of one pyramid.

    Args:
        channels: of every one of them.
        norm: None, or "batch_norm" or "frozen_batch_norm" after each, which then has no bias.
        norm_epsilon: epsilon of the normalisation.
    """

    def __init__(self, channels, norm=None, norm_epsilon=1e-5):
        self.channels, self.norm, self.norm_epsilon = channels, norm, norm_epsilon

    def __call__(self, x, kernel_size, name, channels=None, activation=None):
        """Apply a new convolution of the given kernel size; its channels may differ."""
        x = self._normed(x, channels or self.channels, kernel_size, name, padding="same")
        return x if activation is None else keras.layers.Activation(activation, name=f"{name}_{activation}")(x)

    def downsample(self, x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        """A 3x3 convolution of stride 2 with a ReLU, padded alike on all sides: sides are halved, odd ones up."""
        x = keras.layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
        return keras.layers.ReLU(name=f"{name}_relu")(self._normed(x, self.channels, 3, name, strides=2))

    def _normed(self, x, channels, kernel_size, name, **options):
        x = keras.layers.Conv2D(
            channels,
            kernel_size,
            use_bias=self.norm is None,
            kernel_initializer=keras.initializers.VarianceScaling(**XAVIER),
            name=name,
            **options,
        )(x)
        return x if self.norm is None else build_norm(self.norm, self.norm_epsilon, f"{name}_norm", "pyramid")(x)
