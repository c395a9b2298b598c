"""The top-down pyramid without lateral connections (paper, section 5.1; row e of tables 1 and 2).

    C5 --1x1--> M5 --3x3--> P5 --every second cell--> P6
                 |  x2
                 M4 --3x3--> P4
                 |  x2
                 M3 --3x3--> P3
                 |  x2
                 M2 --3x3--> P2

Every level knows what C5 knows, and where it is only as well as C5 does: the map was subsampled and upsampled again.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from keras_fpn.necks.resampling import UpsampleLike
from keras_fpn.necks.stretches import build_run

if TYPE_CHECKING:
    import keras

    from keras_fpn.necks.convolutions import Convolutions


def build_top_down(
    channels_per_level: Mapping[str, int],
    channels: int,
    levels: Sequence[str],
    norm: str | None = None,
    norm_epsilon: float = 1e-5,
) -> "keras.Model":
    """Functional model {"C2".."C5"} -> {"P2".."P6"}; arguments: see `build_pyramid`."""
    return build_run(merge, channels_per_level, channels, levels, norm, norm_epsilon)


def merge(maps: "Mapping[int, keras.KerasTensor]", apply: "Convolutions") -> "Iterator[tuple[int, keras.KerasTensor]]":
    """The top-down pathway alone: yields `k, M_k` of `{k: C_k}`; of the finer C_k only the grid is read."""
    top = max(maps)
    merged = apply(maps[top], 1, f"lateral_C{top}")
    yield top, merged
    for k in range(top - 1, min(maps) - 1, -1):
        merged = UpsampleLike(name=f"upsample_M{k + 1}")(merged, maps[k])
        yield k, merged
