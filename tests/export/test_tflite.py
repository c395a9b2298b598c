"""TFLite: the file that is written, run in LiteRT's interpreter, against the model that it was made of.

Expected numbers come from the Keras model itself, or from the layer that a static stage stands in for.
"""

import collections
import dataclasses
import zipfile
from types import SimpleNamespace

import hypothesis
import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

import keras_fpn
from keras_fpn.config.building import build_model
from keras_fpn.console.errors import UserError
from keras_fpn.export import to_tflite
from keras_fpn.export.description import Description, describe
from keras_fpn.export.tflite import flatbuffer, metadata, operators
from keras_fpn.export.tflite.narrow_products import narrow_products
from keras_fpn.export.tflite.roi_align import crop
from keras_fpn.export.tflite.suppression import nms_mask
from keras_fpn.layers.roi_align import RoIAlign
from keras_fpn.ops.levels import roi_levels
from keras_fpn.ops.nms import nms_mask as reference_nms_mask

interpreting = pytest.importorskip("ai_edge_litert.interpreter", reason="LiteRT is an extra")
schema = pytest.importorskip("ai_edge_litert.schema_py_generated")

SIZE = 128, 160  # its maps are too large for products with all of their cells: RoIAlign goes by windows


def converted(function, *specs):
    """A runner of `function` in LiteRT."""
    concrete = tf.function(function, input_signature=specs, autograph=False).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], tf.Module())
    return runner(model_content=converter.convert())


def runner(**file):
    return interpreting.Interpreter(num_threads=1, **file).get_signature_runner()


def picture(size, seed, dtype="uint8"):
    return np.random.default_rng(seed).integers(0, 256, (1, *size, 3)).astype(dtype)


def assert_same(found, expected):
    """The tolerances of the issue: 0.05 px, 1e-4; whole numbers equal."""
    assert set(found) == set(expected)
    for name, tolerance in (("boxes", 0.05), ("scores", 1e-4)):
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=tolerance, err_msg=name)
    for name in set(expected) - {"boxes", "scores"}:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


@pytest.fixture(scope="module")
def file(tiny_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("tflite") / "tiny.tflite"
    to_tflite.write_tflite(tiny_model, path, size=SIZE)
    return path


@pytest.fixture(scope="module")
def detect(file):
    return runner(model_path=str(file))


# The whole ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("valid", [SIZE, (100, 160), (128, 61), (33, 7)])
def test_it_answers_what_the_model_answers(valid, tiny_model, detect):
    inputs = {"images": picture(SIZE, seed=valid[1]), "image_sizes": np.array([valid], np.int32)}  # padded with noise
    expected = {name: value.numpy() for name, value in tiny_model(inputs).items()}
    assert expected["num_detections"][0] > 0
    assert_same(detect(**inputs), expected)


@pytest.mark.parametrize("unset", [(0, 0), (0, 60), (129, 160), (-1, 2**31 - 1)])
def test_sizes_that_no_program_set_are_those_of_the_whole_image(unset, detect):
    image = picture(SIZE, seed=1)
    whole = detect(images=image, image_sizes=np.array([SIZE], np.int32))
    assert whole["num_detections"].tolist() > [0]
    assert_same(detect(images=image, image_sizes=np.array([unset], np.int32)), whole)


def test_inputs_and_outputs_have_the_names_and_types_of_all_artefacts(file):
    interpreter = interpreting.Interpreter(model_path=str(file))
    expected = {"inputs": ["image_sizes", "images"], "outputs": ["boxes", "classes", "num_detections", "scores"]}
    assert interpreter.get_signature_list() == {"serving_default": expected}
    found = {one["name"]: one for one in (*interpreter.get_input_details(), *interpreter.get_output_details())}
    assert {name: (one["dtype"], list(one["shape"])) for name, one in found.items()} == {
        "images": (np.uint8, [1, *SIZE, 3]),  # detectron2's rule resizes 8-bit images
        "image_sizes": (np.int32, [1, 2]),
        "boxes": (np.float32, [1, 10, 4]),
        "scores": (np.float32, [1, 10]),
        "classes": (np.int32, [1, 10]),
        "num_detections": (np.int32, [1]),
    }


@pytest.mark.slow
def test_a_model_without_classes_that_computes_in_bfloat16_is_converted_in_float32(tiny_settings):
    shared = {key: tiny_settings()[key] for key in ("backbone", "pyramid", "anchors", "rpn", "proposals", "seed")}
    keras.utils.set_random_seed(5)
    exact, low = keras_fpn.RPN(**shared), keras_fpn.RPN(**shared, dtype="mixed_bfloat16")
    kernel = exact.rpn_head.objectness.kernel
    kernel.assign(kernel * 100)  # scores apart from one another: their order must not hang on the last digit
    low.set_weights(exact.get_weights())
    inputs = {"images": picture((64, 96), 6, "float32"), "image_sizes": np.array([[64, 90]], np.int32)}
    found = runner(model_content=to_tflite.convert(low, (64, 96), "float32"))(**inputs)
    assert_same(found, {name: value.numpy() for name, value in exact(inputs).items()})


@pytest.mark.slow
def test_mobilenet_answers_what_the_model_answers():
    keras.utils.set_random_seed(0)
    names = SimpleNamespace(class_names=[str(index) for index in range(80)], category_ids=list(range(80)))
    model = build_model(keras_fpn.load_config("faster_rcnn_mobilenet_v3_large_320_fpn"), names)
    inputs = {"images": picture((320, 320), 3, "float32"), "image_sizes": np.array([[320, 240]], np.int32)}
    content = to_tflite.convert(model, (320, 320), "float32")
    assert operators.operator_counts(content)["HARD_SWISH"] == 20  # fused, not multiplied out
    assert_same(
        runner(model_content=content)(**inputs), {name: value.numpy() for name, value in model(inputs).items()}
    )


# What it says about itself ------------------------------------------------------------------------------------


def test_a_standard_library_reads_labels_and_description(file, tiny_model):
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        assert archive.read("labels.txt").decode() == "circle\nsquare\ntriangle\nstar\n"
        description = Description.from_json(archive.read("keras_fpn.json").decode())
    assert dataclasses.replace(description, sha256=None) == describe(tiny_model, frame=SIZE)
    assert (description.frame, description.input_type) == (SIZE, "uint8")


def test_the_metadata_table_has_the_same_description(file):
    model = schema.ModelT.InitFromPackedBuf(file.read_bytes(), 0)
    (entry,) = [one for one in model.metadata if one.name == b"keras_fpn.json"]
    with zipfile.ZipFile(file) as archive:
        assert bytes(model.buffers[entry.buffer].data) == archive.read("keras_fpn.json")


def test_describing_twice_leaves_one_description(file, tiny_model):
    content = metadata.add(file.read_bytes(), describe(tiny_model, precision="float16", frame=SIZE))
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    assert [one.name for one in model.metadata].count(b"keras_fpn.json") == 1
    assert runner(model_content=content) is not None


# Operators ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [SIZE, (96, 128)], ids=["windows of maps", "whole maps"])
def test_nothing_with_more_than_four_axes_is_spread(size, tiny_model):
    """tflite-runtime 2.14 ends its process there; that of the larger tensor it takes as it is."""
    model = flatbuffer.unpacked(to_tflite.convert(tiny_model, size, "uint8"))
    kinds = {code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    [graph] = model.subgraphs
    ranks = collections.defaultdict(set)
    for operator in graph.operators:
        given = [graph.tensors[index].shape for index in operator.inputs]
        shapes = [tuple(shape) for shape in given if shape is not None]
        if len(set(shapes)) > 1:
            ranks[kinds[model.operatorCodes[operator.opcodeIndex].builtinCode]].add(max(map(len, shapes)))
    arithmetic = {name: max(ranks[name]) for name in ("MUL", "ADD", "SUB", "DIV", "MAXIMUM", "MINIMUM") if ranks[name]}
    assert len(arithmetic) >= 4 and max(arithmetic.values()) <= 4


def test_operators_are_counted_and_all_are_builtin(file, capsys):
    assert operators.main([str(file)]) == 0
    counts = dict(reversed(line.split()) for line in capsys.readouterr().out.splitlines())
    assert counts["NON_MAX_SUPPRESSION_V4"] == "9"  # five levels and four classes
    assert not {name for name in counts if name.startswith(("CUSTOM", "Flex"))}


def test_an_operator_that_is_not_built_in_is_refused_by_name():
    function = tf.function(tf.linalg.inv, input_signature=[tf.TensorSpec([3, 3], tf.float32)])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], tf.Module())
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    with pytest.raises(UserError, match=r"x\.tflite: needs operators .* not have built in: CUSTOM: FlexMatrixInverse"):
        operators.check_builtin(converter.convert(), "x.tflite")


def test_listing_a_file_of_another_kind_is_one_line(tmp_path, capsys):
    other = tmp_path / "other.txt"
    other.write_text("no flatbuffer at all")
    assert operators.main([str(other)]) == 2
    assert capsys.readouterr().err == (
        f"error: {other}: no TFLite file; give one that keras-fpn export --format tflite wrote\n"
    )


# What cannot be ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(0, 320), (320, 31), (-320, 320), (50_000, 320)])
def test_an_unusable_size_is_refused(size, tiny_model):
    with pytest.raises(UserError, match=r"size: -?\d+x\d+ pixels suits no detector; give sides between 32 and 4096"):
        to_tflite.convert(tiny_model, size, "uint8")


def test_max_pooling_of_rois_is_refused(tiny_settings):
    model = keras_fpn.FasterRCNN(**tiny_settings() | {"roi_pooling": {"method": "max"}})
    with pytest.raises(UserError, match='roi_pooling.method: "max" needs operations that LiteRT does not have'):
        to_tflite.convert(model, SIZE, "uint8")


# Stages -------------------------------------------------------------------------------------------------------

GROUPS, CLASSES, BOXES = 2, 2, 5
# Whole coordinates in a small square: overlaps of exactly 1/2 and 1/3 and equal boxes are frequent.
_coordinate = st.sampled_from([0.0, 1.0, 2.0, 3.0, 4.0, -1.0, np.nan, np.inf])
_score = st.sampled_from([0.9, 0.5, 0.5, 0.25, 0.0, -1.0, np.nan, np.inf, -np.inf])


RULES = {
    "detections": (0.5, 3, 0.25),
    "proposals": (1 / 3, 20, float("-inf")),
    "nothing suppressed": (1.0, 3, 0.25),
}


@pytest.fixture(scope="module", params=RULES.values(), ids=RULES)
def suppression(request):
    """(threshold, most, score threshold), and `suppression.nms_mask` with them in LiteRT."""

    def suppress(boxes, scores):
        return {"kept": nms_mask(boxes, scores, *request.param)}

    boxes, scores = tf.TensorSpec([GROUPS, BOXES, 4], tf.float32), tf.TensorSpec([GROUPS, CLASSES, BOXES], tf.float32)
    return request.param, converted(suppress, boxes, scores)


@hypothesis.given(
    st.lists(_coordinate, min_size=GROUPS * BOXES * 4, max_size=GROUPS * BOXES * 4),
    st.lists(_score, min_size=GROUPS * CLASSES * BOXES, max_size=GROUPS * CLASSES * BOXES),
)
@hypothesis.settings(max_examples=80)
def test_suppression_in_litert_is_that_of_the_model(suppression, boxes, scores):
    parameters, suppress = suppression
    boxes = np.array(boxes, np.float32).reshape(GROUPS, BOXES, 4)
    scores = np.array(scores, np.float32).reshape(GROUPS, CLASSES, BOXES)
    expected = reference_nms_mask(tf.constant(boxes), tf.constant(scores), *parameters)
    np.testing.assert_array_equal(suppress(boxes=boxes, scores=scores)["kept"], expected)


def test_an_overlap_equal_to_the_threshold_suppresses_nothing(suppression):
    (threshold, *_), suppress = suppression
    if threshold == 1:
        pytest.skip("no overlap is above it")
    boxes = np.zeros([GROUPS, BOXES, 4], np.float32)
    scores = np.full([GROUPS, CLASSES, BOXES], -np.inf, np.float32)
    boxes[0, :2] = [[0, 0, 6, 1], [0, 0, 6 * threshold, 1]]  # an IoU of the threshold
    scores[0, 1, :2] = 0.5, 0.6
    assert suppress(boxes=boxes, scores=scores)["kept"].sum() == 2
    boxes[0, 1, 2] += 1e-4
    assert suppress(boxes=boxes, scores=scores)["kept"].tolist()[0][1] == [False, True] + [False] * (BOXES - 2)


def _boxes_of_all_sorts(height, width):
    rng = np.random.default_rng(7)
    centre = rng.uniform(0, 1, (120, 2)) * [width, height]
    side = np.exp(rng.uniform(np.log(0.5), np.log(1.5 * max(height, width)), (120, 2)))
    boxes = np.clip(np.concatenate([centre - side / 2, centre + side / 2], axis=1), 0, [width, height] * 2)
    boxes[:9] = [
        [0, 0, width, height],
        [0, 0, 0, 0],
        [width, height, width, height],
        [width - 0.01, height - 0.01, width, height],  # a hundredth of a pixel in the last corner
        [0, 5, width, 5.5],  # across the finest map, half a pixel high
        [7, 0, 7.2, height],
        [3, 3, 3, 50],
        [0, 0, width, height / 7],
        [0, 0, width / 2, height / 2],
    ]
    return tf.constant(boxes, tf.float32)


@pytest.mark.parametrize("strides", [{"P2": 4, "P3": 8, "P4": 16, "P5": 32}, {"P5": 32, "P6": 64}, {"P5": 32}])
@pytest.mark.parametrize("sampling_ratio", [0, 2])
@pytest.mark.parametrize("aligned", [True, False])
def test_crops_are_those_of_roi_align(strides, sampling_ratio, aligned):
    height, width, channels = 250, 330, 8
    layer = RoIAlign(strides=strides, sampling_ratio=sampling_ratio, aligned=aligned)
    rng = np.random.default_rng(1)
    maps = [
        tf.constant(rng.normal(size=(1, -(-height // stride), -(-width // stride), channels)), tf.float32)
        for stride in strides.values()
    ]
    boxes = _boxes_of_all_sorts(height, width)
    finest, coarsest = (int(list(strides)[place][1]) for place in (0, -1))
    arguments = maps, boxes, tf.zeros(len(boxes), tf.int32), roi_levels(boxes, finest, coarsest) - finest
    expected = layer.crop(*arguments)
    assert float(tf.reduce_max(tf.abs(expected))) > 1
    np.testing.assert_allclose(crop(layer, *arguments), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("shape", [(), (2, 4)], ids=["rows", "maps"])
def test_a_wide_product_in_pieces_is_the_same_product(shape):
    model = keras.Sequential([keras.Input([*shape, 6000]), keras.layers.Dense(3, activation="relu")])
    inputs = tf.random.stateless_normal([5, *shape, 6000], [1, 2])
    expected = model(inputs)
    function = tf.function(lambda given: model(given), autograph=False)
    for layer in model.layers:
        narrow_products(layer)
    pieces = function.get_concrete_function(tf.TensorSpec([5, *shape, 6000], tf.float32))
    products = [node for node in pieces.graph.get_operations() if node.type in ("MatMul", "BatchMatMulV2")]
    assert [node.inputs[1].shape for node in products] == [(2000, 3)] * 3
    np.testing.assert_allclose(pieces(inputs), expected, rtol=0, atol=1e-4)
    assert len(expected[expected > 0]) > 0
