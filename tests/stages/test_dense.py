"""Labels and losses of all anchors against torchvision's RetinaNet (golden/make_dense.py), and what divides them."""

import numpy as np
import pytest
import tensorflow as tf

from keras_fpn.layers.loss_normalizer import LossNormalizer
from keras_fpn.models.settings import resolve
from keras_fpn.parts.classes import numbered
from keras_fpn.stages.dense import DenseStage
from keras_fpn.stages.dense_targets import anchor_labels
from keras_fpn.stages.stage import StageContext

TARGETS = {
    "boxes": [[[10, 12, 40, 50], [60, 20, 150, 110], [30.3, 60.2, 38.9, 71.5]], [[100, 10, 129, 95], [0] * 4, [0] * 4]],
    "classes": [[3, 0, 4], [1, -1, -1]],
}
MATCHING = {"positive_iou": 0.5, "negative_iou": 0.4, "low_quality_matches": True, "crowd_ioa": 0.7}


def a_stage(**losses):
    settings = resolve("retinanet", "torchvision", {"dense_losses": losses})
    strides = {f"P{k}": 2**k for k in range(3, 8)}
    return DenseStage(StageContext(strides, dict.fromkeys(strides, 64), numbered(5), settings))


def targets(empty):
    values = {"boxes": np.array(TARGETS["boxes"], np.float32), "classes": np.array(TARGETS["classes"], np.int32)}
    if empty:
        values["boxes"][1], values["classes"][1] = 0, -1
    return {key: tf.constant(value) for key, value in values.items()}


@pytest.mark.parametrize("kind", ["l1", "giou"])
def test_losses_and_gradients_are_torchvisions(kind, golden, draws):
    expected, anchors = golden("dense").under(f"losses/{kind}"), tf.constant(golden("dense")["anchors"])
    logits = tf.Variable(draws.normal("dense/logits", (2, len(anchors), 5), 1.5) - 4)
    deltas = tf.Variable(draws.normal("dense/deltas", (2, len(anchors), 4), 0.4))
    stage = a_stage(box_loss="giou" if kind == "giou" else "smooth_l1")
    for name in ("empty", "full"):
        labelled = anchor_labels(anchors, targets(name == "empty"), **MATCHING)
        with tf.GradientTape() as tape:
            losses, _ = stage.losses({"class_logits": logits, "box_deltas": deltas}, anchors, labelled)
            total = tf.add_n(list(losses.values()))
        np.testing.assert_allclose(list(losses.values()), expected[name], rtol=2e-5, err_msg=name)
    gradients = tape.gradient(total, [logits, deltas])
    np.testing.assert_allclose(gradients[0][:, ::3], expected["logit_gradients"], atol=1e-6)
    places = np.argwhere(np.abs(gradients[1]).sum(-1) > 0)
    np.testing.assert_array_equal(places, expected["positives"])
    np.testing.assert_allclose(gradients[1].numpy()[tuple(places.T)], expected["delta_gradients"], atol=1e-6)


def test_the_labels_of_anchors():
    objects = {"boxes": [[[0, 0, 20, 20], [40, 0, 50, 10], [60, 60, 90, 90]]], "classes": [[2, 0, 1]]}
    objects["is_crowd"] = [[False, False, True]]
    anchors = [
        [0, 0, 20, 20],  # the first object
        [0, 0, 20, 9],  # 0.45 of it: neither
        [0, 0, 20, 7],  # 0.35: background
        [40, 0, 50, 3],  # 0.3 of the second, which no other overlaps more
        [62, 62, 80, 80],  # in a crowd
        [70, 10, 80, 30],
    ]
    given = {key: tf.constant(value) for key, value in objects.items()}
    found = anchor_labels(tf.constant(anchors, tf.float32), given, **MATCHING)
    assert found["classes"].numpy().tolist() == [[2, -1, -1, 0, -1, -1]]
    assert found["is_trained"].numpy().tolist() == [[True, False, True, True, False, True]]
    expected = [anchors[0], *anchors[1:3], [40, 0, 50, 10], *anchors[4:]]
    assert found["boxes"].numpy().tolist() == [expected]


def test_logits_of_no_class_are_trained_as_background():
    """torchvision's 91 rows are: the loss counts them all."""
    stage, anchors = a_stage(), tf.constant([[0, 0, 9, 9]], tf.float32)
    labelled = {"classes": tf.constant([[4]]), "boxes": anchors[None], "is_trained": tf.constant([[True]])}
    losses = [
        stage.losses({"class_logits": tf.zeros([1, 1, rows]), "box_deltas": tf.zeros([1, 1, 4])}, anchors, labelled)
        for rows in (5, 7)
    ]
    of_background = 0.75 * 0.25 * np.log(2)
    assert float(losses[1][0]["class_loss"] - losses[0][0]["class_loss"]) == pytest.approx(2 * of_background, rel=1e-5)


@pytest.mark.parametrize(
    ("kind", "expected"), [("image", 3.0), ("batch", 2.5), ("moving_average", 10 / 90.4)]
)
def test_what_the_sums_are_divided_by(kind, expected):
    """Images of 3 positives and 1, sums of 6 and 4; torchvision's v1, its FCOS, detectron2's first step."""
    divisors = LossNormalizer(kind)(tf.constant([3.0, 1.0]), training=True)
    assert float(tf.reduce_sum(tf.constant([6.0, 4.0]) / divisors)) == pytest.approx(expected)


def test_the_average_moves_with_training_alone():
    layer = LossNormalizer()
    for training, expected in ((True, 90.4), (False, 90.4), (True, 0.9 * 90.4 + 0.1)):
        divisors = layer(tf.constant([4.0, 0.0] if expected == 90.4 else [0.0, 0.0]), training=training)
        assert divisors.numpy().tolist() == pytest.approx([expected] * 2)  # without positives they count as one
    assert not layer.trainable_weights and float(layer.average) == pytest.approx(81.46)
    with pytest.raises(ValueError, match="kind must be one of"):
        LossNormalizer("none")
