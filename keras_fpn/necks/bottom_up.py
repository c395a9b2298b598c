"""The bottom-up pyramid: no top-down pathway (paper, section 5.1; row d of tables 1 and 2).

    C5 --1x1--> M5 --3x3--> P5 --every second cell--> P6
    C4 --1x1--> M4 --3x3--> P4
    C3 --1x1--> M3 --3x3--> P3
    C2 --1x1--> M2 --3x3--> P2

Each level sees only what its own backbone map knows: fine levels have little meaning, the "semantic gap".
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from keras_fpn.necks.stretches import build_run

if TYPE_CHECKING:
    import keras

    from keras_fpn.necks.convolutions import Convolutions


def build_bottom_up(
    channels_per_level: Mapping[str, int],
    channels: int,
    levels: Sequence[str],
    norm: str | None = None,
    norm_epsilon: float = 1e-5,
) -> "keras.Model":
    """Functional model {"C2".."C5"} -> {"P2".."P6"}; arguments: see `build_pyramid`."""
    return build_run(merge, channels_per_level, channels, levels, norm, norm_epsilon)


def merge(maps: "Mapping[int, keras.KerasTensor]", apply: "Convolutions") -> "Iterator[tuple[int, keras.KerasTensor]]":
    """Lateral connections alone: yields `k, M_k` of `{k: C_k}`, coarsest first."""
    for k in sorted(maps, reverse=True):
        yield k, apply(maps[k], 1, f"lateral_C{k}")
