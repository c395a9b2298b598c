"""A detector's TFLite file in fewer bits.

    precision      weights              arithmetic of the layers        everything else
    float16        float16              float32                         float32
    dynamic_int8   int8 of a channel    int8, ranges found while it     float32
                                        runs; depthwise, transposed:
                                        float32
    int8           int8 of a channel    int8, ranges of a calibration;  float32
                                        last layers: float32; in loops
                                        as in dynamic_int8

"Layers" are convolutions and fully connected layers, and in "int8" what stands between them, see `integer_part`.
What they predict leaves the last layers as float32 in all of them: 255 steps are too few for a ranking of thousands of
anchors, and those of a map for each class would be as wide as the class with the largest numbers asks.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from keras_fpn.console import extras
from keras_fpn.console.errors import UserError
from keras_fpn.export.tflite.activation_ranges import find_activation_ranges, silence
from keras_fpn.export.tflite.integer_part import LAYERS, find_integer_part, find_layers_in_loops

if TYPE_CHECKING:
    import numpy as np


# XNNPACK computes no depthwise convolution with dynamic ranges: LiteRT's own is slower than float32, and so is that of
# transposed ones.
_NOT_DYNAMIC = ("DEPTHWISE_CONV_2D", "TRANSPOSE_CONV")
_NAMES = {"TRANSPOSE_CONV": "CONV_2D_TRANSPOSE"}  # those that the quantizer calls otherwise than TFLite's schema


def quantize(content: bytes, precision: str, calibration: "Iterable[Mapping[str, np.ndarray]] | None" = None) -> bytes:
    """Bring a float32 detector to another precision.

    Args:
        content: bytes of a float32 TFLite file.
        precision: "float32" (nothing to do), "float16", "dynamic_int8" or "int8".
        calibration: for "int8" and read by it only: an iterable of the inputs of single images, see
            `find_activation_ranges`.

    Returns:
        The bytes of the new file: the same inputs and outputs, builtin operators only.

    Raises:
        UserError: the precision is unknown, or the calibration set is missing, empty or does not fit.
    """
    if precision == "float32":
        return content
    if precision not in _QUANTIZERS:
        raise UserError(f"precision: unknown value {precision!r}; valid are float32, {', '.join(_QUANTIZERS)}")
    return _QUANTIZERS[precision](content, calibration)


def _float16(content, calibration):
    recipe = _new_recipe()
    for operator in _all_layers(content):
        recipe.add_weight_only_config(operator.pattern, _name(operator), 16, algorithm_key="float_casting")
    return _apply(content, recipe)


def _dynamic_int8(content, calibration):
    recipe = _new_recipe()
    for operator in _all_layers(content):
        _add_dynamic(recipe, operator)
    return _apply(content, recipe)


def _add_dynamic(recipe, operator):
    add = recipe.add_weight_only_config if operator.kind in _NOT_DYNAMIC else recipe.add_dynamic_config
    add(operator.pattern, _name(operator), 8)


def _int8(content, calibration):
    if calibration is None:
        raise UserError(
            "int8 needs calibration images: give some tens of the kind that the model will see (--calibration FOLDER)"
        )
    inner, last = find_integer_part(content)
    recipe = _new_recipe()
    for operator in inner:
        recipe.add_static_config(operator.pattern, _name(operator), activation_num_bits=8, weight_num_bits=8)
    for operator in last:
        recipe.add_weight_only_config(operator.pattern, _name(operator), 8)
    for operator in find_layers_in_loops(content):
        _add_dynamic(recipe, operator)
    ranges = find_activation_ranges(content, recipe, calibration)
    return _apply(content, recipe, ranges)


_QUANTIZERS = {"float16": _float16, "dynamic_int8": _dynamic_int8, "int8": _int8}


def _all_layers(content):
    """Every convolution and fully connected layer that has weights in the file."""
    inner, last = find_integer_part(content)
    return [operator for operator in inner + last if operator.kind in LAYERS] + find_layers_in_loops(content)


def _name(operator):
    return _NAMES.get(operator.kind, operator.kind)


def _new_recipe():
    return extras.require("ai_edge_quantizer.recipe_manager", extra="tflite").RecipeManager()


def _apply(content, recipe, ranges=None):
    quantizer = extras.require("ai_edge_quantizer.quantizer", extra="tflite")
    with silence():
        quantizing = quantizer.Quantizer(content, recipe.get_quantization_recipe())
        result = quantizing.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
    return bytes(result.quantized_model)
