"""The detector as a TFLite file: one image of a fixed size, builtin operations only."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from keras_fpn.console.errors import UserError
from keras_fpn.export.adapters import adapted
from keras_fpn.export.description import MAX_PROPOSALS, default_input_type, describe
from keras_fpn.export.signature import as_function
from keras_fpn.export.tflite import metadata, operators, versions

if TYPE_CHECKING:
    import numpy as np

    from keras_fpn.models.detector import Detector

LEAST_SIDE, MOST_SIDE = 32, 4096  # pixels; at most 16 million in all


def write_tflite(
    model: "Detector",
    path: str | os.PathLike,
    *,
    size: tuple[int, int],
    precision: str = "float32",
    input_type: str | None = None,
    calibration: "Iterable[Mapping[str, np.ndarray]] | None" = None,
    max_proposals: int = MAX_PROPOSALS,
) -> None:
    """Write the whole detector, decode and suppression inside.

    Args:
        model: a `Detector`.
        path: the file.
        size: (height, width) of the images, pixels.
        precision: "float32", "float16", "dynamic_int8" or "int8".
        input_type: "uint8" or "float32"; without, what the model's own resize rule gives.
        calibration: for "int8", an iterable of the inputs of single images, `{"images": [1, H, W, 3] of the
            input_type, "image_sizes": [1, 2] int32}`, and whatever else the model takes.
        max_proposals: rows of the proposals that a `FastRCNN` is given.

    Raises:
        UserError: the size suits no detector, or the model has a part that LiteRT has no builtin operations for.
    """
    given: dict[str, Any] = {"input_type": input_type or default_input_type(model), "max_proposals": max_proposals}
    content = convert(model, size, **given)
    if precision != "float32":
        from keras_fpn.export.tflite import quantization

        content = versions.stated(quantization.quantize(content, precision, calibration))
    description = describe(model, precision=precision, frame=(size[0], size[1]), **given)
    content = metadata.add(content, description)
    operators.check_builtin(content, path)
    Path(path).write_bytes(content)


def convert(model: "Detector", size: tuple[int, int], input_type: str, max_proposals: int = MAX_PROPOSALS) -> bytes:
    """The float32 file's bytes, without metadata.

    Args:
        model: a `Detector`; one that computes in a lower precision is converted as if it did not.
        size: (height, width) of the images, pixels.
        input_type: "uint8" or "float32".
        max_proposals: see `write_tflite`.

    Raises:
        UserError: see `write_tflite`.
    """
    frame = _checked_size(size)
    model = adapted(model, "tflite", "float32")
    description = describe(model, input_type=input_type, frame=frame, max_proposals=max_proposals)
    # The converter finds variables by their tracking and would write a file without weights: a Keras variable hides
    # its own.
    module = tf.Module()
    module.variables_of_model = [variable.value for variable in model.variables]
    function = as_function(model, description).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], module)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    return converter.convert()


def _checked_size(size):
    height, width = (int(side) for side in size)
    if min(height, width) < LEAST_SIDE or max(height, width) > MOST_SIDE:
        raise UserError(
            f"size: {height}x{width} pixels suits no detector; give sides between {LEAST_SIDE} and {MOST_SIDE},"
            " 320x320 is usual on a phone"
        )
    return height, width
