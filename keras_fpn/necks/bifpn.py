"""The bidirectional pyramid of EfficientDet (Tan et al., CVPR 2020, section 3): cells of a path down and a path up.

    P7 ---------------------------------> (+) P7''
     \\--x2--> (+) P6' ------------------> (+) P6''     each of them reads P6, too,
               \\--x2--> (+) P5' -------> (+) P5''      and P5, and so on: a level's own input
                         \\--x2--> (+) P4' -> P4''
    P3 --------------------\\--x2--> (+) P3'' = P3'     and up: 3x3 max pooling of stride 2

Each (+) is a sum with learnt weights, then swish, a separable 3x3 convolution and a normalisation, after which there is
no non-linearity. The conventions are those of the authors' code: a map of other channels goes through a 1x1 convolution
with a normalisation, one for each sum that reads it; levels above the backbone's are pooled 3x3 from the one below.
"""

from collections.abc import Mapping, Sequence

import keras

from keras_fpn.layers.weighted_sum import WeightedSum
from keras_fpn.necks.convolutions import Convolutions
from keras_fpn.necks.resampling import UpsampleLike
from keras_fpn.necks.stretches import check_run, inputs_of_run
from keras_fpn.ops.octaves import level_number


def build_bifpn(
    channels_per_level: Mapping[str, int],
    channels: int,
    levels: Sequence[str],
    norm: str | None = "batch_norm",
    norm_epsilon: float = 1e-3,
    repeats: int = 3,
    fusion: str = "fast",
) -> keras.Model:
    """Functional model {"C3", "C4", "C5"} -> {"P3".."P7"}; arguments: see `build_pyramid`.

    Args:
        repeats: cells, one after the other.
        fusion: "sum" without weights, or see `WeightedSum`.
    """
    wanted = check_run(channels_per_level, levels)
    inputs, apply = inputs_of_run(channels_per_level, wanted), Convolutions(channels, norm, norm_epsilon)
    maps = {level_number(level): x for level, x in inputs.items()}
    for k in wanted[len(maps) :]:
        maps[k] = _pool(apply.of_width(maps[k - 1], f"lateral_P{k}"), f"pool_P{k}")
    for number in range(repeats):
        maps = _Cell(apply, fusion, f"cell{number}")(maps)
    return keras.Model(inputs, {f"P{k}": maps[k] for k in wanted}, name="pyramid")


class _Cell:
    """`{k: P_k} -> {k: P_k''}`."""

    def __init__(self, apply, fusion, name):
        self.apply, self.fusion, self.name = apply, fusion, name

    def __call__(self, maps):
        finest, coarsest = min(maps), max(maps)
        down, up = {coarsest: maps[coarsest]}, {}
        for k in range(coarsest - 1, finest - 1, -1):
            name = f"{self.name}_{'up' if k == finest else 'down'}_P{k}"
            coarse = self.apply.of_width(down[k + 1], f"{name}_coarse")
            coarse = UpsampleLike(name=f"{name}_upsample")(coarse, maps[k])
            down[k] = self._node([self.apply.of_width(maps[k], f"{name}_own"), coarse], name)
        up[finest] = down[finest]
        for k in range(finest + 1, coarsest + 1):
            name = f"{self.name}_up_P{k}"
            between = [down[k]] if k < coarsest else []
            fine = _pool(up[k - 1], f"{name}_pool")
            up[k] = self._node([self.apply.of_width(maps[k], f"{name}_own"), *between, fine], name)
        return up

    def _node(self, maps, name):
        sums = keras.layers.Add if self.fusion == "sum" else WeightedSum
        options = {} if self.fusion == "sum" else {"normalisation": self.fusion}
        x = keras.layers.Activation("silu", name=f"{name}_swish")(sums(name=f"{name}_sum", **options)(maps))
        x = keras.layers.SeparableConv2D(
            self.apply.channels, 3, padding="same", use_bias=self.apply.norm is None, name=name
        )(x)
        return self.apply.normalise(x, name)


def _pool(x, name):
    return keras.layers.MaxPooling2D(3, strides=2, padding="same", name=name)(x)
