"""Weights, images and what is kept of maps, shared by make_backbones.py, make_vit.py and the tests of the files."""

import named_draws
import numpy as np

# Of sides 104 x 152 Swin has maps of 26 x 38 cells, 13 x 19, 7 x 10 and 4 x 5: its windows are padded in all stages,
# there is one window a side in the last, and sides are odd before two of the mergings, where ConvNeXt rounds down.
IMAGES = (2, 3, 104, 152)
# ViT has a map of 18 x 22 cells: windows are padded, and both tables of places are resized.
VIT_IMAGES = (2, 3, 288, 352)


def weight(name, shape):
    """A tensor by its name; the scales of ConvNeXt's branches are small, as trained ones are, and places differ."""
    if name.endswith("pos_embed"):
        return named_draws.normal(name, shape, 0.5)
    if name.endswith("layer_scale"):
        return named_draws.generator(name).uniform(0.1, 0.4, shape).astype(np.float32)
    return named_draws.weight(name, shape)


def images(shape=IMAGES):
    """`[B, 3, H, W]` float32."""
    return named_draws.normal("backbones/images", shape)


def weight_of_tap(level, shape):
    return named_draws.normal(f"backbones/{level}", shape)


def kept(array):
    """A part of a map `[B, h, w, C]` or of a gradient in the layout of torch: small, and shifts show."""
    array = np.asarray(array, np.float32)
    return array[:, ::3, ::4, ::7] if array.ndim == 4 and array.shape[0] == 2 else array.reshape(-1)[::97]
