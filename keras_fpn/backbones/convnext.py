"""ConvNeXts (Liu et al., CVPR 2022), in torchvision's layout, tapped as their authors' detectors do.

    image --4x4 stride 4, norm--> [blocks] x n --> norm --> C2 --norm, 2x2 stride 2--> [blocks] --> norm --> C3 ... C5
    block: x + scale * linear(GELU(linear(norm(depthwise 7x7(x)))))

The tap of a stage is before the next one's normalisation, through one of its own.
"""

import functools

import keras

from keras_fpn.backbones.transformer_layers import (
    POINTWISE,
    Architecture,
    added,
    build_stages,
    normalized,
    truncated_normal,
    two_layers,
)
from keras_fpn.layers.layer_scale import LayerScale
from keras_fpn.parts.checkpoint_names import Named, Transform

EPSILON = 1e-6
_SCALE = Transform(lambda tensor: tensor[:, 0, 0], lambda value: value[:, None, None])


ARCHITECTURES = {
    "convnext_tiny": Architecture((3, 3, 9, 3), 96),
    "convnext_small": Architecture((3, 3, 27, 3), 96),
    "convnext_base": Architecture((3, 3, 27, 3), 128),
    "convnext_large": Architecture((3, 3, 27, 3), 192),
}


def build_convnext(name: str, freeze_at: int = 0, drop_path: float = 0.0, layer_scale: float = 1.0) -> keras.Model:
    """Functional model image -> {"C2".."C5"}.

    Args:
        name: of `ARCHITECTURES`.
        freeze_at, drop_path: see `build_swin`.
        layer_scale: factors of the blocks' branches before any weights are loaded: 1 of the authors' detectors, 1e-6 of
            their classifiers.

    Returns:
        `keras.Model` from `[B, H, W, 3]` normalised pixels to `{"Ck": [B, H / 2^k, W / 2^k, C_k]}`, rounded down, with
        `strides`.
    """
    block = functools.partial(_block, layer_scale)
    return build_stages(name, ARCHITECTURES[name], EPSILON, _enter, block, _stage_names, drop_path, freeze_at)


def _enter(x, prefix):
    x = normalized(x, EPSILON, f"{prefix}_downsample_norm")
    return keras.layers.Conv2D(
        2 * x.shape[-1], 2, strides=2, kernel_initializer=truncated_normal(), name=f"{prefix}_downsample_conv"
    )(x)


def _block(layer_scale, x, number, drop_rate, name):
    spread = keras.layers.DepthwiseConv2D(
        7, padding="same", depthwise_initializer=truncated_normal(), name=f"{name}_depthwise"
    )(x)
    branch = two_layers(normalized(spread, EPSILON, f"{name}_norm"), f"{name}_mlp")
    branch = LayerScale(layer_scale, name=f"{name}_scale")(branch)
    return added(x, branch, drop_rate, name)


def _stage_names(stage):
    block, before = rf"features.{2 * stage - 3}.\1", f"features.{2 * stage - 4}"
    return {
        "stem_conv": "features.0.0",
        "stem_norm": "features.0.1",
        rf"res{stage}_(\d+)_depthwise": rf"{block}.block.0",
        rf"res{stage}_(\d+)_norm": rf"{block}.block.2",
        rf"res{stage}_(\d+)_mlp1": Named(rf"{block}.block.3", POINTWISE),
        rf"res{stage}_(\d+)_mlp2": Named(rf"{block}.block.5", POINTWISE),
        rf"res{stage}_(\d+)_scale": Named(block, vector=_SCALE),
        f"res{stage}_downsample_norm": f"{before}.0",
        f"res{stage}_downsample_conv": f"{before}.1",
    }
