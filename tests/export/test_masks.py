"""Mask R-CNN in each format, held against the model on the same pixels."""

import keras
import pytest
import tensorflow as tf

import keras_fpn
from keras_fpn import export
from keras_fpn.export.description import describe

FILES = {"saved_model": "served", "tflite": "model.tflite", "onnx": "model.onnx"}
SETTINGS = {
    "num_classes": 3,
    "backbone": {"name": "resnet18", "width": 8, "freeze_at": 0},
    "resize": {"min_side": 64, "max_side": 96},
    "pyramid": {"name": "top_down", "channels": 8, "levels": ["P4", "P5", "P6"]},
    "anchors": {"sizes": {"P4": [16.0], "P5": [32.0], "P6": [64.0]}},
    "rpn": {"channels": 8},
    "proposals": {"pre_nms_top_k_test": 40, "post_nms_top_k_test": 20},
    "roi_pooling": {"canonical_size": 56.0, "levels": ["P4", "P5"]},
    "box_head": {"units": 16},
    "detections": {"max_detections": 10},
    "mask_head": {"pooling_size": 4, "conv_layers": 1, "channels": 8, "norm": "batch_norm"},
}


@pytest.fixture(scope="module")
def model():
    """With masks that differ from place to place. Shared: do not train it."""
    keras.utils.set_random_seed(5)
    model = keras_fpn.MaskRCNN(**SETTINGS)
    kernel = model.mask_head.mask_logits.kernel
    kernel.assign(tf.random.stateless_normal(kernel.shape, [1, 2], stddev=0.3))
    return model


@pytest.mark.parametrize(
    "format", ["onnx", *(pytest.param(name, marks=pytest.mark.slow) for name in ("tflite", "saved_model"))]
)
def test_masks_are_the_models(format, model, tmp_path):
    finding = export.export_model(model, format, tmp_path / FILES[format]).finding
    assert finding.detections > 50 and finding.unpaired == 0
    assert 0 < finding.further["masks"] < 1e-3
    told = export.open_artefact(tmp_path / FILES[format]).description.outputs["masks"]
    assert (told["kind"], told["arguments"]) == ("instance_masks", {"side": 8, "rule": "detectron2"})
    assert told["shape"][2:] == [8, 8] and describe(model).outputs["masks"]["shape"][1:] == [10, 8, 8]
