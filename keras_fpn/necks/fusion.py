"""All levels on one map, after HyperNet (Kong et al., CVPR 2016), which the paper names among its neighbours.

    C2 --max pooling--> 5x5 --+
    C3 ---------------> 5x5 --+-- concatenated --1x1--> P3
    C4 --x2-----------> 5x5 --+
    C5 --x4-----------> 5x5 --+

The maps meet on the grid of the level asked for, each brought to a share of the channels. HyperNet is of VGG and fuses
three maps of 42 channels after local response normalisation, which residual networks do without. One map has to serve
objects of all sizes: anchors of all sizes are on it, 15 in each cell.
"""

from collections.abc import Mapping, Sequence

import keras

from keras_fpn.console.errors import UserError
from keras_fpn.necks.convolutions import Convolutions
from keras_fpn.necks.resampling import UpsampleLike
from keras_fpn.ops.octaves import level_number


def build_fusion(
    channels_per_level: Mapping[str, int],
    channels: int,
    levels: Sequence[str],
    norm: str | None = None,
    norm_epsilon: float = 1e-5,
) -> keras.Model:
    """Functional model {"C2".."C5"} -> {"P3"}; arguments: see `build_pyramid`.

    Raises:
        UserError: more than one level, one that the backbone has not, or channels that its maps cannot share.
    """
    if len(levels) != 1 or f"C{level_number(levels[0])}" not in channels_per_level:
        raise UserError(f"pyramid.levels: fusion gives one of the backbone's levels, [P3]; not {', '.join(levels)}")
    if channels % len(channels_per_level):
        raise UserError(f"pyramid.channels: {channels}; give a multiple of {len(channels_per_level)}, a share each")
    grid, share = level_number(levels[0]), channels // len(channels_per_level)
    inputs = {level: keras.Input((None, None, number), name=level) for level, number in channels_per_level.items()}
    apply = Convolutions(channels, norm, norm_epsilon)
    shares = [
        apply(_on_grid(x, level_number(level), grid, inputs[f"C{grid}"]), 5, f"share_{level}", channels=share)
        for level, x in inputs.items()
    ]
    fused = apply(keras.layers.Concatenate(name="concatenate")(shares), 1, f"output_P{grid}")
    return keras.Model(inputs, {f"P{grid}": fused}, name="pyramid")


def _on_grid(x, k, grid, like):
    for number in range(k, grid):
        x = keras.layers.MaxPooling2D(2, padding="same", name=f"pool_C{k}_{number}")(x)
    return UpsampleLike(name=f"upsample_C{k}")(x, like) if k > grid else x
