"""Swin Transformers (Liu et al., ICCV 2021), in torchvision's layout, tapped as their authors' detectors do.

    image --4x4 stride 4, norm--> [windows, shifted windows] x n --> norm --> C2
                                     --merge 2x2, norm, linear--> [...] --> norm --> C3 ... C5
    block: x + attention(norm(x)), then x + linear(GELU(linear(norm(x))))

The tap of a stage is before the merging, through a normalisation of its own; that of the classifier's end is left out.
"""

import keras

from keras_fpn.backbones.transformer_layers import (
    POINTWISE,
    Architecture,
    attention_block,
    build_stages,
    normalized,
    pointwise,
)
from keras_fpn.layers.patch_merging import PatchMerging
from keras_fpn.layers.window_attention import WindowAttention
from keras_fpn.parts.checkpoint_names import Named

EPSILON = 1e-5
WINDOW = 7
HEAD_WIDTH = 32  # channels of a head of attention


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
    return build_stages(name, ARCHITECTURES[name], EPSILON, _enter, _block, _stage_names, drop_path, freeze_at)


def _enter(x, prefix):
    x = normalized(PatchMerging(name=f"{prefix}_merge")(x), EPSILON, f"{prefix}_merge_norm")
    return pointwise(x, x.shape[-1] // 2, f"{prefix}_merge_reduction", use_bias=False)


def _block(x, number, drop_rate, name):
    shift = number % 2 * (WINDOW // 2)
    attention = WindowAttention(x.shape[-1] // HEAD_WIDTH, WINDOW, shift, name=f"{name}_attention")
    return attention_block(x, attention, EPSILON, drop_rate, name)


def _stage_names(stage):
    blocks, merging = rf"features.{2 * stage - 3}.\1", f"features.{2 * stage - 4}"
    return {
        "stem_conv": "features.0.0",
        "stem_norm": "features.0.2",
        rf"res{stage}_(\d+)_norm(\d)": rf"{blocks}.norm\2",
        rf"res{stage}_(\d+)_attention": rf"{blocks}.attn",
        rf"res{stage}_(\d+)_attention_qkv": rf"{blocks}.attn.qkv",
        rf"res{stage}_(\d+)_attention_projection": rf"{blocks}.attn.proj",
        rf"res{stage}_(\d+)_mlp1": Named(rf"{blocks}.mlp.0", POINTWISE),
        rf"res{stage}_(\d+)_mlp2": Named(rf"{blocks}.mlp.3", POINTWISE),
        f"res{stage}_merge_norm": f"{merging}.norm",
        f"res{stage}_merge_reduction": Named(f"{merging}.reduction", POINTWISE),
    }
