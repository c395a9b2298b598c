"""Feature pyramids: {"C2".."C5"} -> {"P2".."P6"}, a file for each row of the paper's ablations.

    fpn             lateral connections and top-down pathway                rows c
    bottom_up       laterals alone                                          rows d
    top_down        top-down pathway alone                                  rows e
    finest_level    the whole pyramid, of which P2 alone is given           rows f
    single_scale    no pyramid: C4 or C5 as it is                           rows a, b
    fusion          all levels on one map, after HyperNet                   a neighbour
    ssd             upper levels and further ones, no top-down pathway      a neighbour
"""

from keras_fpn.errors import UserError
from keras_fpn.levels import level_number
from keras_fpn.naming import nearest
from keras_fpn.pyramids.bottom_up import build_bottom_up
from keras_fpn.pyramids.finest_level import build_finest_level
from keras_fpn.pyramids.fpn import build_fpn
from keras_fpn.pyramids.fusion import build_fusion
from keras_fpn.pyramids.single_scale import build_single_scale
from keras_fpn.pyramids.ssd import build_ssd
from keras_fpn.pyramids.top_down import build_top_down

__all__ = ["PYRAMIDS", "build_pyramid", "pyramid_strides"]

PYRAMIDS = {
    "fpn": build_fpn,
    "bottom_up": build_bottom_up,
    "top_down": build_top_down,
    "finest_level": build_finest_level,
    "single_scale": build_single_scale,
    "fusion": build_fusion,
    "ssd": build_ssd,
}


def build_pyramid(
    channels_per_level,
    channels=256,
    levels=("P2", "P3", "P4", "P5", "P6"),
    norm=None,
    norm_epsilon=1e-5,
    name="fpn",
):
    """Functional model of the pyramid `name`: {"C2".."C5"} -> {"P2".."P6"}.

    Args:
        channels_per_level: `{"C2": 256, ...}`, channels of the backbone's maps, as it declares them.
        channels: channels of every output (d = 256 in the paper).
        levels: outputs wanted, finest first: a run without gaps such as P2..P6 or P3..P5, or the one level of a
            pyramid that has no more. The finest decides which laterals exist; a level above the backbone's coarsest is
            every second cell of the one below (P6).
        norm: None, or "batch_norm" or "frozen_batch_norm" after each convolution, which then has no bias
            (torchvision's version 2). No non-linearity either way.
        norm_epsilon: epsilon of the normalisation.
        name: one of `PYRAMIDS`.

    Returns:
        `keras.Model` from `{"Ck": [B, h, w, C_k]}` to `{level: [B, h, w, channels]}`. Its inputs are the backbone's
        maps that it reads.

    Raises:
        UserError: an unknown pyramid or norm, or levels that this pyramid cannot give.
    """
    if name not in PYRAMIDS:
        raise UserError(f"pyramid.name: unknown {name!r}{nearest(name, PYRAMIDS)}")
    return PYRAMIDS[name](channels_per_level, channels, list(levels), norm, norm_epsilon)


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
