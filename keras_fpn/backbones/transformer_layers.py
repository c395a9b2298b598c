"""Layers that Swin, ConvNeXt and ViT have in common, named after their block, and the names of these in files."""

from collections.abc import Callable
from types import MappingProxyType
from typing import NamedTuple

import keras
import numpy as np

from keras_fpn.layers.pointwise_gelu import PointwiseGELU
from keras_fpn.layers.stochastic_depth import StochasticDepth
from keras_fpn.parts.checkpoint_names import Named, Transform

# A linear layer there, a 1x1 convolution here, which TensorFlow joins to the bias and the activation after it.
POINTWISE = Transform(lambda tensor: tensor.T[None, None], lambda value: np.transpose(value[0, 0]))
STAGES = (2, 3, 4, 5)
STRIDES = {f"C{stage}": 2**stage for stage in STAGES}
# No file of a classifier has the normalisations of the taps, nor what stochastic depth counts.
NOT_IN_FILES = {r"norm_C\d": Named(""), r".*_drop": Named("")}


class Architecture(NamedTuple):
    """Blocks of each stage, and channels of the first."""

    depths: tuple[int, int, int, int]
    width: int


def truncated_normal() -> keras.initializers.Initializer:
    """N(0, 0.02), cut at two standard deviations, of one layer: an initializer of Keras draws the same each time."""
    return keras.initializers.TruncatedNormal(stddev=0.02)


def pointwise(x: keras.KerasTensor, channels: int, name: str, use_bias: bool = True) -> keras.KerasTensor:
    """A linear layer of each cell."""
    return keras.layers.Conv2D(channels, 1, use_bias=use_bias, kernel_initializer=truncated_normal(), name=name)(x)


def two_layers(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Two linear layers of each cell, the first with four times the channels and a GELU: the MLP of a block."""
    hidden = PointwiseGELU(4 * x.shape[-1], kernel_initializer=truncated_normal(), name=f"{name}1")(x)
    return pointwise(hidden, x.shape[-1], f"{name}2")


def normalized(x: keras.KerasTensor, epsilon: float, name: str) -> keras.KerasTensor:
    """The channels of each cell normalised."""
    return keras.layers.LayerNormalization(epsilon=epsilon, name=name)(x)


def added(x: keras.KerasTensor, branch: keras.KerasTensor, drop_rate: float, name: str) -> keras.KerasTensor:
    """A map and a branch of it, which in training is left out of whole images at a rate (stochastic depth)."""
    if drop_rate:
        branch = StochasticDepth(drop_rate, name=f"{name}_drop")(branch)
    return keras.layers.Add(name=f"{name}_add")([x, branch])


def attention_block(
    x: keras.KerasTensor, attention: keras.layers.Layer, epsilon: float, drop_rate: float, name: str
) -> keras.KerasTensor:
    """A block of a transformer: x + attention(norm(x)), then x + linear(GELU(linear(norm(x))))."""
    x = added(x, attention(normalized(x, epsilon, f"{name}_norm1")), drop_rate, f"{name}_attention")
    branch = two_layers(normalized(x, epsilon, f"{name}_norm2"), f"{name}_mlp")
    return added(x, branch, drop_rate, f"{name}_mlp")


def drop_rates(drop_path: float, depths: tuple[int, ...]) -> list[list[float]]:
    """For each stage those of its blocks: from 0 to `drop_path` in equal steps over all blocks."""
    rates = iter(np.linspace(0.0, drop_path, sum(depths)).tolist())
    return [[next(rates) for _ in range(depth)] for depth in depths]


def build_stages(
    name: str,
    architecture: Architecture,
    epsilon: float,
    enter: Callable[[keras.KerasTensor, str], keras.KerasTensor],
    block: Callable[[keras.KerasTensor, int, float, str], keras.KerasTensor],
    names: Callable[[int], dict[str, str | Named]],
    drop_path: float,
    freeze_at: int,
) -> keras.Model:
    """Functional model image -> {"C2".."C5"}, each map normalised by a layer of its own.

    Args:
        name: of the model.
        epsilon: of all normalisations.
        enter: `enter(x, prefix)` leads into a stage after the first: half the sides, twice the channels.
        block: `block(x, number, drop_rate, name)` is a block of a stage.
        names: of a stage in torchvision's classifiers, see `parts.checkpoint_names`.
        drop_path: see `drop_rates`.
        freeze_at: see `freeze`.
    """
    image, maps = keras.Input((None, None, 3), name="image"), {}
    table: dict[str, str | Named] = dict(NOT_IN_FILES)
    x = keras.layers.Conv2D(
        architecture.width, 4, strides=4, kernel_initializer=truncated_normal(), name="stem_conv"
    )(image)
    x = normalized(x, epsilon, "stem_norm")
    for stage, rates in zip(STAGES, drop_rates(drop_path, architecture.depths), strict=True):
        x = enter(x, f"res{stage}") if stage > STAGES[0] else x
        for number, rate in enumerate(rates):
            x = block(x, number, rate, f"res{stage}_{number}")
        maps[f"C{stage}"] = x
        table |= names(stage)
    model = keras.Model(image, {level: normalized(x, epsilon, f"norm_{level}") for level, x in maps.items()}, name=name)
    model.strides = dict(STRIDES)
    model.checkpoint_names = MappingProxyType({"torchvision classifier": table})
    freeze(model, freeze_at)
    return model


def freeze(model: keras.Model, freeze_at: int) -> None:
    """Do not train the stem (1), nor the stages up to C`freeze_at` with what leads into them."""
    frozen = ["stem_"] * (freeze_at >= 1) + [f"res{stage}_" for stage in STAGES if stage <= freeze_at]
    for layer in model.layers:
        if layer.name.startswith(tuple(frozen)):
            layer.trainable = False
