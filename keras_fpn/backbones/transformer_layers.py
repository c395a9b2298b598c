"""Layers that Swin and ConvNeXt have in common, named after their block, and the names of these in files."""

from collections.abc import Callable, Mapping

import keras
import numpy as np

from keras_fpn.layers.stochastic_depth import StochasticDepth
from keras_fpn.parts.checkpoint_names import Named, Transform

# A linear layer there, a 1x1 convolution here, which TensorFlow joins to the bias and the activation after it.
POINTWISE = Transform(lambda tensor: tensor.T[None, None], lambda value: np.transpose(value[0, 0]))
STAGES = (2, 3, 4, 5)
STRIDES = {f"C{stage}": 2**stage for stage in STAGES}
# No file of a classifier has the normalisations of the taps, nor what stochastic depth counts.
NOT_IN_FILES = {r"norm_C\d": Named(""), r".*_drop": Named("")}


def truncated_normal() -> keras.initializers.Initializer:
    """N(0, 0.02), cut at two standard deviations, of one layer: an initializer of Keras draws the same each time."""
    return keras.initializers.TruncatedNormal(stddev=0.02)


def pointwise(
    x: keras.KerasTensor, channels: int, name: str, activation: Callable | None = None, use_bias: bool = True
) -> keras.KerasTensor:
    """A linear layer of each cell."""
    return keras.layers.Conv2D(
        channels, 1, activation=activation, use_bias=use_bias, kernel_initializer=truncated_normal(), name=name
    )(x)


def normalized(x: keras.KerasTensor, epsilon: float, name: str) -> keras.KerasTensor:
    """The channels of each cell normalised."""
    return keras.layers.LayerNormalization(epsilon=epsilon, name=name)(x)


def added(x: keras.KerasTensor, branch: keras.KerasTensor, drop_rate: float, name: str) -> keras.KerasTensor:
    """A map and a branch of it, which in training is left out of whole images at a rate (stochastic depth)."""
    if drop_rate:
        branch = StochasticDepth(drop_rate, name=f"{name}_drop")(branch)
    return keras.layers.Add(name=f"{name}_add")([x, branch])


def drop_rates(drop_path: float, depths: tuple[int, ...]) -> list[list[float]]:
    """For each stage those of its blocks: from 0 to `drop_path` in equal steps over all blocks."""
    rates = iter(np.linspace(0.0, drop_path, sum(depths)).tolist())
    return [[next(rates) for _ in range(depth)] for depth in depths]


def tapped(
    image: keras.KerasTensor, maps: Mapping[str, keras.KerasTensor], epsilon: float, name: str
) -> keras.Model:
    """Functional model image -> {"C2".."C5"}, each map normalised by a layer of its own."""
    taps = {level: normalized(x, epsilon, f"norm_{level}") for level, x in maps.items()}
    model = keras.Model(image, taps, name=name)
    model.strides = dict(STRIDES)
    return model


def freeze(model: keras.Model, freeze_at: int) -> None:
    """Do not train the stem (1), nor the stages up to C`freeze_at` with what leads into them."""
    frozen = ["stem_"] * (freeze_at >= 1) + [f"res{stage}_" for stage in STAGES if stage <= freeze_at]
    for layer in model.layers:
        if layer.name.startswith(tuple(frozen)):
            layer.trainable = False
