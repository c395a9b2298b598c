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


def build_pyramid(channels_per_level, channels=256, levels=("P2", "P3", "P4", "P5", "P6"), name="pyramid"):
    """Functional model {"C2".."C5"} -> {"P2".."P6"}.

    Args:
        channels_per_level: `{"C2": 256, ...}`, channels of the backbone's maps, as it declares them.
        channels: channels of every output (d = 256 in the paper).
        levels: outputs wanted, a run without gaps such as P2..P6 or P3..P5. The finest decides which laterals
            exist; a level above the backbone's coarsest is every second cell of the one below (P6).
        name: name of the model.

    Returns:
        `keras.Model` from `{"Ck": [B, h, w, channels]}` to `{level: [B, h, w, channels]}`.

    Raises:
        ValueError: if a level has no backbone map to start from, or the levels have a gap.
    """
    wanted = sorted(int(level[1:]) for level in levels)
    available = sorted(int(level[1:]) for level in channels_per_level)
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
    outputs, merged = {}, None
    for k in range(top, wanted[0] - 1, -1):
        lateral = _convolution(channels, 1, f"lateral_C{k}")(inputs[f"C{k}"])
        if merged is not None:
            coarse = UpsampleLike(name=f"upsample_M{k + 1}")(merged, lateral)
            lateral = keras.layers.Add(name=f"merge_M{k}")([lateral, coarse])
        merged = lateral
        if k <= wanted[-1]:
            outputs[f"P{k}"] = _convolution(channels, 3, f"output_P{k}")(merged)
    for k in range(top + 1, wanted[-1] + 1):
        # A 1x1 max pooling of stride 2 takes every second cell, odd sides rounded up.
        outputs[f"P{k}"] = keras.layers.MaxPooling2D(1, strides=2, name=f"subsample_P{k}")(outputs[f"P{k - 1}"])
    return keras.Model(inputs, {f"P{k}": outputs[f"P{k}"] for k in wanted}, name=name)


def _convolution(channels, kernel_size, name):
    initializer = keras.initializers.VarianceScaling(**XAVIER)
    return keras.layers.Conv2D(channels, kernel_size, padding="same", kernel_initializer=initializer, name=name)
