"""MobileNetV3-Large with taps C2..C6 (Howard et al., ICCV 2019), as torchvision runs it in detectors.

Padding is explicit and symmetric where a convolution has a stride, see `resnet`; at stride 1 "same" is symmetric.
"""

from types import MappingProxyType
from typing import NamedTuple

import keras

from keras_fpn.backbones.mobilenet_v3_names import CHECKPOINT_NAMES
from keras_fpn.backbones.settings import MOBILENET_V3_STRIDES
from keras_fpn.layers.depthwise_convolution import NormalizedDepthwiseConv2D
from keras_fpn.layers.normalization import build_norm

NAME = "mobilenet_v3_large"
# Frozen statistics normalise nothing until weights are loaded: the ten residual sums would grow an image of scale 1 to
# one of 50 to 80. With half of the branch every tap stays between 1 and 4.
FROZEN_BRANCH_GAMMA = 0.5


class Block(NamedTuple):
    """One row of the paper's table 1."""

    kernel_size: int  # of the depthwise convolution
    stride: int
    expanded: int  # channels inside the block
    channels: int  # channels that leave it
    squeeze: int  # channels of the squeeze, a quarter of the expanded in whole eights; 0: no squeeze-excite
    activation: str


# block1 first.
BLOCKS = (
    Block(3, 1, 16, 16, 0, "relu"),
    Block(3, 2, 64, 24, 0, "relu"),
    Block(3, 1, 72, 24, 0, "relu"),
    Block(5, 2, 72, 40, 24, "relu"),
    Block(5, 1, 120, 40, 32, "relu"),
    Block(5, 1, 120, 40, 32, "relu"),
    Block(3, 2, 240, 80, 0, "hard_silu"),
    Block(3, 1, 200, 80, 0, "hard_silu"),
    Block(3, 1, 184, 80, 0, "hard_silu"),
    Block(3, 1, 184, 80, 0, "hard_silu"),
    Block(3, 1, 480, 112, 120, "hard_silu"),
    Block(3, 1, 672, 112, 168, "hard_silu"),
    Block(5, 2, 672, 160, 168, "hard_silu"),
    Block(5, 1, 960, 160, 240, "hard_silu"),
    Block(5, 1, 960, 160, 240, "hard_silu"),
)
STEM_CHANNELS, LAST_CHANNELS = 16, 960
# torchvision taps the blocks with a stride, and the last convolution: two maps of stride 32.
TAPPED_BLOCKS = {2: "C2", 4: "C3", 7: "C4", 13: "C5"}
# The last block that each freeze_at holds; the stem is held from 1 on, the last convolution at 5.
LAST_FROZEN_BLOCK = {0: 0, 1: 1, 2: 3, 3: 6, 4: 12, 5: 15}


def build_mobilenet_v3_large(
    norm: str = "frozen_batch_norm", norm_epsilon: float = 1e-5, freeze_at: int = 2
) -> keras.Model:
    """Functional model image -> {"C2".."C6"}, of 24, 40, 80, 160 and 960 channels.

    Args:
        norm: see `build_norm`.
        norm_epsilon: epsilon of either; 1e-5 in torchvision's detectors, 1e-3 in its ImageNet classifier.
        freeze_at: what is not trained: 0 nothing, 1 the layers before C2's block, 2 before C3's, 3 before C4's,
            4 before C5's, 5 all.

    Returns:
        `keras.Model` from `[B, H, W, 3]` normalised pixels to `{"Ck": [B, ceil(H / s), ceil(W / s), C_k]}`, with
        `strides`, the s: `{"C2": 4, "C3": 8, "C4": 16, "C5": 32, "C6": 32}`.

    Raises:
        UserError: for an unknown norm.
    """
    apply = _Layers(norm, norm_epsilon)
    image = keras.Input((None, None, 3), name="image")
    x = apply.convolution(image, STEM_CHANNELS, 3, 2, "stem", "conv", "norm", "hard_silu")
    taps = {}
    for number, block in enumerate(BLOCKS, start=1):
        x = _inverted_residual(apply, x, block, f"block{number}")
        if number in TAPPED_BLOCKS:
            taps[TAPPED_BLOCKS[number]] = x
    taps["C6"] = apply.convolution(x, LAST_CHANNELS, 1, 1, "last", "conv", "norm", "hard_silu")
    model = keras.Model(image, taps, name=NAME)
    model.strides = dict(MOBILENET_V3_STRIDES)
    model.checkpoint_names = MappingProxyType(CHECKPOINT_NAMES)
    _freeze(model, freeze_at)
    return model


class _Layers:
    """Convolutions, normalisation and activations of one network, named after their block."""

    def __init__(self, norm, norm_epsilon):
        self.norm, self.norm_epsilon = norm, norm_epsilon

    def convolution(self, x, filters, kernel_size, strides, block, conv, norm, activation=None, frozen_gamma=1.0):
        name = f"{block}_{conv}"
        x, padding = _pad(x, kernel_size, strides, name)
        convolution = keras.layers.Conv2D(
            filters,
            kernel_size,
            strides=strides,
            padding=padding,
            use_bias=False,
            kernel_initializer=_he_normal(),
            name=name,
        )
        norm_layer = build_norm(self.norm, self.norm_epsilon, f"{block}_{norm}", frozen_gamma=frozen_gamma)
        return self._activate(norm_layer(convolution(x)), f"{block}_{norm}", activation)

    def depthwise(self, x, kernel_size, strides, block, activation):
        name = f"{block}_depthwise_conv"
        x, padding = _pad(x, kernel_size, strides, name)
        convolution = NormalizedDepthwiseConv2D(
            kernel_size,
            build_norm(self.norm, self.norm_epsilon, f"{block}_depthwise_norm"),
            strides=strides,
            padding=padding,
            depthwise_initializer=_he_normal("fan_out"),  # of one channel, as its fan in is; Keras sums all of them
            name=name,
        )
        return self._activate(convolution(x), f"{block}_depthwise_norm", activation)

    def squeeze_excite(self, x, channels, block):
        squeezed = keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"{block}_squeeze_pool")(x)
        for name, filters, activation in (("fc1", channels, "relu"), ("fc2", x.shape[-1], "hard_sigmoid")):
            squeezed = keras.layers.Conv2D(
                filters, 1, activation=activation, kernel_initializer=_he_normal(), name=f"{block}_squeeze_{name}"
            )(squeezed)
        return keras.layers.Multiply(name=f"{block}_squeeze_scale")([x, squeezed])

    def _activate(self, x, name, activation):
        return keras.layers.Activation(activation, name=f"{name}_{activation}")(x) if activation else x


def _he_normal(mode="fan_in"):
    return keras.initializers.VarianceScaling(2.0, mode, "untruncated_normal")


def _pad(x, kernel_size, strides, name):
    """The map padded where "same" would not do, and the padding that the convolution then needs."""
    if strides == 1:
        return x, "same"
    return keras.layers.ZeroPadding2D(kernel_size // 2, name=f"{name}_pad")(x), "valid"


def _inverted_residual(apply, x, block, name):
    shortcut = x
    if block.expanded != x.shape[-1]:
        x = apply.convolution(x, block.expanded, 1, 1, name, "expand_conv", "expand_norm", block.activation)
    x = apply.depthwise(x, block.kernel_size, block.stride, name, block.activation)
    if block.squeeze:
        x = apply.squeeze_excite(x, block.squeeze, name)
    is_residual = block.stride == 1 and block.channels == shortcut.shape[-1]
    gamma = FROZEN_BRANCH_GAMMA if is_residual else 1.0
    x = apply.convolution(x, block.channels, 1, 1, name, "project_conv", "project_norm", frozen_gamma=gamma)
    return keras.layers.Add(name=f"{name}_add")([x, shortcut]) if is_residual else x


def _freeze(model, freeze_at):
    frozen = ["stem_"] * (freeze_at >= 1) + ["last_"] * (freeze_at >= 5)
    frozen += [f"block{number}_" for number in range(1, LAST_FROZEN_BLOCK[freeze_at] + 1)]
    for layer in model.layers:
        if layer.name.startswith(tuple(frozen)):
            layer.trainable = False
