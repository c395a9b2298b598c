"""A whole detector under the torchvision profile against torchvision itself (golden/make_detector.py).

Each stage has a test of its own; this one is for what lies between them: pixels, strides, levels, orders.
"""

import numpy as np
import pytest
import tensorflow as tf

import keras_fpn

CANVAS, CHANNELS, UNITS, CLASSES = (128, 160), 32, 64, 4
STATISTICS = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def backbone_name(layer):
    if layer.startswith("stem_"):
        return "backbone.body." + {"stem_conv": "conv1", "stem_norm": "bn1"}[layer]
    stage, block, part = layer[3:].split("_", 2)
    part = {"shortcut_conv": "downsample.0", "shortcut_norm": "downsample.1"}.get(part) or part.replace(
        "norm", "bn"
    )
    return f"backbone.body.layer{int(stage) - 1}.{block}.{part}"


@pytest.fixture(scope="module")
def drawn(golden, draws):
    """`drawn(name, shape)`: the weight that the script gave to torchvision's parameter of that name."""
    scales = dict(zip(golden("detector")["scaled"].tolist(), golden("detector")["scales"], strict=True))
    return lambda name, shape: (draws.weight(name, shape) * scales.get(name, 1.0)).astype(np.float32)


def give_backbone(model, drawn):
    for layer in model.backbone.layers:
        for variable in layer.variables:
            name, shape = backbone_name(layer.name), tuple(variable.shape)
            if len(shape) == 4:
                kernel = drawn(f"{name}.weight", (shape[3], shape[2], *shape[:2]))
                variable.assign(kernel.transpose(2, 3, 1, 0))
            else:
                variable.assign(drawn(f"{name}.{STATISTICS[variable.name]}", shape))


def give_convolution(layer, name, drawn):
    height, width, inputs, outputs = layer.kernel.shape
    kernel = drawn(f"{name}.weight", (outputs, inputs, height, width)).transpose(2, 3, 1, 0)
    layer.set_weights([kernel, drawn(f"{name}.bias", (outputs,))])


def give_heads(model, drawn):
    for index in range(4):
        give_convolution(
            model.pyramid.get_layer(f"lateral_C{index + 2}"), f"backbone.fpn.inner_blocks.{index}.0", drawn
        )
        give_convolution(
            model.pyramid.get_layer(f"output_P{index + 2}"), f"backbone.fpn.layer_blocks.{index}.0", drawn
        )
    rpn = model.rpn_head
    for layer, name in (
        (rpn.hidden[0], "conv.0.0"),
        (rpn.objectness, "cls_logits"),
        (rpn.deltas, "bbox_pred"),
    ):
        give_convolution(layer, f"rpn.head.{name}", drawn)
    head, prefix = model.box_head, "roi_heads.box_"
    fc6 = drawn(f"{prefix}head.fc6.weight", (UNITS, CHANNELS * 49)).reshape(UNITS, CHANNELS, 7, 7)
    head.fc1.set_weights(
        [fc6.transpose(2, 3, 1, 0).reshape(-1, UNITS), drawn(f"{prefix}head.fc6.bias", (UNITS,))]
    )
    fc7 = drawn(f"{prefix}head.fc7.weight", (UNITS, UNITS))
    head.fc2.set_weights([fc7.T, drawn(f"{prefix}head.fc7.bias", (UNITS,))])
    scores = drawn(f"{prefix}predictor.cls_score.weight", (CLASSES + 1, UNITS))
    bias = drawn(f"{prefix}predictor.cls_score.bias", (CLASSES + 1,))
    # torchvision has the background first, ours is last and has no box.
    head.class_logits.set_weights([np.roll(scores, -1, axis=0).T, np.roll(bias, -1)])
    boxes = drawn(f"{prefix}predictor.bbox_pred.weight", (4 * CLASSES + 4, UNITS))
    bias = drawn(f"{prefix}predictor.bbox_pred.bias", (4 * CLASSES + 4,))
    head.box_deltas.set_weights([boxes[4:].T, bias[4:]])


@pytest.fixture(scope="module")
def model(drawn):
    model = keras_fpn.FasterRCNN(
        CLASSES,
        profile="torchvision",
        backbone="resnet18",
        pyramid={"channels": CHANNELS},
        anchors={"sizes": {"P2": [8.0], "P3": [16.0], "P4": [32.0], "P5": [64.0], "P6": [128.0]}},
        rpn={"channels": CHANNELS},
        proposals={"pre_nms_top_k_test": 100, "post_nms_top_k_test": 120},
        roi_pooling={"canonical_size": 56.0},
        detections={"max_detections": 300},
        box_head={"units": UNITS},
    )
    give_backbone(model, drawn)
    give_heads(model, drawn)
    return model


@pytest.fixture(scope="module")
def inputs(golden, draws):
    kept = golden("detector")
    pixels = np.clip(draws.normal("detector/images", (2, 3, *CANVAS), 60.0) + 120, 0, 255).round()
    for image, (height, width) in zip(pixels, kept["sizes"], strict=True):
        image[:, height:], image[:, :, width:] = 0, 0
    np.testing.assert_array_equal(pixels[:, :, ::9, ::9], kept["pixels"])
    return {
        "images": tf.constant(pixels.transpose(0, 2, 3, 1), tf.uint8),
        "image_sizes": tf.constant(kept["sizes"], tf.int32),
    }


def nearest(ours, theirs):
    """Largest distance of a box of either side to the nearest of the other, pixels."""
    distance = np.abs(ours[:, None] - theirs[None]).max(-1)
    return max(distance.min(0).max(), distance.min(1).max())


@pytest.fixture(scope="module")
def answer(model, inputs):
    return tf.function(model.inference)(inputs)


@pytest.mark.parametrize("image", (0, 1))
def test_proposals_equal_torchvision(golden, answer, image):
    expected = golden("detector")[f"{image}/proposals"]
    count = int(answer["proposals"]["num_proposals"][image])
    assert count == len(expected)
    # As a set: rounding may exchange neighbours with almost equal scores.
    assert nearest(answer["proposals"]["boxes"][image, :count].numpy(), expected) < 0.05


@pytest.mark.parametrize("image", (0, 1))
def test_detections_equal_torchvision(golden, answer, image):
    kept = golden("detector").under(str(image))
    detections = {name: value[image].numpy() for name, value in answer["detections"].items()}
    assert detections["num_detections"] == len(kept["boxes"])
    count = int(detections["num_detections"])
    np.testing.assert_allclose(detections["scores"][:count], kept["scores"], atol=1e-3)
    for label in np.unique(kept["labels"]):
        ours = detections["boxes"][:count][detections["classes"][:count] == label - 1]
        assert nearest(ours, kept["boxes"][kept["labels"] == label]) < 0.05
