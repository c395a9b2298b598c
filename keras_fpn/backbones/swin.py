"""Swin Transformers (Liu et al., ICCV 2021), in torchvision's layout, tapped as their authors' detectors do.

    image --4x4 stride 4, norm--> [windows, shifted windows] x n --> norm --> C2
                                     --merge 2x2, norm, linear--> [...] --> norm --> C3 ... C5
    block: x + attention(norm(x)), then x + linear(GELU(linear(norm(x))))

The tap of a stage is before the merging, through a normalisation of its own; that of the classifier's end is left out.
"""

from types import MappingProxyType
from typing import NamedTuple

import keras

from keras_fpn.backbones.transformer_layers import (
    NOT_IN_FILES,
    POINTWISE,
    STAGES,
    added,
    drop_rates,
    freeze,
    normalized,
    pointwise,
    tapped,
    truncated_normal,
)
from keras_fpn.layers.patch_merging import PatchMerging
from keras_fpn.layers.window_attention import WindowAttention
from keras_fpn.ops.gelu import gelu
from keras_fpn.parts.checkpoint_names import Named

EPSILON = 1e-5
WINDOW = 7


class Architecture(NamedTuple):
    """Blocks of each stage, channels of the first, and channels of a head of attention."""

    depths: tuple[int, int, int, int]
    width: int
    head_width: int = 32


ARCHITECTURES = {
    "swin_t": Architecture((2, 2, 6, 2), 96),
    "swin_s": Architecture((2, 2, 18, 2), 96),
    "swin_b": Architecture((2, 2, 18, 2), 128),
}


def build_swin(name: str, freeze_at: int = 0, drop_path: float = 0.0) -> keras.Model:
    """Functional model image -> {"C2".."C5"}.

    Args:
        name: of `ARCHITECTURES`.
        freeze_at: what is not trained: 0 nothing, 1 the stem, 2 that and the blocks of C2, ... 5 all.
        drop_path: rate at which the branches of the last block are left out of an image in training; before it less.

    Returns:
        `keras.Model` from `[B, H, W, 3]` normalised pixels to `{"Ck": [B, ceil(H / 2^k), ceil(W / 2^k), C_k]}`, with
        `strides`. Sides are multiples of 4: what is over of others is not read.
    """
    depths, width, head_width = ARCHITECTURES[name]
    image, maps = keras.Input((None, None, 3), name="image"), {}
    x = keras.layers.Conv2D(width, 4, strides=4, kernel_initializer=truncated_normal(), name="stem_conv")(image)
    x = normalized(x, EPSILON, "stem_norm")
    for stage, rates in zip(STAGES, drop_rates(drop_path, depths), strict=True):
        if stage > STAGES[0]:
            x = PatchMerging(name=f"res{stage}_merge")(x)
            x = normalized(x, EPSILON, f"res{stage}_merge_norm")
            x = pointwise(x, x.shape[-1] // 2, f"res{stage}_merge_reduction", use_bias=False)
        for number, rate in enumerate(rates):
            x = _block(x, x.shape[-1] // head_width, number % 2 * (WINDOW // 2), rate, f"res{stage}_{number}")
        maps[f"C{stage}"] = x
    model = tapped(image, maps, EPSILON, name)
    model.checkpoint_names = MappingProxyType({"torchvision classifier": _TORCHVISION})
    freeze(model, freeze_at)
    return model


def _block(x, num_heads, shift, drop_rate, name):
    attended = WindowAttention(num_heads, WINDOW, shift, name=f"{name}_attention")(
        normalized(x, EPSILON, f"{name}_norm1")
    )
    x = added(x, attended, drop_rate, f"{name}_attention")
    hidden = pointwise(normalized(x, EPSILON, f"{name}_norm2"), 4 * x.shape[-1], f"{name}_mlp1", gelu)
    return added(x, pointwise(hidden, x.shape[-1], f"{name}_mlp2"), drop_rate, f"{name}_mlp")


def _stage_names(stage):
    blocks, merging = rf"features.{2 * stage - 3}.\1", f"features.{2 * stage - 4}"
    return {
        rf"res{stage}_(\d+)_norm(\d)": rf"{blocks}.norm\2",
        rf"res{stage}_(\d+)_attention": rf"{blocks}.attn",
        rf"res{stage}_(\d+)_attention_qkv": rf"{blocks}.attn.qkv",
        rf"res{stage}_(\d+)_attention_projection": rf"{blocks}.attn.proj",
        rf"res{stage}_(\d+)_mlp1": Named(rf"{blocks}.mlp.0", POINTWISE),
        rf"res{stage}_(\d+)_mlp2": Named(rf"{blocks}.mlp.3", POINTWISE),
        f"res{stage}_merge_norm": f"{merging}.norm",
        f"res{stage}_merge_reduction": Named(f"{merging}.reduction", POINTWISE),
    }


_TORCHVISION = {"stem_conv": "features.0.0", "stem_norm": "features.0.2"} | NOT_IN_FILES
for _stage in STAGES:
    _TORCHVISION |= _stage_names(_stage)
