"""Cascade R-CNN in each format, with masks, held against the model on the same pixels."""

import keras
import pytest
import tensorflow as tf

import keras_fpn
from keras_fpn import export
from tests.export.small import FILES, MASKS, SHARED


@pytest.fixture(scope="module")
def model():
    """With heads that move boxes and masks that differ from place to place. Shared: do not train it."""
    keras.utils.set_random_seed(5)
    model = keras_fpn.CascadeMaskRCNN(**SHARED | MASKS)
    for number, head in enumerate((model.box_head, model.box_head_2, model.box_head_3)):
        for kernel, spread in ((head.box_deltas.kernel, 0.3), (head.class_logits.kernel, 0.1)):
            kernel.assign(tf.random.stateless_normal(kernel.shape, [number, 2], stddev=spread))
    kernel = model.mask_head.mask_logits.kernel
    kernel.assign(tf.random.stateless_normal(kernel.shape, [1, 2], stddev=0.3))
    return model


@pytest.mark.parametrize(
    "format", ["onnx", *(pytest.param(name, marks=pytest.mark.slow) for name in ("tflite", "saved_model"))]
)
def test_an_exported_cascade_is_the_models(format, model, tmp_path):
    finding = export.export_model(model, format, tmp_path / FILES[format]).finding
    assert finding.detections > 50 and finding.unpaired == 0
    assert 0 <= finding.further["masks"] < 1e-3  # 0 where TensorFlow itself runs
    assert export.open_artefact(tmp_path / FILES[format]).description.architecture == "cascade_mask_rcnn"
