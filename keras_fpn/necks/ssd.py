"""A pyramid from the upper levels on, after SSD (Liu et al., ECCV 2016), which the paper names among its neighbours.

    C4 --1x1--> P4
    C5 --1x1--> P5 --1x1, 3x3 stride 2--> P6 --1x1, 3x3 stride 2--> P7 --1x1, 3x3 stride 2--> P8

No top-down pathway, and nothing of the finer maps: "it misses the opportunity to reuse the higher-resolution maps". SSD
has a head for each level; here one is shared, so that the levels are brought to the same channels.
"""

from collections.abc import Mapping, Sequence

import keras

from keras_fpn.necks.convolutions import Convolutions
from keras_fpn.necks.stretches import check_run, inputs_of_run
from keras_fpn.ops.octaves import level_number


def build_ssd(
    channels_per_level: Mapping[str, int],
    channels: int,
    levels: Sequence[str],
    norm: str | None = None,
    norm_epsilon: float = 1e-5,
) -> keras.Model:
    """Functional model {"C4", "C5"} -> {"P4".."P8"}; arguments: see `build_pyramid`."""
    wanted = check_run(channels_per_level, levels)
    top, inputs = max(map(level_number, channels_per_level)), inputs_of_run(channels_per_level, wanted)
    apply = Convolutions(channels, norm, norm_epsilon)
    outputs = {k: apply(inputs[f"C{k}"], 1, f"output_P{k}") for k in wanted if k <= top}
    for k in range(top + 1, wanted[-1] + 1):
        narrow = apply(outputs[k - 1], 1, f"narrow_P{k}", channels=max(channels // 2, 1), activation="relu")
        outputs[k] = apply(narrow, 3, f"output_P{k}", activation="relu", strides=2)
    return keras.Model(inputs, {f"P{k}": outputs[k] for k in wanted}, name="pyramid")
