"""The ONNX file in onnxruntime and OpenVINO against the model, and its operators against ours and torchvision's."""

import logging

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf

import keras_fpn
from keras_fpn.console.errors import UserError
from keras_fpn.export import to_onnx
from keras_fpn.export.description import Description
from keras_fpn.export.onnx import operators
from keras_fpn.layers.roi_align import RoIAlign
from keras_fpn.models.architectures import ARCHITECTURES
from keras_fpn.ops import keypoints
from keras_fpn.ops.nms import nms_mask


def session(model):
    """onnxruntime's session of a file or of a ModelProto."""
    source = model.SerializeToString() if isinstance(model, onnx.ModelProto) else str(model)
    return onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])


def outputs_of(runtime, **inputs):
    names = [one.name for one in runtime.get_outputs()]
    return dict(zip(names, runtime.run(names, inputs), strict=True))


def pictures(*shape):
    return np.random.default_rng(shape[1]).integers(0, 256, (*shape, 3), np.uint8)


def assert_same(found, expected):
    """The bounds of the issue: 0.05 px, 1e-4, classes and counts equal."""
    assert set(found) == set(expected)
    np.testing.assert_array_equal(found["num_detections"], expected["num_detections"])
    np.testing.assert_allclose(found["boxes"], expected["boxes"], atol=0.05)
    np.testing.assert_allclose(found["scores"], expected["scores"], atol=1e-4)
    if "classes" in expected:
        np.testing.assert_array_equal(found["classes"], expected["classes"])
    assert {name: value.dtype for name, value in found.items()} == {
        name: value.numpy().dtype for name, value in expected.items()
    }


@pytest.fixture(scope="module")
def path(tiny_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "tiny.onnx"
    to_onnx.write_onnx(tiny_model, path)
    return path


@pytest.fixture(scope="module")
def runtime(path):
    return session(path)


BATCHES = {
    "one": ((1, 96, 128), [[96, 128]]),
    "odd sides": ((1, 75, 101), [[75, 101]]),
    "mixed sizes": ((3, 97, 64), [[97, 64], [33, 40], [90, 17]]),
    "nothing to find": ((2, 64, 64), [[64, 64], [0, 0]]),
}


@pytest.mark.parametrize("case", BATCHES)
def test_equals_the_model(runtime, tiny_model, case):
    shape, sizes = BATCHES[case]
    images, sizes = pictures(*shape), np.array(sizes, np.int32)
    expected = tiny_model({"images": images, "image_sizes": sizes}, training=False)
    assert int(expected["num_detections"][0]) == 10
    assert case != "nothing to find" or int(expected["num_detections"][1]) == 0
    assert_same(outputs_of(runtime, images=images, image_sizes=sizes), expected)


def test_openvino_equals_the_model(path, tiny_model):
    openvino = pytest.importorskip("openvino")
    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for shape, sizes in (BATCHES["mixed sizes"], BATCHES["nothing to find"]):
        images, sizes = pictures(*shape), np.array(sizes, np.int32)
        found = compiled({"images": images, "image_sizes": sizes})
        found = {one.get_any_name(): value for one, value in found.items()}
        assert_same(found, tiny_model({"images": images, "image_sizes": sizes}, training=False))


def test_the_file_describes_itself(path, tiny_model):
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [(one.domain, one.version) for one in model.opset_import if one.domain == ""] == [("", 18)]
    properties = {one.key: one.value for one in model.metadata_props}
    description = Description.from_json(properties["keras_fpn"])
    assert description.input_type == "uint8"  # of Pillow's filter, that of the detectron2 profile
    assert properties["labels"].split() == ["circle", "square", "triangle", "star"]
    sides = {
        one.name: [side.dim_param or side.dim_value for side in one.type.tensor_type.shape.dim]
        for one in (*model.graph.input, *model.graph.output)
    }
    assert sides == {
        "images": ["batch", "height", "width", 3],
        "image_sizes": ["batch", 2],
        "boxes": ["batch", 10, 4],
        "scores": ["batch", 10],
        "classes": ["batch", 10],
        "num_detections": ["batch"],
    }
    assert [one.name for one in model.graph.output] == list(description.outputs)


def test_the_graph_is_clean(path):
    """Where a conversion is not: no maps transposed back and forth, no batch norm apart, native operators."""
    nodes = onnx.load(path).graph.node
    count = {kind: sum(node.op_type == kind for node in nodes) for kind in {node.op_type for node in nodes}}
    assert count["NonMaxSuppression"] == 6 and count["RoiAlign"] == 4  # five levels and the classes; four levels
    assert not {"Identity", "If", "Loop", "BatchNormalization"} & set(count)
    permutations = [list(node.attribute[0].ints) for node in nodes if node.op_type == "Transpose" and node.attribute]
    # Pixels; objectness and deltas of five levels; boxes of the classes (scores and the NMS mask have three axes).
    assert permutations.count([0, 3, 1, 2]) == 1 and permutations.count([0, 2, 3, 1]) == 10
    assert len([one for one in permutations if len(one) == 4]) == 12
    weights = {one.name for one in onnx.load(path).graph.initializer}
    convolved = {node.output[0] for node in nodes if node.op_type == "Conv"}
    apart = [node for node in nodes if set(node.input) & convolved and set(node.input) & weights]
    assert {node.op_type for node in apart} <= {"Conv", "Resize"}  # no scale or shift after a convolution


@pytest.mark.slow
def test_an_rpn_is_written_too(tmp_path, tiny_settings):
    settings = {key: value for key, value in tiny_settings().items() if key in ARCHITECTURES["rpn"].groups}
    keras.utils.set_random_seed(5)
    model = keras_fpn.RPN(seed=5, **settings)
    to_onnx.write_onnx(model, tmp_path / "rpn.onnx", input_type="float32")
    images, sizes = pictures(2, 50, 64).astype(np.float32), np.array([[50, 64], [20, 30]], np.int32)
    found = outputs_of(session(tmp_path / "rpn.onnx"), images=images, image_sizes=sizes)
    assert_same(found, model({"images": images, "image_sizes": sizes}, training=False))


def test_max_pooling_is_refused(tmp_path, tiny_settings):
    model = keras_fpn.FasterRCNN(**tiny_settings() | {"roi_pooling": {"method": "max"}})
    with pytest.raises(UserError, match=r"^roi_pooling.method: .*\"align\""):
        to_onnx.write_onnx(model, tmp_path / "max.onnx")
    assert not list(tmp_path.iterdir())


def test_conversion_is_quiet(tiny_model, capfd, caplog):
    @tf.function(input_signature=[tf.TensorSpec([None, None, 4]), tf.TensorSpec([None, None, None])])
    def suppress(boxes, scores):
        return operators.nms_mask(boxes, scores, 0.5, 10)

    with caplog.at_level(logging.WARNING):
        to_onnx.convert(suppress)
    assert not caplog.records and "infer" not in capfd.readouterr().err


# --- the operators by themselves


@pytest.fixture(scope="module")
def suppression():
    """`suppression(boxes, scores)` at an IoU of .5, 3 kept, scores above .05: in onnxruntime and in TensorFlow.

    Scores are of one class, and those of a second are their inverses.
    """
    signature = [tf.TensorSpec([None, None, 4]), tf.TensorSpec([None, None, None])]

    @tf.function(input_signature=signature)
    def native(boxes, scores):
        return {"kept": operators.nms_mask(boxes, scores, 0.5, 3, 0.05)}

    runtime = session(to_onnx.convert(native))

    def both(boxes, scores):
        boxes, scores = np.array(boxes, np.float32), np.array(scores, np.float32)
        scores = np.stack([scores, 1 - scores], axis=1)
        kept = outputs_of(runtime, boxes=boxes, scores=scores)["kept"]
        np.testing.assert_array_equal(kept, nms_mask(tf.constant(boxes), tf.constant(scores), 0.5, 3, 0.05))
        return kept[:, 0].astype(int).tolist()

    return both


def test_suppression_is_strict_and_prefers_the_lower_index(suppression):
    whole, half, apart = [0, 0, 10, 10], [0, 0, 10, 5], [20, 20, 30, 30]
    # IoU exactly .5 keeps both; equal boxes of equal scores: the first; a score of exactly .05 goes.
    groups = [[whole, half, apart], [whole, whole, apart], [whole, [0, 0, 10, 5.01], apart]]
    kept = suppression(groups, [[0.9, 0.8, 0.05], [0.8, 0.8, 0.051], [0.8, 0.9, -np.inf]])
    assert kept == [[1, 1, 0], [1, 0, 1], [0, 1, 0]]


def test_suppression_of_what_is_no_number(suppression):
    nan, boxes = np.nan, [[0, 0, 10, 10], [0, 0, 10, 10], [20, 20, 30, 30], [40, 40, 50, 50]]
    assert suppression([boxes], [[nan, 0.5, 0.6, 0.7]]) == [[0, 1, 1, 1]]
    boxes[0], boxes[2] = [0, 0, np.inf, 10], [nan, 20, 30, 30]
    assert suppression([boxes], [[0.9, 0.5, 0.6, 0.7]]) == [[0, 1, 0, 1]]


def test_suppression_of_many_equal_scores(suppression):
    rng = np.random.default_rng(4)
    corner = rng.integers(0, 12, (6, 40, 2))
    boxes = np.concatenate([corner, corner + rng.integers(0, 9, (6, 40, 2))], -1)
    scores = rng.integers(0, 4, (6, 40)) / 4
    assert np.sum(suppression(boxes, scores)) == 18  # three of each group, and all equal TensorFlow's
    assert np.sum(suppression(boxes[:, :1], np.zeros((6, 1)))) == 0


def test_larger_logits_get_no_smaller_probabilities():
    """Dense ones: the logistic function of onnxruntime in float32 is not monotonic in hundreds of places here."""
    logistic = tf.function(lambda logits: {"scores": tf.sigmoid(logits)}, input_signature=[tf.TensorSpec([None])])
    logits = np.sort(np.random.default_rng(0).uniform(6.8, 6.81, 2000).astype(np.float32))
    scores = outputs_of(session(to_onnx.convert(logistic)), logits=logits)["scores"]
    assert scores.dtype == np.float32 and np.diff(scores).min() >= 0
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-logits.astype(np.float64))), rtol=1e-7)


CROPS = [("native", aligned, ratio) for aligned in (False, True) for ratio in (2, 0)]
CROPS += [("product", aligned, 2) for aligned in (False, True)]


@pytest.fixture(scope="module")
def crops(golden, draws):
    """torchvision's map and boxes (golden/make_roi.py) through both crops: `{kind/aligned/ratio: [B, R, 7, 7, C]}`."""
    kept = golden("roi")
    features = draws.normal("roi/features", tuple(map(int, kept["shape"]))).transpose(0, 2, 3, 1)
    number = kept["boxes"].shape[1]

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 2]), tf.TensorSpec([None, 4])])
    def crop(features, boxes):
        images, made = tf.repeat(tf.range(2), number), {}
        for kind, aligned, ratio in CROPS:
            layer = RoIAlign(aligned=aligned, sampling_ratio=ratio, strides={"P3": 8})
            by = operators.crop_by_level if kind == "native" else operators.crop_by_product
            made[f"{kind}/{aligned}/{ratio}"] = by(layer, [features], boxes, images, None)
        return made

    found = outputs_of(
        session(to_onnx.convert(crop)), features=features.astype(np.float32), boxes=kept["boxes"].reshape(-1, 4)
    )
    return {name: value.reshape(2, number, 7, 7, 2) for name, value in found.items()}


@pytest.mark.parametrize(("kind", "aligned", "ratio"), CROPS)
def test_crops_equal_torchvision(crops, golden, kind, aligned, ratio):
    """Random boxes, at the border, partly and wholly outside, tiny, without width, very flat: all of them."""
    expected = golden("roi")[f"align/aligned_{aligned}/ratio_{ratio}"]
    np.testing.assert_allclose(crops[f"{kind}/{aligned}/{ratio}"], expected, atol=1e-4)


@pytest.mark.slow
def test_mobilenet_equals_the_model(tmp_path, tiny_settings):
    """Squeeze and excitation, hard activations, two levels of one map, crops by a product."""
    settings = tiny_settings() | {
        "backbone": {"name": "mobilenet_v3_large"},
        "pyramid": {"channels": 16, "levels": ["P5", "P6", "P7"]},
        "anchors": {"sizes": {level: [32.0, 64.0] for level in ("P5", "P6", "P7")}},
        "roi_pooling": {"levels": ["P5"], "sampling_ratio": 2},
        "resize": {"min_side": 320, "max_side": 640},
        # Standardised: pixels up to 255 make large logits in an untrained network, and rounding moves scores by 2e-4.
        "pixels": {"channel_order": "RGB", "mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]},
    }
    keras.utils.set_random_seed(5)
    model = keras_fpn.FasterRCNN(**settings)
    to_onnx.write_onnx(model, tmp_path / "mobilenet.onnx")
    kinds = {node.op_type for node in onnx.load(tmp_path / "mobilenet.onnx").graph.node}
    assert {"HardSwish", "HardSigmoid", "GlobalAveragePool"} <= kinds and not {"RoiAlign", "Clip"} & kinds
    images, sizes = pictures(2, 100, 161), np.array([[100, 161], [90, 120]], np.int32)
    found = outputs_of(session(tmp_path / "mobilenet.onnx"), images=images, image_sizes=sizes)
    assert_same(found, model({"images": images, "image_sizes": sizes}, training=False))


def test_a_loop_over_boxes_reads_what_is_around_it():
    """Places of keypoints: box by box, from tensors and constants that the passes over the graph must leave there."""
    signature = [tf.TensorSpec([None, 8, 8, 2], name="maps"), tf.TensorSpec([None, 4], name="boxes")]
    converted = to_onnx.convert(tf.function(keypoints.decode, input_signature=signature))
    onnx.checker.check_model(converted, full_check=True)
    runtime = session(converted)
    rng = np.random.default_rng(0)
    maps = rng.normal(0, 3, (5, 8, 8, 2)).astype(np.float32)
    corners = rng.uniform(0, 50, (5, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(0, 40, (5, 2))], axis=1).astype(np.float32)
    for number in (5, 0):
        (found,) = runtime.run(None, {"maps": maps[:number], "boxes": boxes[:number]})
        np.testing.assert_allclose(found, keypoints.decode(maps[:number], boxes[:number]), rtol=1e-5, atol=1e-4)
