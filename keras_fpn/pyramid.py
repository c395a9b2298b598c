"""The feature pyramid (paper, section 3).

    C5 --1x1--> M5 --------------3x3--> P5 --every second cell--> P6
                 |  x2
    C4 --1x1--> (+) = M4 --------3x3--> P4
                 |  x2
    C3 --1x1--> (+) = M3 --------3x3--> P3
                 |  x2
    C2 --1x1--> (+) = M2 --------3x3--> P2

The sums M go down, not the outputs P, and no convolution here has a non-linearity.
"""

import keras
import tensorflow as tf

from keras_fpn.levels import level_number
from keras_fpn.normalization import build_norm

# Detectron's XavierFill and detectron2's c2_xavier: U(+-sqrt(3 / fan_in)).
XAVIER = {"scale": 1.0, "mode": "fan_in", "distribution": "uniform"}


@keras.saving.register_keras_serializable("keras_fpn")
class UpsampleLike(keras.layers.Layer):
    """Nearest-neighbour upsampling of the first map to the height and width of the second.

    To the lateral's own size rather than by two, so that sides which are not a multiple of 32 work (torchvision).
    """

    def call(self, coarse, lateral):
        """`[B, h, w, C], [B, H, W, C] -> [B, H, W, C]`"""
        # Without half-pixel centres row i of H reads row floor(i h / H), torch's rule, also where sides are odd.
        return tf.raw_ops.ResizeNearestNeighbor(images=coarse, size=tf.shape(lateral)[1:3], half_pixel_centers=False)

    def compute_output_shape(self, coarse_shape, lateral_shape):
        return (*lateral_shape[:3], coarse_shape[3])


def pyramid_strides(backbone_strides, levels):
    """Pixels of the image between neighbouring cells of each pyramid level.

    Args:
        backbone_strides: `{"C2": 4, ...}`, as a backbone declares them in `strides`.
        levels: names of pyramid levels, none finer than the backbone's.

    Returns:
        `{"P2": 4, ...}` in the order of `levels`: C_k's for P_k, doubled for each level above the backbone's coarsest.
    """
    top = max(level_number(level) for level in backbone_strides)
    strides = {}
    for level in levels:
        above = max(level_number(level) - top, 0)
        strides[level] = backbone_strides[f"C{level_number(level) - above}"] * 2**above
    return strides


def build_pyramid(
    channels_per_level,
    channels=256,
    levels=("P2", "P3", "P4", "P5", "P6"),
    norm=None,
    norm_epsilon=1e-5,
    name="pyramid",
):
    """Functional model {"C2".."C5"} -> {"P2".."P6"}.

    Args:
        channels_per_level: `{"C2": 256, ...}`, channels of the backbone's maps, as it declares them.
        channels: channels of every output (d = 256 in the paper).
        levels: outputs wanted, a run without gaps such as P2..P6 or P3..P5. The finest decides which laterals
            exist; a level above the backbone's coarsest is every second cell of the one below (P6).
        norm: None, or "batch_norm" or "frozen_batch_norm" after each convolution, which then has no bias
            (torchvision's version 2). No non-linearity either way.
        norm_epsilon: epsilon of the normalisation.
        name: name of the model.

    Returns:
        `keras.Model` from `{"Ck": [B, h, w, channels]}` to `{level: [B, h, w, channels]}`.

    Raises:
        ValueError: if a level has no backbone map to start from, or the levels have a gap.
        UserError: for an unknown norm.
    """
    wanted = sorted(map(level_number, levels))
    available = sorted(map(level_number, channels_per_level))
    if wanted != list(range(wanted[0], wanted[-1] + 1)):
        raise ValueError(f"pyramid levels must be neighbours, not {', '.join(levels)}")
    if wanted[0] not in available:
        raise ValueError(f"P{wanted[0]} needs C{wanted[0]}; the backbone gives C{available[0]}..C{available[-1]}")
    top = available[-1]
    inputs = {
        f"C{k}": keras.Input((None, None, channels_per_level[f"C{k}"]), name=f"C{k}")
        for k in available
        if k >= wanted[0]
    }
    apply = _Layers(channels, norm, norm_epsilon)
    outputs, merged = {}, None
    for k in range(top, wanted[0] - 1, -1):
        lateral = apply.convolution(inputs[f"C{k}"], 1, f"lateral_C{k}")
        if merged is not None:
            coarse = UpsampleLike(name=f"upsample_M{k + 1}")(merged, lateral)
            lateral = keras.layers.Add(name=f"merge_M{k}")([lateral, coarse])
        merged = lateral
        if k <= wanted[-1]:
            outputs[f"P{k}"] = apply.convolution(merged, 3, f"output_P{k}")
    for k in range(top + 1, wanted[-1] + 1):
        # A 1x1 max pooling of stride 2 takes every second cell, odd sides rounded up.
        outputs[f"P{k}"] = keras.layers.MaxPooling2D(1, strides=2, name=f"subsample_P{k}")(outputs[f"P{k - 1}"])
    return keras.Model(inputs, {f"P{k}": outputs[f"P{k}"] for k in wanted}, name=name)


class _Layers:
    """The convolutions of one pyramid, normalised or not."""

    def __init__(self, channels, norm, norm_epsilon):
        self.channels, self.norm, self.norm_epsilon = channels, norm, norm_epsilon

    def convolution(self, x, kernel_size, name):
        x = keras.layers.Conv2D(
            self.channels,
            kernel_size,
            padding="same",
            use_bias=self.norm is None,
            kernel_initializer=keras.initializers.VarianceScaling(**XAVIER),
            name=name,
        )(x)
        return x if self.norm is None else build_norm(self.norm, self.norm_epsilon, f"{name}_norm", "pyramid")(x)
