"""RoIs of all levels, fused: against the formula, in members, in files and in exporters."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_fpn
from keras_fpn import export
from keras_fpn.config.loading import load_config
from keras_fpn.console.errors import UserError
from keras_fpn.layers.adaptive_roi_align import AdaptiveRoIAlign
from keras_fpn.layers.adaptive_roi_vectors import AdaptiveRoIVectors
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
        crops = layer.first_layers[level](tf.reshape(crops, [4, 5, 5, 4]))
        expected.append(np.maximum(layer.norms[level](crops) if norm else crops, 0))
    np.testing.assert_allclose(found, np.max(expected, axis=0).reshape(2, 2, 5, 5, 4), atol=1e-5)
    assert len({np.asarray(each).tobytes() for each in expected}) == 3
    assert (layer.first_layers["P2"].bias is None) == (norm is not None)


def test_the_maximum_of_all_levels_after_a_fully_connected_layer_of_each():
    """As above, and the normalisation of two groups by its definition (Wu and He, ECCV 2018)."""
    keras.utils.set_random_seed(1)
    layer = AdaptiveRoIVectors(units=6, norm="group_norm", norm_epsilon=1e-3, output_size=5, strides=STRIDES)
    layer.build({level: each.shape for level, each in features().items()})
    expected = []
    for level, stride in STRIDES.items():
        scale, shift = np.linspace(-1, 2, 6), np.linspace(0.5, -0.5, 6)
        layer.norms[level].set_weights([scale, shift])
        crops = RoIAlign(output_size=5, strides={level: stride})(features(), BOXES)
        kernel, bias = layer.first_layers[level].get_weights()
        groups = (np.reshape(crops, [4, -1]) @ kernel + bias).reshape(4, layer.norms[level].groups, -1)
        normed = (groups - groups.mean(2, keepdims=True)) / np.sqrt(groups.var(2, keepdims=True) + 1e-3)
        expected.append(np.maximum(normed.reshape(4, 6) * scale + shift, 0))
    assert layer.norms["P2"].groups == 2  # of 32 those that divide 6
    np.testing.assert_allclose(layer(features(), BOXES), np.max(expected, axis=0).reshape(2, 2, 1, 1, 6), atol=1e-5)


@pytest.mark.parametrize("norm", ["batch_norm", "sync_batch_norm"])
@pytest.mark.parametrize("kind", [AdaptiveRoIAlign, functools.partial(AdaptiveRoIVectors, units=6)])
def test_boxes_that_only_pad_stay_out_of_the_statistics(kind, norm):
    """With the last box of each image for padding they are those of the first ones alone."""
    statistics = []
    for boxes, is_valid in ((BOXES, [[True, False]] * 2), (BOXES[:, :1], None), (BOXES, None)):
        keras.utils.set_random_seed(1)
        layer = kind(norm=norm, output_size=5, strides=STRIDES)
        layer(features(), boxes, training=True, is_valid=None if is_valid is None else tf.constant(is_valid))
        statistics.append(np.concatenate([value for value in map(np.ravel, layer.non_trainable_variables)]))
    np.testing.assert_allclose(statistics[0], statistics[1], rtol=1e-5, atol=1e-6)
    assert not np.allclose(statistics[0], statistics[2], rtol=1e-3)


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
KEYPOINTS = {"keypoint_head": {"pooling_size": 3, "conv_layers": 1, "channels": 8, "num_keypoints": 2}}
VECTORS = {
    "roi_pooling": {"method": "adaptive_vectors", "norm": "group_norm", "units": 24},
    "box_head": {"units": 40, "name": "normed_fc", "fc_layers": 1},
}
CASES = {
    "boxes": ("FasterRCNN", {}),
    "masks": ("MaskRCNN", MASKS),
    "cascade": ("CascadeRCNN", {}),
    "keypoints": ("KeypointRCNN", KEYPOINTS | {"roi_pooling": {"method": "adaptive", "norm": "batch_norm"}}),
    "vectors": ("FasterRCNN", VECTORS),
    "cascade of vectors": ("CascadeRCNN", {"roi_pooling": VECTORS["roi_pooling"]}),
}


def built(case):
    keras.utils.set_random_seed(5)
    member, settings = CASES[case]
    return getattr(keras_fpn, member)(num_classes=3, **NARROW | settings)


@pytest.mark.parametrize("case", CASES)
def test_it_learns_and_survives_a_file(case, tmp_path):
    model = built(case)
    poolings = [name for name in model.parts if name.endswith("pooling")]
    further = {"masks": ["mask_pooling"], "keypoints": ["keypoint_pooling"]}.get(case, [])
    assert poolings == ["roi_pooling", *further]
    images = tf.random.stateless_uniform([2, 64, 96, 3], [1, 2]) * 255
    inputs = {"images": images, "image_sizes": tf.constant([[64, 96], [50, 70]])}
    targets = {"boxes": tf.constant([[[10.0, 12, 40, 44]], [[20.0, 30, 60, 50]]]), "classes": tf.constant([[0], [1]])}
    if case == "masks":
        targets["bitmaps"] = tf.ones([2, 1, 64, 96], tf.uint8)
    if case == "keypoints":
        targets["keypoints"] = tf.constant([[[[20.0, 30, 2], [30, 20, 2]]], [[[30, 40, 2], [50, 40, 1]]]])
    with tf.GradientTape(persistent=True) as tape:
        losses, _ = model.training_losses(inputs, targets, tf.zeros([2], tf.int64), training=True)
        loss = tf.add_n(list(losses.values()))
    for name in poolings:
        variables = model.parts[name].trainable_variables
        # Of four levels a kernel, a scale and a shift; fully connected layers keep their bias.
        assert len(variables) == 4 * (4 if "vectors" in case else 3)
        assert all(np.any(gradient) for gradient in tape.gradient(loss, variables))
    found = model(inputs)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")(inputs)
    tf.nest.map_structure(lambda ours, theirs: np.testing.assert_allclose(ours, theirs, atol=1e-5), again, found)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["boxes", "vectors"])
@pytest.mark.parametrize(("format", "name"), [("saved_model", "served"), ("tflite", "m.tflite"), ("onnx", "m.onnx")])
def test_each_format_answers_as_the_model(format, name, case, tmp_path):
    finding = export.export_model(built(case), format, tmp_path / name).finding
    assert finding.detections > 20 and finding.unpaired == 0


@pytest.mark.parametrize(
    ("name", "method", "layers"), [("panet", "adaptive", (3, 1)), ("panet_2fc", "adaptive_vectors", (0, 1))]
)
def test_the_configurations_of_panet_have_them(name, method, layers):
    model = load_config(f"faster_rcnn_r50_{name}").model
    assert (model.roi_pooling.method, model.pyramid.name) == (method, "panet")
    assert (model.box_head.conv_layers, model.box_head.fc_layers) == layers


@pytest.mark.parametrize(
    ("config", "settings", "head"),
    [
        ("mask_rcnn_r50_fpn", [], "mask_head"),
        ("keypoint_rcnn_r50_fpn", [], "keypoint_head"),
        ("faster_rcnn_r50_fpn", ["model.box_head.conv_layers=4"], "box_head"),
        ("faster_rcnn_r50_c4", [], "box_head"),
    ],
)
def test_heads_of_maps_are_refused_on_vectors(config, settings, head):
    with pytest.raises(UserError, match=f"roi_pooling.method: adaptive_vectors leaves vectors, and {head} reads maps"):
        load_config(config, ["model.roi_pooling.method=adaptive_vectors", *settings])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["roi_pooling.norm=group_norm", "roi_pooling.units=32"], "roi_pooling.units: 32 .* group of norm"),
        (["box_head.units=16"], "box_head.units: 16 .* group of fc_norm"),
    ],
)
def test_vectors_that_groups_would_leave_nothing_of_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        load_config("faster_rcnn_r50_panet_2fc", [f"model.{each}" for each in settings])
