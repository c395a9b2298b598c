"""RoIs of all levels, fused: against the formula, in members, in files and in exporters."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_fpn
from keras_fpn import export
from keras_fpn.config.loading import load_config
from keras_fpn.layers.adaptive_roi_align import AdaptiveRoIAlign
from keras_fpn.layers.roi_align import RoIAlign

STRIDES = {"P2": 4, "P3": 8, "P4": 16}
BOXES = tf.constant([[[3.0, 5, 40, 60], [0, 0, 96, 64]], [[10, 8, 20, 22], [50, 30, 90, 62]]])


def features(channels=4):
    shapes = {level: [2, 64 // stride, 96 // stride, channels] for level, stride in STRIDES.items()}
    return {level: tf.random.stateless_normal(shape, [1, int(level[1])]) for level, shape in shapes.items()}


@pytest.mark.parametrize("norm", [None, "group_norm", "frozen_batch_norm"])
def test_the_maximum_of_all_levels_after_a_convolution_of_each(norm):
    """Each level alone, by `RoIAlign` of that level, the layers called one by one."""
    keras.utils.set_random_seed(1)
    layer = AdaptiveRoIAlign(norm=norm, output_size=5, strides=STRIDES)
    found = layer(features(), BOXES)
    expected = []
    for level, stride in STRIDES.items():
        crops = RoIAlign(output_size=5, strides={level: stride})(features(), BOXES)
        crops = layer.convolutions[level](tf.reshape(crops, [4, 5, 5, 4]))
        expected.append(np.maximum(layer.norms[level](crops) if norm else crops, 0))
    np.testing.assert_allclose(found, np.max(expected, axis=0).reshape(2, 2, 5, 5, 4), atol=1e-5)
    assert len({np.asarray(each).tobytes() for each in expected}) == 3
    assert (layer.convolutions["P2"].bias is None) == (norm is not None)


NARROW = {
    "backbone": {"name": "resnet18", "width": 8, "freeze_at": 0},
    "pyramid": {"name": "panet", "channels": 8},
    "rpn": {"channels": 8},
    "proposals": {"pre_nms_top_k_test": 40, "post_nms_top_k_test": 20},
    "roi_pooling": {"method": "adaptive", "norm": "group_norm"},
    "roi_targets": {"samples_per_image": 16},
    "box_head": {"units": 8},
    "resize": {"min_side": 64, "max_side": 96},
    "detections": {"max_detections": 10},
}
MASKS = {
    "mask_head": {"pooling_size": 3, "conv_layers": 1, "channels": 8},
    "mask_targets": {"rule": "bitmask"},
}
MEMBERS = {"FasterRCNN": {}, "MaskRCNN": MASKS, "CascadeRCNN": {}}


def built(member):
    keras.utils.set_random_seed(5)
    return getattr(keras_fpn, member)(num_classes=3, **NARROW | MEMBERS[member])


@pytest.mark.parametrize("member", MEMBERS)
def test_it_learns_and_survives_a_file(member, tmp_path):
    model = built(member)
    poolings = [name for name in model.parts if name.endswith("pooling")]
    assert poolings == ["roi_pooling", "mask_pooling"][: 1 + (member == "MaskRCNN")]
    images = tf.random.stateless_uniform([2, 64, 96, 3], [1, 2]) * 255
    inputs = {"images": images, "image_sizes": tf.constant([[64, 96], [50, 70]])}
    targets = {"boxes": tf.constant([[[10.0, 12, 40, 44]], [[20.0, 30, 60, 50]]]), "classes": tf.constant([[0], [1]])}
    if member == "MaskRCNN":
        targets["bitmaps"] = tf.ones([2, 1, 64, 96], tf.uint8)
    with tf.GradientTape(persistent=True) as tape:
        losses, _ = model.training_losses(inputs, targets, tf.zeros([2], tf.int64), training=True)
        loss = tf.add_n(list(losses.values()))
    for name in poolings:
        variables = model.parts[name].trainable_variables
        assert len(variables) == 4 * 3  # of four levels a kernel, a scale and a shift
        assert all(np.any(gradient) for gradient in tape.gradient(loss, variables))
    found = model(inputs)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")(inputs)
    tf.nest.map_structure(lambda ours, theirs: np.testing.assert_allclose(ours, theirs, atol=1e-5), again, found)


@pytest.mark.slow
@pytest.mark.parametrize(("format", "name"), [("saved_model", "served"), ("tflite", "m.tflite"), ("onnx", "m.onnx")])
def test_each_format_answers_as_the_model(format, name, tmp_path):
    finding = export.export_model(built("FasterRCNN"), format, tmp_path / name).finding
    assert finding.detections > 20 and finding.unpaired == 0


def test_the_configuration_of_panet_has_it():
    model = load_config("faster_rcnn_r50_panet").model
    assert (model.roi_pooling.method, model.pyramid.name, model.box_head.conv_layers) == ("adaptive", "panet", 3)
