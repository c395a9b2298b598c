"""Keypoints in the three runtimes, and which of their places rounding leaves open."""

import types

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_fpn
from keras_fpn import export
from keras_fpn.export import agreement
from keras_fpn.export.agreement import Detections, VerificationError
from keras_fpn.export.undecided import keypoints as rule
from keras_fpn.ops import keypoints
from keras_fpn.parts.output_fields import OutputField

SIDE = 8
SETTINGS = {
    "num_classes": 3,
    "backbone": {"name": "resnet18", "width": 8, "freeze_at": 0},
    "resize": {"min_side": 64, "max_side": 96},
    "pyramid": {"channels": 8, "levels": ["P3", "P4"]},
    "anchors": {"sizes": {"P3": [16.0], "P4": [32.0]}},
    "rpn": {"channels": 8},
    "proposals": {"pre_nms_top_k_test": 40, "post_nms_top_k_test": 20},
    "roi_pooling": {"canonical_size": 56.0, "levels": ["P3", "P4"]},
    "box_head": {"units": 16},
    "detections": {"max_detections": 10},
    "keypoint_head": {"pooling_size": 6, "conv_layers": 1, "channels": 8},
    "keypoint_names": ["top", "left", "right"],
    "seed": 5,
}


@pytest.mark.slow
@pytest.mark.parametrize("format", ["saved_model", "tflite", "onnx"])
@pytest.mark.parametrize("profile", ["detectron2", "torchvision"])
def test_an_exported_model_places_the_same_keypoints(format, profile, tmp_path):
    keras.utils.set_random_seed(5)
    model = keras_fpn.KeypointRCNN(**SETTINGS, profile=profile)
    name = {"saved_model": "served", "tflite": "model.tflite", "onnx": "model.onnx"}[format]
    finding = export.export_model(model, format, tmp_path / name).finding
    assert finding.detections > 50 and 0 <= finding.further["keypoints"] < 0.05
    field = export.open_artefact(tmp_path / name).description.output_fields[-1]
    assert list(field.names) == SETTINGS["keypoint_names"]


def peaks(*places):
    """`[1, m, m, 1]` heat map over a box: a logit at each (row, column)."""
    maps = np.zeros((1, SIDE, SIDE, 1), np.float32)
    for row, column, logit in places:
        maps[0, row, column] = logit
    return maps


@pytest.mark.parametrize(
    ("x", "y", "is_open"),
    [
        (12.5, 22.5, True),  # the highest
        (15.5, 26.5, True),  # equal but for 5e-4
        (15.5, 21.5, False),  # lower
        (13.1, 22.5, False),  # between two pixels
    ],
)
def test_of_two_equal_pixels_either_may_be_the_keypoint(x, y, is_open):
    """A box of as many pixels as its map has cells: the resized map is the map."""
    maps = peaks((2, 2, 5.0), (6, 5, 4.9995), (1, 5, 4.0))
    stage = types.SimpleNamespace(heat_maps=lambda features, boxes: tf.constant(maps[None]))
    values = np.array([[[x, y, 0.5]]])
    found = rule.of_stage(stage, {}, np.array([[10.0, 20.0, 18.0, 28.0]]), values, 0.05)
    assert found.tolist() == [[is_open]]


def test_a_side_that_is_nearly_whole_may_be_rounded_up_either_way():
    maps = peaks((2, 2, 5.0))
    stage = types.SimpleNamespace(heat_maps=lambda features, boxes: tf.constant(maps[None]))
    box = np.array([[10.0, 20.0, 18.00001, 28.0]], np.float32)
    # 9 pixels wide by float32's ceiling, 8 where 1e-5 is rounded away.
    wide = keypoints.decode(tf.constant(maps), tf.constant(box), "logit").numpy()
    narrow = keypoints.decode(tf.constant(maps), tf.constant([[10.0, 20.0, 18.0, 28.0]]), "logit").numpy()
    assert abs(wide[0, 0, 0] - narrow[0, 0, 0]) > 0.1
    for values in (wide, narrow):
        assert rule.of_stage(stage, {}, box, values, 0.05).tolist() == [[True]]


def test_agreement_asks_before_it_complains():
    field = OutputField()
    field.name, field.shape, field.bound = "keypoints", (2, 3), 0.05
    box, ours = np.array([[0.0, 0.0, 9.0, 9.0]]), np.array([[[1.0, 1.0, 0.5], [5.0, 5.0, 0.5]]])
    theirs = ours + np.array([[[3.0, 0.0, 0.0], [0.01, 0.0, 0.0]]])
    found, expected = (Detections(box, np.ones(1), np.zeros(1, int), {"keypoints": each}) for each in (theirs, ours))

    def compare(*is_open):
        return agreement.exactly(
            found, expected, ["a"], None, further=[field], are_open=lambda name, boxes, values: np.array([is_open])
        )

    assert compare(True, False).further["keypoints"] == pytest.approx(0.01)
    with pytest.raises(VerificationError, match="keypoints of the a at .* differ by 3"):
        compare(False, True)
    with pytest.raises(VerificationError, match="differ by 3"):
        agreement.exactly(found, expected, ["a"], None, further=[field])
