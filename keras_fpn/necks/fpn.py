"""The feature pyramid (paper, section 3; row c of tables 1, 2 and 3).

    C5 --1x1--> M5 --------------3x3--> P5 --every second cell--> P6
                 |  x2
    C4 --1x1--> (+) = M4 --------3x3--> P4
                 |  x2
    C3 --1x1--> (+) = M3 --------3x3--> P3
                 |  x2
    C2 --1x1--> (+) = M2 --------3x3--> P2

The sums M go down, not the outputs P, and no convolution here has a non-linearity.
"""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import keras

from keras_fpn.necks.fpn_names import CHECKPOINT_NAMES
from keras_fpn.necks.resampling import UpsampleLike
from keras_fpn.necks.stretches import build_run

if TYPE_CHECKING:
    from keras_fpn.necks.convolutions import Convolutions


def build_fpn(
    channels_per_level: Mapping[str, int],
    channels: int,
    levels: Sequence[str],
    norm: str | None = None,
    norm_epsilon: float = 1e-5,
) -> keras.Model:
    """Functional model {"C2".."C5"} -> {"P2".."P6"}; arguments: see `build_pyramid`."""
    model = build_run(merge, channels_per_level, channels, levels, norm, norm_epsilon)
    model.checkpoint_names = MappingProxyType(CHECKPOINT_NAMES)
    return model


def merge(maps: Mapping[int, keras.KerasTensor], apply: "Convolutions") -> Iterator[tuple[int, keras.KerasTensor]]:
    """Lateral connections and the top-down pathway: yields `k, M_k` of `{k: C_k}`, coarsest first."""
    above = None
    for k in sorted(maps, reverse=True):
        merged = apply(maps[k], 1, f"lateral_C{k}")
        if above is not None:
            coarse = UpsampleLike(name=f"upsample_M{k + 1}")(above, merged)
            merged = keras.layers.Add(name=f"merge_M{k}")([merged, coarse])
        yield k, merged
        above = merged
