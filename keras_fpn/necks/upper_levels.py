"""The levels of a pyramid above the coarsest map of the backbone."""

from collections.abc import Mapping, Sequence

import keras

from keras_fpn.necks.convolutions import Convolutions
from keras_fpn.necks.resampling import subsample
from keras_fpn.ops.octaves import level_number


def upper_levels(
    inputs: Mapping[str, keras.KerasTensor],
    own: Mapping[str, keras.KerasTensor],
    levels: Sequence[str],
    channels: int,
    top_input: str | None,
) -> dict[str, keras.KerasTensor]:
    """The outputs of a pyramid: those of the backbone's levels, and those above them.

    Args:
        inputs: `{"Ck": map}` of the backbone.
        own: `{"Pk": map}` of its levels, finest first.
        levels: names of all outputs.
        channels: of each of them.
        top_input: None for every second cell of the level below (P6 of the FPN paper). Else for convolutions of stride
            2, with a bias and no norm, each of the rectified level below: the first reads the coarsest map of the
            backbone ("backbone") or the pyramid's level of it ("pyramid").
    """
    apply, outputs = Convolutions(channels), dict(own)
    x = inputs[max(inputs, key=level_number)] if top_input == "backbone" else own[max(own, key=level_number)]
    for level in levels[len(own) :]:
        if top_input is None:
            outputs[level] = x = subsample(x, f"subsample_{level}")
        else:
            outputs[level] = apply(x, 3, f"downsample_{level}", strides=2)
            x = keras.layers.ReLU(name=f"relu_{level}")(outputs[level])
    return outputs
