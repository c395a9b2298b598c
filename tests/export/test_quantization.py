"""Fewer bits: which operators compute in what, how far the results move, and what a user can get wrong."""

import collections
import functools

import numpy as np
import pytest
from PIL import Image

from keras_fpn.console.errors import UserError
from keras_fpn.export import preprocessing
from keras_fpn.export.tflite import flatbuffer, quantization, versions
from keras_fpn.export.tflite.integer_part import LAYERS, find_integer_part
from keras_fpn.export.tflite.operators import operator_counts
from keras_fpn.export.to_tflite import convert

SIZE = (96, 128)
RULE = {"interpolation": "pillow", "rounding": "half_up"}

Node = collections.namedtuple("Node", ("kind", "reads", "writes"))
Tensor = collections.namedtuple("Tensor", ("name", "dtype", "values", "scales"))  # values and scales: None or array

# Reading what is between the operators is said to be for debugging, which a test is.
pytestmark = pytest.mark.filterwarnings("ignore:Warning. Enabling `experimental_preserve_all_tensors`")


@functools.cache
def nodes(content):
    """The operators of a file, read with LiteRT's own reader."""
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    [graph] = model.subgraphs
    kinds = {code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    dtypes = {code: name.lower() for name, code in vars(schema.TensorType).items() if not name.startswith("_")}

    def tensor(index):
        about = graph.tensors[index]
        data, dtype = model.buffers[about.buffer].data, dtypes[about.type]
        is_constant = data is not None and len(data) > 0
        values = np.frombuffer(bytes(data), dtype).reshape(about.shape) if is_constant else None
        return Tensor(about.name.decode(), dtype, values, about.quantization and about.quantization.scale)

    found = [
        Node(
            kinds[model.operatorCodes[operator.opcodeIndex].builtinCode],
            [tensor(index) for index in operator.inputs if index >= 0],
            [tensor(index) for index in operator.outputs],
        )
        for operator in graph.operators
    ]
    # The normalisation of the pixels, and what makes BGR of RGB there, is no part of what is quantised.
    return [node for node in found if "/pixels" not in node.writes[0].name]


def weights(content, dtype):
    """The weights of all layers in a file, by name. Some reach their layer through a DEQUANTIZE."""
    of_layers = [node.reads[1] for node in nodes(content) if node.kind in LAYERS]
    widened = [node.reads[0] for node in nodes(content) if node.kind == "DEQUANTIZE"]
    constants = [tensor for tensor in of_layers + widened if tensor.values is not None]
    return {tensor.name: tensor for tensor in constants if tensor.dtype == dtype}


def all_tensors(content, inputs):
    """Values of every tensor of float32 after one run, by name."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, experimental_preserve_all_tensors=True)
    interpreter.get_signature_runner()(**inputs)
    floats = [details for details in interpreter.get_tensor_details() if details["dtype"] == np.float32]
    wanted = [details for details in floats if "rpn_head" in details["name"] and details["shape"].size == 4]
    return {details["name"]: interpreter.get_tensor(details["index"]) for details in wanted}


def detect(content, inputs):
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(model_content=content).get_signature_runner()(**inputs)


def rpn_error(content, float_content, inputs):
    """Root mean square error of the RPN's logits and deltas, as a share of their own root mean square; the worst."""
    ours, truth = all_tensors(content, inputs), all_tensors(float_content, inputs)
    names = [name for name in truth if "objectness" in name or "deltas" in name]
    assert len(names) == 10  # two predictors on five levels
    return max(np.sqrt(np.mean((ours[name] - truth[name]) ** 2) / np.mean(truth[name] ** 2)) for name in names)


@pytest.fixture(scope="module")
def float_file(tiny_model):
    return convert(tiny_model, SIZE, "uint8")


@pytest.fixture(scope="module")
def pictures(shapes_folder):
    files = sorted((shapes_folder / "train").iterdir())
    arrays = [np.asarray(Image.open(file).convert("RGB")) for file in files]
    return [preprocessing.letterbox([array], SIZE, RULE, "uint8") for array in arrays]


@pytest.fixture(scope="module")
def quantized(float_file, pictures):
    return {name: quantization.quantize(float_file, name, pictures) for name in ("float16", "dynamic_int8", "int8")}


def test_the_integer_part_is_told_by_the_graph(float_file):
    """By hand: ResNet-18 has 20 convolutions and 8 sums, the pyramid 8 and 3, the RPN's head 1 and 2 on 5 levels."""
    inner, last = find_integer_part(float_file)
    layers = collections.Counter(operator.kind for operator in inner)
    assert (layers["CONV_2D"], layers["ADD"], layers["RESIZE_NEAREST_NEIGHBOR"]) == (20 + 8 + 5, 8 + 3, 3)
    assert layers["FULLY_CONNECTED"] == 2
    assert not layers.keys() & {"GATHER", "SUB", "TOPK_V2", "SELECT_V2"}
    assert collections.Counter(operator.kind for operator in last) == {"CONV_2D": 10, "FULLY_CONNECTED": 2}


def test_float16_weights_are_the_float32_ones_rounded(float_file, quantized):
    halves, full = weights(quantized["float16"], "float16"), weights(float_file, "float32")
    assert halves.keys() == full.keys()
    for name in full:
        np.testing.assert_array_equal(halves[name].values, full[name].values.astype(np.float16))


@pytest.mark.parametrize("precision", ["dynamic_int8", "int8"])
def test_int8_weights_are_within_half_a_step(float_file, quantized, precision):
    """The largest weight of a channel is 127 steps; the first axis counts the channels that a layer writes."""
    integers, full = weights(quantized[precision], "int8"), weights(float_file, "float32")
    assert integers.keys() == full.keys()
    for name in full:
        values = full[name].values.reshape(len(full[name].values), -1)
        step = np.abs(values).max(axis=1) / 127
        np.testing.assert_allclose(integers[name].scales, step, rtol=1e-5)
        stored = integers[name].values.reshape(values.shape) * step[:, None]
        assert (np.abs(stored - values) <= 0.501 * step[:, None]).all()


@pytest.mark.parametrize(("precision", "bytes_each"), [("float16", 2), ("dynamic_int8", 1), ("int8", 1)])
def test_the_file_shrinks_by_its_weights(float_file, quantized, precision, bytes_each):
    numbers = sum(tensor.values.size for tensor in weights(float_file, "float32").values())
    # What an operator more takes, and scales, come on top.
    assert len(quantized[precision]) < len(float_file) - 0.9 * (4 - bytes_each) * numbers


def test_int8_computes_the_layers_in_integers_and_the_tail_in_float(quantized):
    inputs = collections.Counter((node.kind, node.reads[0].dtype) for node in nodes(quantized["int8"]))
    outputs = collections.Counter((node.kind, node.writes[0].dtype) for node in nodes(quantized["int8"]))
    assert (inputs["CONV_2D", "int8"], outputs["CONV_2D", "int8"], outputs["CONV_2D", "float32"]) == (33, 33, 10)
    assert (outputs["FULLY_CONNECTED", "int8"], outputs["FULLY_CONNECTED", "float32"]) == (2, 2)
    assert outputs["ADD", "int8"] == 11
    in_integers = {kind for kind, dtype in outputs if dtype == "int8"}
    between = {"ADD", "PAD", "MAX_POOL_2D", "RESIZE_NEAREST_NEIGHBOR"}
    assert in_integers == {"CONV_2D", "FULLY_CONNECTED", "QUANTIZE"} | between


def test_dynamic_int8_keeps_activations_in_float(quantized):
    layers = [node for node in nodes(quantized["dynamic_int8"]) if node.kind in LAYERS]
    assert {(node.reads[0].dtype, node.reads[1].dtype, node.writes[0].dtype) for node in layers} == {
        ("float32", "int8", "float32")
    }


@pytest.mark.parametrize(("precision", "most"), [("float16", 2e-3), ("dynamic_int8", 0.1), ("int8", 0.2)])
def test_the_layers_give_nearly_the_same(float_file, quantized, pictures, precision, most):
    """Twice what was measured of 11 bits, of 8 bits, and of 8 bits from the first layer to the last; all wrong is 1."""
    assert 0 < rpn_error(quantized[precision], float_file, pictures[0]) < most


def test_float16_detects_the_same(float_file, quantized, pictures):
    theirs, ours = detect(float_file, pictures[1]), detect(quantized["float16"], pictures[1])
    assert theirs["num_detections"] == ours["num_detections"] == 10
    np.testing.assert_allclose(ours["scores"], theirs["scores"], atol=1e-3)


@pytest.mark.parametrize("precision", ["float16", "dynamic_int8", "int8"])
def test_inputs_and_outputs_stay_and_all_operators_are_builtin(float_file, quantized, pictures, precision):
    found = detect(quantized[precision], pictures[0])
    shapes = {name: (value.dtype, value.shape) for name, value in detect(float_file, pictures[0]).items()}
    assert {name: (value.dtype, value.shape) for name, value in found.items()} == shapes
    assert all(np.isfinite(value).all() for value in found.values())
    assert not [name for name in operator_counts(quantized[precision]) if name.startswith("CUSTOM")]


# By TensorFlow's table (lite/tools/versioning): weights with a scale for each channel and ranges found on the way are
# version 5 of a convolution and 12 of a fully connected layer, of 2.17; int8 in and out 3 and 4; float16 weights 3.
VERSIONS = {
    "float16": ({"DEQUANTIZE": 3, "CONV_2D": 1, "FULLY_CONNECTED": 1}, "2.6.0"),
    "dynamic_int8": ({"CONV_2D": 5, "FULLY_CONNECTED": 12}, "2.17.0"),
    "int8": ({"CONV_2D": 3, "FULLY_CONNECTED": 4, "ADD": 2}, "2.7.0"),
}


@pytest.mark.parametrize("precision", VERSIONS)
def test_operators_state_the_versions_that_they_need(quantized, precision):
    """A runtime that does not know them must refuse the file, and not answer by what it knows."""
    from ai_edge_litert import schema_py_generated as schema

    content = versions.stated(quantized[precision])
    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    found = {names[code.builtinCode]: code.version for code in flatbuffer.unpacked(content).operatorCodes}
    expected, oldest = VERSIONS[precision]
    assert {name: found[name] for name in expected} == expected
    assert versions.oldest_runtime(content) == oldest
    assert operator_counts(content) == operator_counts(quantized[precision])
    for one, other in zip(nodes(content), nodes(quantized[precision]), strict=True):
        assert (one.kind, [each.name for each in one.reads]) == (other.kind, [each.name for each in other.reads])


def test_the_ranges_come_of_the_calibration(float_file, pictures, quantized):
    """Black pictures show no range of anything that depends on the picture."""
    black = [{"images": np.zeros((1, *SIZE, 3), np.uint8), "image_sizes": np.array([SIZE], np.int32)}]
    blind = quantization.quantize(float_file, "int8", black)
    errors = [rpn_error(content, float_file, pictures[0]) for content in (blind, quantized["int8"])]
    assert errors[0] > 3 * errors[1]


def test_only_its_own_progress_is_printed(float_file, pictures, capsys):
    quantization.quantize(float_file, "int8", pictures[:2])
    printed = capsys.readouterr()
    assert (printed.out.startswith("calibrate: 2 images in "), printed.out.count("\n"), printed.err) == (True, 1, "")


@pytest.mark.slow
def test_layers_without_a_signal_are_no_trouble(tiny_settings, pictures):
    """A proposal network whose hidden convolution gives nothing: ranges of width 0."""
    import keras_fpn

    settings = tiny_settings()
    kept = {key: settings[key] for key in ("backbone", "pyramid", "anchors", "rpn", "proposals", "seed")}
    model = keras_fpn.RPN(**kept)
    for variable in model.rpn_head.hidden[0].trainable_variables:
        variable.assign(variable * 0)
    content = quantization.quantize(convert(model, SIZE, "uint8"), "int8", pictures[:1])
    found = detect(content, pictures[0])
    assert sorted(found) == ["boxes", "num_detections", "scores"]
    np.testing.assert_allclose(found["scores"], 0.5, atol=0.01)  # the sigmoid of the predictor's bias alone, 0


@pytest.mark.parametrize(
    ("precision", "examples", "message"),
    [
        ("int4", [], "precision: unknown value 'int4'; valid are float32, float16, dynamic_int8, int8"),
        ("int8", None, "int8 needs calibration images: .*--calibration FOLDER"),
        ("int8", [], "calibration: no images in the set"),
        ("int8", iter(()), "calibration: no images in the set"),
        ("int8", [{"images": np.zeros((1, 96, 128, 3), np.uint8)}], 'an example has no "image_sizes"'),
        (
            "int8",
            [{"images": np.zeros((1, 96, 96, 3), np.uint8), "image_sizes": np.array([[96, 96]], np.int32)}],
            r'"images" is uint8 \[1, 96, 96, 3\], the model takes uint8 \[1, 96, 128, 3\]; letterbox',
        ),
        (
            "int8",
            [{"images": np.zeros((1, 96, 128, 3), np.float32), "image_sizes": np.array([[96, 96]], np.int32)}],
            r'"images" is float32 \[1, 96, 128, 3\], the model takes uint8',
        ),
    ],
)
def test_what_a_user_gets_wrong_is_one_line(float_file, precision, examples, message):
    with pytest.raises(UserError, match=message) as caught:
        quantization.quantize(float_file, precision, examples)
    assert "\n" not in str(caught.value)


def test_float32_is_left_as_it_is(float_file):
    assert quantization.quantize(float_file, "float32") is float_file


@pytest.mark.slow
def test_mobilenet_keeps_its_hard_swish_and_squeezes_in_integers(tiny_settings, pictures):
    """MobileNetV3-Large: 20 hard-swish, 15 depthwise convolutions, 8 squeezes of a mean and two products each."""
    import keras_fpn

    settings = tiny_settings() | {"backbone": {"name": "mobilenet_v3_large"}, "pyramid": {"channels": 16}}
    kept = {key: settings[key] for key in ("pyramid", "anchors", "rpn", "proposals", "backbone", "seed")}
    content = convert(keras_fpn.RPN(**kept), SIZE, "uint8")
    int8, dynamic = (quantization.quantize(content, name, pictures) for name in ("int8", "dynamic_int8"))
    outputs = collections.Counter((node.kind, node.writes[0].dtype) for node in nodes(int8))
    assert [outputs[kind, "int8"] for kind in ("HARD_SWISH", "DEPTHWISE_CONV_2D", "MEAN", "MUL")] == [20, 15, 8, 16]
    depthwise = [node for node in nodes(dynamic) if node.kind == "DEPTHWISE_CONV_2D"]
    assert {node.reads[1].dtype for node in depthwise} == {"float32"}  # from int8, once, when the file is opened
    for file in (int8, dynamic):
        assert all(np.isfinite(value).all() for value in detect(file, pictures[0]).values())
