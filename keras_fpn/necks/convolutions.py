"""The convolutions of a pyramid: no non-linearity, normalised or not (paper, section 3)."""

import keras

from keras_fpn.layers.normalization import build_norm

# Detectron's XavierFill and detectron2's c2_xavier: U(+-sqrt(3 / fan_in)).
XAVIER = {"scale": 1.0, "mode": "fan_in", "distribution": "uniform"}


class Convolutions:
    """Makes the convolutions of one pyramid.

    Args:
        channels: of every one of them.
        norm: None, or a kind of `build_norm` after each, which then has no bias.
        norm_epsilon: epsilon of the normalisation.
    """

    def __init__(self, channels, norm=None, norm_epsilon=1e-5):
        self.channels, self.norm, self.norm_epsilon = channels, norm, norm_epsilon

    def __call__(self, x, kernel_size, name, channels=None, activation=None, strides=1, use_bias=None):
        """Apply a new convolution.

        Args:
            x: `[B, h, w, C]`.
            kernel_size: of both sides.
            name: of the layer; those around it are named after it.
            channels: of the output, where they differ.
            activation: after it, named as by Keras; None for none.
            strides: 1, or 2 for every second cell: the map is padded alike on all sides, as torch does, and its sides
                are halved, odd ones up. ("same" would pad an even side below and to the right alone.)
            use_bias: whether it has a bias; None: where no normalisation follows.
        """
        if strides > 1:
            x = keras.layers.ZeroPadding2D(kernel_size // 2, name=f"{name}_pad")(x)
        x = keras.layers.Conv2D(
            channels or self.channels,
            kernel_size,
            strides=strides,
            padding="same" if strides == 1 else "valid",
            use_bias=self.norm is None if use_bias is None else use_bias,
            kernel_initializer=keras.initializers.VarianceScaling(**XAVIER),
            name=name,
        )(x)
        x = self.normalise(x, name)
        return x if activation is None else keras.layers.Activation(activation, name=f"{name}_{activation}")(x)

    def of_width(self, x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        """The map as it is where it has the channels of this pyramid, else through a new 1x1 convolution."""
        return x if x.shape[-1] == self.channels else self(x, 1, name)

    def normalise(self, x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        """The map after the normalisation of the layer `name`, if there is one."""
        return x if self.norm is None else build_norm(self.norm, self.norm_epsilon, f"{name}_norm", "pyramid")(x)
