"""A Keras model of one's own as the backbone: `FasterRCNN(4, backbone=keras.Model(image, {"C3": ..., "C4": ...}))`.

Its configuration stands among the settings of the detector, so that a saved detector comes back without it; its weights
are the detector's, as those of any backbone.
"""

import math
import re
from typing import Any

import keras

from keras_fpn.console.errors import UserError
from keras_fpn.parts.read_only import plain

_PROBE_SIDE = 512


def settings_of(network: keras.Model) -> dict[str, Any]:
    """The group `backbone` of a Keras model of taps.

    Args:
        network: functional model from pixels `[B, H, W, 3]` to `{"Ck": [B, h, w, C_k]}`.

    Raises:
        UserError: it has other outputs, or a map is no power of two smaller than the image.
    """
    strides_of_maps(network)
    return {"name": "given", "network": keras.saving.serialize_keras_object(network)}


def build_given(network: dict[str, Any]) -> keras.Model:
    """The model of a configuration that `settings_of` made, with new weights, and `strides`."""
    if not network:
        raise UserError("backbone.name: given is of a Keras model that Python gives: backbone=keras.Model(...)")
    model = keras.saving.deserialize_keras_object(plain(network))  # Keras takes configurations apart
    model.strides = strides_of_maps(model)
    return model


def strides_of_maps(network: keras.Model) -> dict[str, int]:
    """`{"Ck": pixels between cells}`, by the sizes of the maps.

    Raises:
        UserError: see `settings_of`.
    """
    outputs = getattr(network, "output", None)
    if not isinstance(outputs, dict) or not all(re.fullmatch(r"C[2-6]", level) for level in outputs):
        raise UserError(
            'backbone: a Keras model is given by its taps, keras.Model(image, {"C3": map, "C4": map, "C5": map}) with'
            " names from C2 to C6"
        )
    shapes = network.compute_output_shape((1, _PROBE_SIDE, _PROBE_SIDE, 3))
    strides = {}
    for level in sorted(outputs):
        side, channels = shapes[level][1], shapes[level][-1]
        octaves = round(math.log2(_PROBE_SIDE / side)) if side else None
        if not octaves or -(-_PROBE_SIDE // 2**octaves) != side or channels is None:
            raise UserError(
                f"backbone: {level} has {side} cells of {_PROBE_SIDE} pixels; give maps whose sides are halves, rounded"
                " up, of the one below"
            )
        strides[level] = 2**octaves
    return strides
