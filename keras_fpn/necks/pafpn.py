"""PAFPN: the bottom-up path of PANet as most have it since (mmdetection's).

    P5 ------------------> (+) = I5 --3x3--> N5 --every second cell--> N6
                            | 3x3 stride 2
    P4 ------------------> (+) = I4 --3x3--> N4
                            | 3x3 stride 2
    P3 ------------------> (+) = I3 --3x3--> N3
                            | 3x3 stride 2
    P2 ---------------------- = I2 --------> N2

Unlike in `panet` the sums I go up, not the outputs N, and no convolution has a non-linearity. The outputs are called P
here as of every pyramid.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import keras

from keras_fpn.necks.fpn import merge
from keras_fpn.necks.stretches import build_run

if TYPE_CHECKING:
    from keras_fpn.necks.convolutions import Convolutions


def build_pafpn(
    channels_per_level: Mapping[str, int],
    channels: int,
    levels: Sequence[str],
    norm: str | None = None,
    norm_epsilon: float = 1e-5,
    top_input: str | None = None,
) -> keras.Model:
    """Functional model {"C2".."C5"} -> {"P2".."P6"}; arguments: see `build_pyramid` and `upper_levels`."""
    return build_run(merge, channels_per_level, channels, levels, norm, norm_epsilon, top_input, refine)


def refine(maps: Mapping[str, keras.KerasTensor], apply: "Convolutions") -> dict[str, keras.KerasTensor]:
    """`{"Pk": N_k}` of `{"Pk": P_k}`, finest first."""
    levels, merged, outputs = list(maps), dict(maps), dict(maps)
    for below, level in zip(levels, levels[1:], strict=False):
        finer = apply(merged[below], 3, f"path_down_{below}", strides=2)
        merged[level] = keras.layers.Add(name=f"path_merge_{level}")([finer, maps[level]])
        outputs[level] = apply(merged[level], 3, f"path_output_{level}")
    return outputs
