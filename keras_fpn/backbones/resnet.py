"""Residual networks with taps C2..C5 (He et al., CVPR 2016), and those with grouped convolutions (ResNeXt, CVPR 2017).

Padding is explicit and symmetric: TensorFlow's "same" pads a stride-2 convolution on the bottom and right only,
which shifts every feature by half a cell against the weights that were trained elsewhere.
"""

from types import MappingProxyType
from typing import NamedTuple

import keras

from keras_fpn.backbones.resnet_names import CHECKPOINT_NAMES, STAGES
from keras_fpn.backbones.settings import resnet_strides
from keras_fpn.console.errors import UserError
from keras_fpn.layers.grouped_convolution import GroupedConv2D
from keras_fpn.layers.normalization import LEARNS_STATISTICS, build_norm, told_what_counts

PUBLISHED_WIDTH = 64  # of the stem, in all published models


class Architecture(NamedTuple):
    """Blocks of a network.

    Attributes:
        bottleneck: whether a block is three convolutions, 1x1, 3x3, 1x1, or two of 3x3.
        blocks: how many there are in each of the stages 2..5.
        groups: of the 3x3 convolutions.
        group_width: channels of each group in stage 2, where the stem has 64.
    """

    bottleneck: bool
    blocks: tuple[int, ...]
    groups: int = 1
    group_width: int = PUBLISHED_WIDTH


ARCHITECTURES = {
    "resnet18": Architecture(False, (2, 2, 2, 2)),
    "resnet34": Architecture(False, (3, 4, 6, 3)),
    "resnet50": Architecture(True, (3, 4, 6, 3)),
    "resnet101": Architecture(True, (3, 4, 23, 3)),
    "resnet152": Architecture(True, (3, 8, 36, 3)),
    "resnext50_32x4d": Architecture(True, (3, 4, 6, 3), 32, 4),
    "resnext101_32x8d": Architecture(True, (3, 4, 23, 3), 32, 8),
    "resnext101_64x4d": Architecture(True, (3, 4, 23, 3), 64, 4),
}
CONV5 = STAGES[-1]
STRIDE_IN = ("3x3", "first_1x1")
# Frozen statistics normalise nothing until weights are loaded: each residual sum would double the variance, 65,000
# times over the 16 blocks of ResNet-50. With a quarter of the branch it grows 2.6 times.
FROZEN_BRANCH_GAMMA = 0.25


def build_resnet(
    name: str,
    stride_in: str = "3x3",
    norm: str = "frozen_batch_norm",
    norm_epsilon: float = 1e-5,
    freeze_at: int = 2,
    width: int = 64,
    res5_dilation: int = 1,
) -> keras.Model:
    """Functional model image -> {"C2".."C5"}, each tap the last residual sum of its stage after the ReLU.

    Args:
        name: "resnet50", or another key of `ARCHITECTURES`.
        stride_in: bottleneck convolution that carries a stage's stride: "3x3" (torchvision) or "first_1x1" (the
            original Caffe models, detectron2's MSRA weights). Basic blocks have it in their first 3x3.
        norm: see `build_norm`.
        norm_epsilon: epsilon of either.
        freeze_at: stages that are not trained, counted from the stem: 0 none, 1 the stem, 2 the stem and res2, ...
        width: channels of the stem, 64 in all published models; every other convolution is as much wider as there.
        res5_dilation: 2 dilates all 3x3 convolutions of stage 5, which then has no stride.

    Returns:
        `keras.Model` from `[B, H, W, 3]` normalised pixels to `{"Ck": [B, ceil(H / s), ceil(W / s), C_k]}`, with
        `strides`, the s: `{"Ck": 2^k}`, but C4's for a C5 that is dilated.

    Raises:
        ValueError: for an unknown `name` or `stride_in`.
        UserError: a width that leaves no whole number of channels for each group.
    """
    _check(name, stride_in, width)
    apply = _Layers(norm, norm_epsilon)
    image = keras.Input((None, None, 3), name="image")
    x = apply.convolution(image, width, 7, 2, "stem", "conv", "norm", relu=True)
    x = keras.layers.ZeroPadding2D(1, name="stem_pool_pad")(x)  # after a ReLU, zero is never above the maximum
    x = keras.layers.MaxPooling2D(3, strides=2, name="stem_pool")(x)
    taps = {}
    for stage in STAGES:
        dilation = res5_dilation if stage == CONV5 else 1
        taps[f"C{stage}"] = x = _stage(apply, x, name, stage, stride_in, width, dilation)
    model = keras.Model(image, taps, name=name)
    model.strides = resnet_strides({"res5_dilation": res5_dilation})
    model.checkpoint_names = MappingProxyType(CHECKPOINT_NAMES)
    _freeze(model, freeze_at)
    return model


def build_conv5(
    name: str,
    stride_in: str = "3x3",
    norm: str = "frozen_batch_norm",
    norm_epsilon: float = 1e-5,
    freeze_at: int = 2,
    width: int = 64,
    res5_dilation: int = 1,
) -> keras.Model:
    """Functional model of conv5 alone, for the head of the C4 baseline: what `build_resnet` has between C4 and C5.

    Arguments are those of the backbone, and so are the layers' names, `res5_*`; `freeze_at` 5 does not train them.

    Returns:
        `keras.Model` from `[maps [N, h, w, C_4], is_valid [N, 1, 1] bool]` to `[N, ceil(h / 2), ceil(w / 2), C_5]`, or
        `[N, h, w, C_5]` with dilation.
        Crops that are not valid stay out of the statistics of live batch normalisation; frozen ones do not ask, and
        the model then has the maps as its only input.

    Raises:
        ValueError, UserError: see `build_resnet`.
    """
    _check(name, stride_in, width)
    channels = width * 2 ** (CONV5 - 3) * (4 if ARCHITECTURES[name].bottleneck else 1)
    maps = keras.Input((None, None, channels), name="maps")
    is_live = norm in LEARNS_STATISTICS
    is_valid = keras.Input((1, 1), dtype="bool", name="is_valid") if is_live else None
    x = _stage(_Layers(norm, norm_epsilon, is_valid), maps, name, CONV5, stride_in, width, res5_dilation)
    model = keras.Model([maps, is_valid] if is_live else maps, x, name="conv5")
    _freeze(model, freeze_at)
    return model


def _check(name, stride_in, width):
    if name not in ARCHITECTURES:
        raise ValueError(f"name must be one of {', '.join(ARCHITECTURES)}, not {name!r}")
    if stride_in not in STRIDE_IN:
        raise ValueError(f"stride_in must be one of {STRIDE_IN}, not {stride_in!r}")
    least = PUBLISHED_WIDTH // ARCHITECTURES[name].group_width
    if width % least:
        raise UserError(
            f"backbone.width: {width} gives the {ARCHITECTURES[name].groups} groups of {name} no whole number of "
            f"channels; give a multiple of {least}"
        )


class _Layers:
    """Convolution, normalisation and ReLU of one network, named after their block.

    Args:
        norm, norm_epsilon: see `build_norm`.
        is_valid: which maps count in the statistics of live normalisation, `[N, 1, 1]`; all without.
    """

    def __init__(self, norm, norm_epsilon, is_valid=None):
        self.norm, self.norm_epsilon = norm, norm_epsilon
        self.is_valid = is_valid

    def convolution(self, x, filters, kernel_size, strides, block, conv, norm, *, relu=False, frozen_gamma=1.0, **more):
        """`more`: `groups` and `dilation_rate` of the convolution, where they are not 1."""
        if kernel_size > 1:
            border = kernel_size // 2 * more.get("dilation_rate", 1)
            x = keras.layers.ZeroPadding2D(border, name=f"{block}_{conv}_pad")(x)
        elif strides > 1:
            # The same numbers as a strided 1x1 convolution, whose gradient in oneDNN (TensorFlow 2.21) writes beyond
            # its memory for narrow layers and batches of one.
            x = keras.layers.MaxPooling2D(1, strides=strides, name=f"{block}_{conv}_subsample")(x)
            strides = 1
        x = (GroupedConv2D if "groups" in more else keras.layers.Conv2D)(
            filters,
            kernel_size,
            strides=strides,
            use_bias=False,
            kernel_initializer=keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal"),
            name=f"{block}_{conv}",
            **more,
        )(x)
        x = self.normalize(x, f"{block}_{norm}", frozen_gamma)
        return keras.layers.ReLU(name=f"{block}_{norm}_relu")(x) if relu else x

    def normalize(self, x, name, frozen_gamma):
        norm = build_norm(self.norm, self.norm_epsilon, name, frozen_gamma=frozen_gamma)
        return norm(x) if self.is_valid is None else told_what_counts(norm)(x, self.is_valid)


def _stage(apply, x, name, stage, stride_in, width, dilation=1):
    """The blocks of one stage, the first with the stride where there is one."""
    bottleneck, blocks, groups, group_width = ARCHITECTURES[name]
    strides = (1, 2) if stride_in == "3x3" else (2, 1)
    channels = width * 2 ** (stage - 2)
    inner = channels * groups * group_width // PUBLISHED_WIDTH
    more = {"groups": groups, "dilation_rate": dilation}
    more = {key: value for key, value in more.items() if value > 1}
    for block in range(blocks[stage - 2]):
        downsample = stage > 2 and block == 0 and dilation == 1
        block_name = f"res{stage}_{block}"
        if bottleneck:
            own = strides if downsample else (1, 1)
            x = _bottleneck(apply, x, (inner, 4 * channels), own, block_name, block == 0, more)
        else:
            x = _basic(apply, x, channels, 2 if downsample else 1, block_name, stage > 2 and block == 0, more)
    return x


def _bottleneck(apply, x, channels, strides, name, project, more):
    """A block of three convolutions; `channels` are those inside and those that leave it, `more` is the 3x3's."""
    shortcut, (inner, outer) = x, channels
    if project:
        stride = strides[0] * strides[1]
        shortcut = apply.convolution(x, outer, 1, stride, name, "shortcut_conv", "shortcut_norm")
    x = apply.convolution(x, inner, 1, strides[0], name, "conv1", "norm1", relu=True)
    x = apply.convolution(x, inner, 3, strides[1], name, "conv2", "norm2", relu=True, **more)
    x = apply.convolution(x, outer, 1, 1, name, "conv3", "norm3", frozen_gamma=FROZEN_BRANCH_GAMMA)
    return _merge(x, shortcut, name)


def _basic(apply, x, channels, stride, name, project, more):
    shortcut = x
    if project:
        shortcut = apply.convolution(x, channels, 1, stride, name, "shortcut_conv", "shortcut_norm")
    x = apply.convolution(x, channels, 3, stride, name, "conv1", "norm1", relu=True, **more)
    x = apply.convolution(x, channels, 3, 1, name, "conv2", "norm2", frozen_gamma=FROZEN_BRANCH_GAMMA, **more)
    return _merge(x, shortcut, name)


def _merge(x, shortcut, name):
    x = keras.layers.Add(name=f"{name}_add")([x, shortcut])
    return keras.layers.ReLU(name=f"{name}_out")(x)


def _freeze(model, freeze_at):
    frozen = ["stem_"] * (freeze_at >= 1) + [f"res{stage}_" for stage in range(2, freeze_at + 1)]
    for layer in model.layers:
        if layer.name.startswith(tuple(frozen)):
            layer.trainable = False
