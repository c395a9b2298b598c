"""Plain Vision Transformers (Dosovitskiy et al., ICLR 2021) as ViTDet tunes them for detection (Li et al., ECCV 2022).

    image --16x16 stride 16, + places--> [attention in windows of 14 x 14, four times of the whole map] --> C4

There is one map, of a sixteenth of the image; the pyramid `simple_pyramid` makes the others of it. The conventions are
detectron2's: relative positions in every block, no normalisation at the end, no class token.
"""

from types import MappingProxyType
from typing import NamedTuple

import keras

from keras_fpn.backbones.transformer_layers import POINTWISE, attention_block, drop_rates, truncated_normal
from keras_fpn.layers.decomposed_attention import DecomposedAttention
from keras_fpn.layers.position_embedding import PositionEmbedding
from keras_fpn.parts.checkpoint_names import Named

EPSILON = 1e-6
PATCH = 16
WINDOW = 14
NUM_GLOBAL = 4  # blocks whose attention is of the whole map: the last of each fourth


class Architecture(NamedTuple):
    """Number of blocks, channels, and heads of the attention."""

    depth: int
    width: int
    num_heads: int


ARCHITECTURES = {
    "vit_b": Architecture(12, 768, 12),
    "vit_l": Architecture(24, 1024, 16),
    "vit_h": Architecture(32, 1280, 16),
}
CHECKPOINT_NAMES = {
    "detectron2": {
        "patch_embedding": "backbone.net.patch_embed.proj",
        "position_embedding": "backbone.net",
        r"block_(\d+)_norm(\d)": r"backbone.net.blocks.\1.norm\2",
        r"block_(\d+)_attention": r"backbone.net.blocks.\1.attn",
        r"block_(\d+)_attention_qkv": r"backbone.net.blocks.\1.attn.qkv",
        r"block_(\d+)_attention_projection": r"backbone.net.blocks.\1.attn.proj",
        r"block_(\d+)_mlp(\d)": Named(r"backbone.net.blocks.\1.mlp.fc\2", POINTWISE),
        r"block_(\d+)_.*_drop": Named(""),
    }
}


def build_vit(name: str, drop_path: float = 0.0, position_side: int = 14, map_side: int = 64) -> keras.Model:
    """Functional model image -> {"C4"}.

    Args:
        name: of `ARCHITECTURES`.
        drop_path: rate at which the branches of the last block are left out of an image in training; before it less.
        position_side: cells of a side of the maps that the places are learnt of: 14 of 224 pixels.
        map_side: cells of a side of the maps that the relative positions of whole maps are of: 64 of 1024 pixels.

    Returns:
        `keras.Model` from `[B, H, W, 3]` normalised pixels to `{"C4": [B, H // 16, W // 16, C]}`, with `strides`. What
        is over of sides that are no multiples of 16 is not read.
    """
    depth, width, num_heads = ARCHITECTURES[name]
    image = keras.Input((None, None, 3), name="image")
    x = keras.layers.Conv2D(
        width, PATCH, strides=PATCH, kernel_initializer=truncated_normal(), name="patch_embedding"
    )(image)
    x = PositionEmbedding(position_side, name="position_embedding")(x)
    for number, rate in enumerate(drop_rates(drop_path, (depth,))[0]):
        prefix = f"block_{number}"
        window = WINDOW if (number + 1) % (depth // NUM_GLOBAL) else 0
        attention = DecomposedAttention(num_heads, window, map_side, name=f"{prefix}_attention")
        x = attention_block(x, attention, EPSILON, rate, prefix)
    model = keras.Model(image, {"C4": x}, name=name)
    model.strides = {"C4": PATCH}
    model.checkpoint_names = MappingProxyType(CHECKPOINT_NAMES)
    return model
