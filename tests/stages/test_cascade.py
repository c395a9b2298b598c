"""The stage of a cascade against detectron2's `CascadeROIHeads` (golden/make_cascade.py), and what it must not do."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_fpn
from keras_fpn.console.errors import UserError
from keras_fpn.models.settings import resolve
from keras_fpn.ops import boxes as box_ops
from keras_fpn.parts.classes import numbered
from keras_fpn.stages.cascade import CascadeStage, scale_gradient
from keras_fpn.stages.stage import StageContext

CLASSES, UNITS, CHANNELS = 3, 24, 4
STRIDES = {"P2": 4, "P3": 8, "P4": 16, "P5": 32}
SIZES = ((250, 310), (256, 200))
OBJECTS = (
    ([[20, 30, 150, 180], [180, 40, 290, 240], [60, 120, 100, 150], [5, 200, 45, 245]], [0, 2, 1, 1]),
    ([[10, 10, 190, 250], [100, 60, 140, 110]], [2, 0]),
)
SETTINGS = {
    "box_head": {"units": UNITS},
    "roi_targets": {"samples_per_image": 64, "positive_fraction": 1.0},
}


@pytest.fixture(scope="module")
def stage(draws):
    """A stage of three heads with the weights that the golden script drew."""
    settings = resolve("cascade_rcnn", "detectron2", SETTINGS)
    context = StageContext(STRIDES, dict.fromkeys(STRIDES, CHANNELS), numbered(CLASSES, None, None), settings)
    stage = CascadeStage(context)
    stage.build()
    for number, head in enumerate(stage.heads):
        body, last = f"cascade/box_head.{number}", f"cascade/box_predictor.{number}"
        fc1 = draws.weight(f"{body}.fc1.weight", (UNITS, CHANNELS * 49))
        fc1 = fc1.reshape(UNITS, CHANNELS, 7, 7).transpose(2, 3, 1, 0).reshape(-1, UNITS)
        head.fc1.set_weights([fc1, draws.weight(f"{body}.fc1.bias", (UNITS,))])
        for layer, name, rows in (
            (head.fc2, f"{body}.fc2", UNITS),
            (head.class_logits, f"{last}.cls_score", CLASSES + 1),
            (head.box_deltas, f"{last}.bbox_pred", 4),
        ):
            layer.set_weights([draws.weight(f"{name}.weight", (rows, UNITS)).T, draws.weight(f"{name}.bias", (rows,))])
    return stage


@pytest.fixture(scope="module")
def features(draws):
    maps = {level: (2, CHANNELS, 256 // stride, 320 // stride) for level, stride in STRIDES.items()}
    drawn = {level: draws.normal(f"cascade/{level.lower()}", shape) for level, shape in maps.items()}
    return {level: tf.constant(value.transpose(0, 2, 3, 1)) for level, value in drawn.items()}


@pytest.fixture(scope="module")
def state(golden):
    proposals = [golden("cascade")[f"proposals/{image}"] for image in range(2)]
    most = max(map(len, proposals))
    padded = np.stack([np.pad(own, [(0, most - len(own)), (0, 0)]) for own in proposals])
    counts = np.array([len(own) for own in proposals], np.int32)
    return {
        "inputs": {"image_sizes": tf.constant(SIZES)},
        "proposals": {"boxes": tf.constant(padded), "num_proposals": tf.constant(counts)},
    }


@pytest.fixture(scope="module")
def targets():
    boxes, classes = np.zeros((2, 4, 4), np.float32), np.full((2, 4), -1, np.int32)
    for image, (own, labels) in enumerate(OBJECTS):
        boxes[image, : len(own)], classes[image, : len(own)] = own, labels
    return {"boxes": boxes, "classes": classes}


def of_all(values, counts):
    return np.concatenate([np.asarray(value)[:count] for value, count in zip(values, counts, strict=True)])


def test_each_head_and_the_detections_equal_detectron2(golden, stage, features, state):
    kept, counts = golden("cascade"), state["proposals"]["num_proposals"].numpy()
    boxes = state["proposals"]["boxes"]
    for number, head in enumerate(stage.heads):
        of_stage = kept.under(f"inference/{number}")
        np.testing.assert_allclose(of_all(boxes, counts), of_stage["boxes"], atol=2e-3)
        logits, deltas = head(stage.roi_pooling(features, boxes))
        np.testing.assert_allclose(of_all(logits, counts), of_stage["class_logits"], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(of_all(deltas, counts)[:, 0], of_stage["deltas"], rtol=1e-4, atol=1e-4)
        boxes = stage.refine(boxes, deltas, number, state["inputs"]["image_sizes"])
    found = stage.infer(features, state)["detections"]
    for image in range(2):
        expected = kept.under(f"detections/{image}")
        count = int(found["num_detections"][image])
        assert count == len(expected["boxes"]) > 30
        np.testing.assert_allclose(found["scores"][image, :count], expected["scores"], atol=2e-4)
        np.testing.assert_allclose(found["boxes"][image, :count], expected["boxes"], atol=0.05)
        np.testing.assert_array_equal(found["classes"][image, :count], expected["classes"])


def test_losses_and_gradients_equal_detectron2(golden, stage, features, state, targets):
    kept = golden("cascade")
    kernels = [head.fc1.kernel for head in stage.heads]
    with tf.GradientTape() as tape:
        tape.watch(features)
        additions, losses, recalls = stage.train(features, state, targets, tf.constant([0, 1], tf.int64))
        total = sum(losses.values())
    assert tuple(losses) == stage.loss_names and tuple(recalls) == stage.recall_names
    for number, name in enumerate(("roi", "roi_2", "roi_3")):
        for ours, theirs in (("class", "cls"), ("box", "box_reg")):
            expected = kept[f"losses/loss_{theirs}_stage{number}"]
            np.testing.assert_allclose(losses[f"{name}_{ours}_loss"], expected, rtol=1e-4)
    of_features, of_kernels = tape.gradient(total, [features, kernels])
    for gradient, name in ((of_features["P3"], "p3"), (np.sum(of_features["P2"], axis=1), "p2")):
        expected = np.moveaxis(kept[f"gradients/{name}"], 1, -1)
        np.testing.assert_allclose(gradient, expected, atol=1e-4 * np.abs(expected).max(), err_msg=name)
    for number, gradient in enumerate(of_kernels):
        # Sums over the inputs: the heads' own gradients are not divided.
        np.testing.assert_allclose(np.sum(gradient, axis=0), kept[f"gradients/fc1/{number}"], rtol=1e-3, atol=1e-4)
    # What other heads train on are the samples of the first.
    counts = additions["samples"]["is_valid"].numpy().sum(axis=1)
    np.testing.assert_array_equal(counts, kept["training/0/counts"])


def test_what_clipping_empties_is_dropped_in_training_only(golden, stage, features, state, targets, monkeypatch):
    seen = []
    monkeypatch.setattr(stage, "learn", lambda *arguments: seen.append(arguments[-1]) or ({}, {}))
    stage.train(features, state, targets, tf.constant([0, 1], tf.int64))
    counts = [rois["is_valid"].numpy().sum(axis=1) for rois in seen]
    np.testing.assert_array_equal(counts, [golden("cascade")[f"training/{number}/counts"] for number in range(3)])
    assert (counts[1] < counts[0]).all()
    rois, logits, _ = stage.predict(features, state["proposals"], state["inputs"])
    assert rois["boxes"].shape == state["proposals"]["boxes"].shape and logits.shape[1] == rois["boxes"].shape[1]
    assert not box_ops.larger_than(rois["boxes"], 0.0)[0, 39]


def test_box_weights_and_scores_of_the_heads_by_hand(stage):
    # The same deltas move less by greater weights: x + dx / weight * width.
    reference, deltas = tf.constant([[[10.0, 20, 110, 220]]]), tf.constant([[[[1.0, 0.5, 0.5, -0.5]]]])
    sizes = tf.constant([[500, 500]])
    expected = [
        [14.7415, 39.5163, 125.2585, 220.4837], [12.4364, 29.8771, 117.5636, 220.123],
        [11.6386, 26.6117, 115.0281, 220.0549],
    ]  # fmt: skip
    for number, box in enumerate(expected):
        np.testing.assert_allclose(stage.refine(reference, deltas, number, sizes)[0, 0], box, atol=1e-3)


def test_scores_are_the_mean_of_probabilities_not_of_logits(stage, features, state, monkeypatch):
    said = [(2.0, 0.0, 0.0, -50.0), (0.0, 2.0, 0.0, -50.0), (4.0, 0.0, 0.0, -50.0)]

    def saying(logits):
        return lambda crops, **_: (tf.tile(tf.constant([[logits]]), [2, 40, 1]), tf.zeros([2, 40, 1, 4]))

    monkeypatch.setattr(stage, "heads", [saying(logits) for logits in said])
    _, logits, _ = stage.predict(features, state["proposals"], state["inputs"])
    np.testing.assert_allclose(tf.nn.softmax(logits)[0, 0], [0.61939, 0.30372, 0.07689, 0], atol=1e-5)


def test_equal_heads_that_move_nothing_are_a_plain_stage(tiny_settings, tiny_batch):
    keras.utils.set_random_seed(5)
    cascade = keras_fpn.CascadeRCNN(**tiny_settings())
    for head in (cascade.box_head, cascade.box_head_2, cascade.box_head_3):
        head.set_weights(cascade.box_head.get_weights())
        head.box_deltas.set_weights([np.zeros_like(weight) for weight in head.box_deltas.get_weights()])
    settings = tiny_settings()
    plain = keras_fpn.FasterRCNN(**settings | {"box_head": settings["box_head"] | {"class_agnostic_boxes": True}})
    shared = len(cascade.weights) - 2 * len(cascade.box_head.weights)
    plain.set_weights([weight.numpy() for weight in cascade.weights[:shared]])
    inputs, _ = tiny_batch
    expected = plain(inputs)
    assert (expected["num_detections"].numpy() > 0).all()
    for name, value in cascade(inputs).items():
        np.testing.assert_allclose(value, expected[name], atol=1e-4, err_msg=name)


def test_a_scaled_gradient_leaves_values_alone():
    values = tf.constant([1.1, -7.3, 0.0, 1e30])
    with tf.GradientTape() as tape:
        tape.watch(values)
        scaled = scale_gradient(values, 1 / 3)
        total = tf.reduce_sum(scaled)
    np.testing.assert_array_equal(scaled, values)
    np.testing.assert_allclose(tape.gradient(total, values), [1 / 3] * 4)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"cascade": {"positive_ious": [0.6]}}, "cascade.box_weights: 2 for the 1 stages of cascade.positive_ious"),
        ({"cascade": {"positive_ious": [0.6, 1.7]}}, "cascade.positive_ious.1: input should be less than or equal"),
        ({"cascade": {"positive_ious": [], "box_weights": []}}, "cascade.positive_ious: list should have at least 1"),
        ({"box_head": {"class_agnostic_boxes": False}}, "box_head.class_agnostic_boxes: a cascade refines one box for"),
    ],
)
def test_wrong_settings_are_told_with_their_key(wrong, message):
    with pytest.raises(UserError) as error:
        resolve("cascade_rcnn", "detectron2", wrong)
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


def test_a_member_has_its_own_defaults_under_every_profile():
    for profile in ("detectron2", "torchvision", "paper"):
        settings = resolve("cascade_mask_rcnn", profile)
        assert settings["box_head"]["class_agnostic_boxes"] is True
        assert settings["proposals"]["post_nms_top_k_train"] == 2000  # configs/Misc/cascade_mask_rcnn_R_50_FPN_1x.yaml
    given = resolve("cascade_rcnn", "detectron2", {"proposals": {"post_nms_top_k_train": 7}})
    assert given["proposals"]["post_nms_top_k_train"] == 7
    assert resolve("faster_rcnn", "detectron2")["proposals"]["post_nms_top_k_train"] == 1000
