"""FCOS' head, labels, losses and detections against torchvision's (golden/make_fcos.py)."""

import math

import numpy as np
import pytest
import tensorflow as tf

from keras_fpn.heads.fcos_head import FCOSHead
from keras_fpn.layers.point_detections import PointDetectionLayer
from keras_fpn.models.settings import resolve
from keras_fpn.ops.points import centerness, decode_distances, encode_distances
from keras_fpn.parts.checkpoint_names import named
from keras_fpn.parts.classes import numbered
from keras_fpn.stages.fcos import FCOSStage
from keras_fpn.stages.fcos_targets import point_labels
from keras_fpn.stages.stage import StageContext

CANVAS, SIZES = (128, 160), [[128, 160], [100, 130]]
GRIDS = {"P3": (16, 20), "P4": (8, 10), "P5": (4, 5), "P6": (2, 3), "P7": (1, 2)}
LEVELS = {"P3": (5, 7), "P4": (3, 4)}
# Our names of the outputs and torchvision's.
OUTPUTS = {"class_logits": "cls_logits", "distances": "bbox_regression", "centerness": "bbox_ctrness"}
BOXES = [[[10, 12, 40, 50], [60, 20, 150, 110], [30.3, 60.2, 38.9, 71.5]], [[100, 10, 129, 95], [0] * 4, [0] * 4]]
CLASSES = [[3, 0, 4], [1, -1, -1]]
TENSORS = {"kernel": "weight", "gamma": "weight", "bias": "bias", "beta": "bias"}


@pytest.fixture(scope="module")
def stage():
    strides = {f"P{k}": 2**k for k in range(3, 8)}
    settings = resolve("fcos", "torchvision", {})
    return FCOSStage(StageContext(strides, dict.fromkeys(strides, 64), numbered(5), settings))


@pytest.fixture(scope="module")
def drawn(draws):
    """Inputs that make_fcos.py gave to torchvision."""
    number = sum(height * width for height, width in GRIDS.values())
    return {
        "class_logits": draws.normal("fcos/logits", (2, number, 5), 1.5) - 2,
        "distances": np.maximum(draws.normal("fcos/distances", (2, number, 4), 1.5) + 1.5, 0),
        "centerness": draws.normal("fcos/centerness", (2, number, 1)),
    }


def test_the_cells_are_torchvisions_anchors(stage, golden):
    cells = stage.anchors(GRIDS, CANVAS)
    assert cells["P3"][0].numpy().tolist() == [-4, -4, 4, 4]
    np.testing.assert_array_equal(np.concatenate(list(cells.values())), golden("fcos")["cells"])


def test_the_head_answers_as_torchvisions(golden, draws):
    head = FCOSHead(5, 1, channels=64, norm="group_norm", name="dense_head")
    head.build({level: (None, None, None, 64) for level in LEVELS})
    table = head.checkpoint_names["torchvision"](head, None)
    for layer in head._flatten_layers(include_self=False):
        name = named(table, layer.name).name.replace("head.", "fcos.", 1)
        for variable in layer.weights:
            shape = tuple(variable.shape)
            shape = (shape[3], shape[2], *shape[:2]) if len(shape) == 4 else shape
            value = draws.weight(f"{name}.{TENSORS[variable.name]}", shape)
            variable.assign(value.transpose(2, 3, 1, 0) if len(shape) == 4 else value)
    maps = {
        level: tf.constant(draws.normal(f"dense/{index}", (2, 64, *grid)).transpose(0, 2, 3, 1))
        for index, (level, grid) in enumerate(LEVELS.items())
    }
    found = head(maps)
    assert list(found) == list(OUTPUTS)
    for key, theirs in OUTPUTS.items():
        ours = np.concatenate([found[key][level] for level in LEVELS], axis=1)
        np.testing.assert_allclose(ours, golden("fcos")[f"head/{theirs}"], atol=2e-3, rtol=1e-4, err_msg=key)


@pytest.mark.parametrize("name", ["full", "empty"])
def test_losses_and_gradients_are_torchvisions(name, stage, golden, drawn):
    boxes, classes = np.array(BOXES, np.float32), np.array(CLASSES, np.int32)
    if name == "empty":
        boxes[1], classes[1] = 0, -1
    cells = stage.anchors(GRIDS, CANVAS)
    labelled = stage.label(cells, {"boxes": tf.constant(boxes), "classes": tf.constant(classes)})
    outputs = {key: tf.Variable(value) for key, value in drawn.items()}
    with tf.GradientTape() as tape:
        losses, _ = stage.losses(outputs, tf.concat(list(cells.values()), axis=0), labelled)
        total = tf.add_n(list(losses.values()))
    assert list(losses) == list(stage.loss_names)
    np.testing.assert_allclose(list(losses.values()), golden("fcos")[f"losses/{name}"], rtol=2e-5)
    for key, gradient in tape.gradient(total, outputs).items():
        np.testing.assert_allclose(gradient, golden("fcos")[f"losses/{name}/{OUTPUTS[key]}"], atol=1e-6, err_msg=key)


def test_detections_are_torchvisions(stage, golden, drawn):
    cells = stage.anchors(GRIDS, CANVAS)
    places = np.cumsum([len(own) for own in cells.values()])[:-1]
    predictions = {
        key: dict(zip(cells, map(tf.constant, np.split(value, places, axis=1)), strict=True))
        for key, value in drawn.items()
    }
    layer = PointDetectionLayer(0.2, 150, 0.6, 60, "before_nms", True)
    found = layer(predictions, anchors=cells, image_sizes=tf.constant(SIZES), num_classes=5)
    for index in range(2):
        expected = golden("fcos").under(f"detections/{index}")
        number = int(found["num_detections"][index])
        assert number == len(expected["scores"]) > 30
        np.testing.assert_allclose(found["scores"][index][:number], expected["scores"], atol=1e-6)
        np.testing.assert_array_equal(found["classes"][index][:number], expected["labels"])
        np.testing.assert_allclose(found["boxes"][index][:number], expected["boxes"], atol=1e-3)


def test_distances_and_centerness():
    """torchvision's `BoxLinearCoder`: point (16, 16), stride 8."""
    cell, box = tf.constant([12.0, 12, 20, 20]), tf.constant([10.0, 12, 40, 50])
    distances = encode_distances(box, cell)
    assert distances.numpy().tolist() == [0.75, 0.5, 3, 4.25]
    assert decode_distances(distances, cell).numpy().tolist() == box.numpy().tolist()
    assert float(centerness(tf.constant([10.0, 20, 30, 20]))) == pytest.approx(0.57735, abs=1e-5)
    logits = {"class_logits": math.log(0.36 / 0.64), "centerness": math.log(1 / 3)}
    predictions = {key: tf.constant([[[value]]]) for key, value in logits.items()}
    layer = PointDetectionLayer()
    assert float(layer.score(layer.rank(predictions))[0, 0, 0]) == pytest.approx(0.3)  # the root of 0.36 x 0.25


@pytest.mark.parametrize(
    ("box", "level"),
    # The farthest side is 30, 48, 64 and 80 pixels away; 64 = 8 strides of P3 = 4 of P4 is of neither.
    [([42, 42, 94, 94], 0), ([16, 16, 112, 112], 0), ([0, 0, 128, 128], None), ([-16, -16, 144, 144], 1)],
)
def test_which_level_an_object_is_of(box, level):
    cells = {"P3": [[60.0, 60, 68, 68]], "P4": [[56.0, 56, 72, 72]], "P5": [[48.0, 48, 80, 80]]}
    cells = {key: tf.constant(value) for key, value in cells.items()}
    given = {"boxes": tf.constant([[box]], tf.float32), "classes": tf.constant([[2]])}
    found = point_labels(cells, given, radius=1.5, crowd_ioa=0.7)["classes"].numpy()[0].tolist()
    assert found == [2 if index == level else -1 for index in range(3)]


def test_points_are_near_the_middle_and_of_the_smaller_object():
    cells = {"P3": tf.constant([[x - 4.0, 46, x + 4, 54] for x in (20, 40, 50, 61, 63)])}
    objects = {"boxes": [[[0, 0, 100, 100], [30, 40, 56, 60]]], "classes": [[0, 1]]}
    given = {key: tf.constant(value, tf.float32 if key == "boxes" else tf.int32) for key, value in objects.items()}
    found = point_labels(cells, given, radius=1.5, crowd_ioa=0.7)
    # 12 px from 50 and from 43: 40 and 50 are of both, 61 of the large one alone, 20 and 63 of none.
    assert found["classes"].numpy().tolist() == [[-1, 1, 1, 0, -1]]
    objects["is_crowd"] = [[True, False]]
    found = point_labels(cells, given | {"is_crowd": tf.constant([[True, False]])}, radius=1.5, crowd_ioa=0.7)
    assert found["classes"].numpy().tolist() == [[-1, 1, 1, -1, -1]]
    assert found["is_trained"].numpy().tolist() == [[False, True, True, False, False]]
