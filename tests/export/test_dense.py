"""RetinaNet and FCOS in each format, held against the model on the same pixels."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_fpn
from keras_fpn import export
from keras_fpn.console.errors import UserError
from keras_fpn.export import undecided

FILES = {"saved_model": "served", "tflite": "model.tflite", "onnx": "model.onnx"}
SETTINGS = {
    "num_classes": 3,
    "backbone": {"name": "resnet18", "width": 8, "freeze_at": 0},
    "resize": {"min_side": 64, "max_side": 96},
    "pyramid": {"channels": 8, "levels": ["P4", "P5", "P6"]},
    "anchors": {"sizes": {"P4": [16.0, 20.0], "P5": [32.0, 40.0], "P6": [64.0, 80.0]}},
    "detections": {"max_detections": 30, "pre_nms_top_k": 40},
}
HEAD = {"channels": 8, "conv_layers": 1, "norm": "group_norm", "norm_groups": 4}


def built(profile):
    """With scores that differ from place to place, some of them near the threshold."""
    keras.utils.set_random_seed(5)
    head = HEAD | ({"norm_bias": False, "unused_logits": 2} if profile == "torchvision" else {})
    model = keras_fpn.RetinaNet(**SETTINGS, profile=profile, dense_head=head)
    for number, layer in enumerate((model.dense_head.class_logits, *model.dense_head.regressors), start=1):
        layer.kernel.assign(tf.random.stateless_normal(layer.kernel.shape, [1, number], stddev=0.3 / number))
    return model


def built_fcos():
    """As `built`; its boxes reach some strides far."""
    keras.utils.set_random_seed(5)
    settings = {key: value for key, value in SETTINGS.items() if key != "anchors"}
    model = keras_fpn.FCOS(**settings, profile="torchvision", dense_head=HEAD)
    for number, layer in enumerate((model.dense_head.class_logits, *model.dense_head.regressors), start=1):
        layer.kernel.assign(tf.random.stateless_normal(layer.kernel.shape, [1, number], stddev=0.3))
    model.dense_head.class_logits.bias.assign(tf.fill([3], -2.0))
    model.dense_head.regressors[0].bias.assign(tf.fill([4], 1.5))
    return model


SLOW = [
    pytest.param(profile, format, marks=pytest.mark.slow)
    for profile in ("torchvision", "detectron2")
    for format in ("tflite", "saved_model", "onnx")
    if (profile, format) != ("torchvision", "onnx")
]


@pytest.mark.parametrize(("profile", "format"), [("torchvision", "onnx"), *SLOW])
def test_detections_are_the_models(profile, format, tmp_path):
    finding = export.export_model(built(profile), format, tmp_path / FILES[format]).finding
    assert finding.detections > 100 and finding.unpaired == 0


@pytest.mark.slow
@pytest.mark.parametrize("format", FILES)
def test_as_many_detections_as_torchvision_gives(format, tmp_path):
    crowded = {"max_detections": 300, "pre_nms_top_k": 1000, "nms_threshold": 0.9, "score_threshold": 0.005}
    model = built("torchvision").with_settings(detections=crowded)
    image = np.random.default_rng(1).uniform(0, 255, (1, 64, 96, 3)).astype(np.float32)
    assert int(model({"images": image, "image_sizes": np.array([[64, 96]], np.int32)})["num_detections"][0]) == 300
    finding = export.export_model(model, format, tmp_path / FILES[format]).finding
    assert finding.detections > 1000 and finding.unpaired == 0


@pytest.mark.slow
@pytest.mark.parametrize("format", FILES)
def test_detections_of_points_are_the_models(format, tmp_path):
    finding = export.export_model(built_fcos(), format, tmp_path / FILES[format]).finding
    assert finding.detections > 100 and finding.unpaired == 0


def suppressing(member, name):
    return (built_fcos() if member == "fcos" else built("detectron2")).with_settings(detections={"suppression": name})


@pytest.mark.slow
@pytest.mark.parametrize("member", ["retinanet", "fcos"])
@pytest.mark.parametrize(
    ("name", "format"),
    [("class_agnostic", "onnx"), ("class_agnostic", "tflite"), ("soft_linear", "saved_model"),
     ("soft_gaussian", "saved_model")],
)  # fmt: skip
def test_ways_of_suppression_are_the_models(member, name, format, tmp_path):
    finding = export.export_model(suppressing(member, name), format, tmp_path / FILES[format]).finding
    assert finding.detections > 50 and finding.unpaired == 0


@pytest.mark.parametrize("format", ["onnx", "tflite"])
@pytest.mark.parametrize("member", ["retinanet", "fcos"])
def test_soft_suppression_is_refused_outside_tensorflow(member, format, tmp_path):
    with pytest.raises(UserError, match='^detections.suppression: "soft_gaussian" '):
        export.export_model(suppressing(member, "soft_gaussian"), format, tmp_path / FILES[format])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_half_the_bits(tmp_path):
    done = export.export_model(built("detectron2"), "tflite", tmp_path / "model.tflite", precision="float16")
    assert done.precision == "float16"


@pytest.mark.parametrize("suppression", ["per_class", "class_agnostic", "soft_linear"])
@pytest.mark.parametrize("member", ["torchvision", "detectron2", "fcos"])
def test_all_that_it_detects_is_certain_or_undecided(member, suppression):
    model = built_fcos() if member == "fcos" else built(member)
    model = model.with_settings(detections={"suppression": suppression})
    image = np.random.default_rng(1).uniform(0, 255, (1, 64, 96, 3)).astype(np.float32)
    inputs = {"images": tf.constant(image), "image_sizes": tf.constant([[64, 96]])}
    found = {key: np.asarray(value)[0] for key, value in model(inputs).items()}
    number = int(found["num_detections"])
    assert number > 10
    answer = undecided.answer(model, inputs)
    for box, score, label in zip(*(found[key][:number] for key in ("boxes", "scores", "classes")), strict=True):
        same = (answer.classes == label) & (np.abs(answer.scores - score) < 1e-5)
        assert (np.abs(answer.boxes[same] - box).max(axis=1) < 1e-3).any()
    assert answer.is_certain.sum() <= number <= len(answer.scores)
