"""The pyramid of PANet: a bottom-up path after the top-down one (Liu et al., CVPR 2018, section 3.1).

    P5 ------------------> (+) --3x3--> N5 --every second cell--> N6
                            | 3x3 stride 2
    P4 ------------------> (+) --3x3--> N4
                            | 3x3 stride 2
    P3 ------------------> (+) --3x3--> N3
                            | 3x3 stride 2
    P2 ------------------------------> N2

What a fine map knows of places reaches the coarse ones through a few layers instead of the whole backbone. What goes up
is the output N, after its convolution. With a normalisation each convolution of the path has a bias, too, and ends in
a ReLU; without one in neither (the authors' code). The outputs are called P here as of every pyramid.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import keras

from keras_fpn.necks.fpn import merge
from keras_fpn.necks.stretches import build_run

if TYPE_CHECKING:
    from keras_fpn.necks.convolutions import Convolutions


def build_panet(
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
    options = {"activation": None if apply.norm is None else "relu", "use_bias": True}
    levels, outputs = list(maps), dict(maps)
    for below, level in zip(levels, levels[1:], strict=False):
        finer = apply(outputs[below], 3, f"path_down_{below}", strides=2, **options)
        merged = keras.layers.Add(name=f"path_merge_{level}")([finer, maps[level]])
        outputs[level] = apply(merged, 3, f"path_output_{level}", **options)
    return outputs
