"""Targets and loss of keypoints against torchvision's (golden/make_keypoints.py), and detectron2's normaliser."""

import numpy as np
import pytest
import tensorflow as tf

from keras_fpn.console.errors import UserError
from keras_fpn.stages.keypoint_targets import are_near, check_keypoints, encode, keypoint_loss, keypoint_rois
from tests.ops.heat_maps import heat_maps

PLAIN = {"normalizer": "visible", "weight": 1.0, "positives_per_image": 128}


def of_one_image(kept):
    return tf.constant(kept["keypoints"][None]), tf.constant(kept["boxes"][None]), tf.range(len(kept["boxes"]))[None]


def test_encode_equals_torchvision(golden):
    kept = golden("keypoints")
    labels, is_valid = encode(*of_one_image(kept))
    np.testing.assert_array_equal(is_valid[0], kept["is_valid"])
    np.testing.assert_array_equal(labels[0], kept["labels"])


@pytest.mark.parametrize(
    ("keypoint", "label"),
    [
        ((60, 120, 2), 1596),
        ((60, 120, 1), 1596),  # hidden
        ((60, 120, 0), None),  # without a label
        ((110, 220, 2), 3135),  # on the corner
        ((110.01, 120, 2), None),
        ((9.99, 120, 2), None),
        ((109.999, 219.999, 2), 3135),
    ],
)
def test_encode_by_hand(keypoint, label):
    """The cell by torchvision's `keypoints_to_heatmap`, box 10, 20, 110, 220."""
    boxes = tf.constant([[[10.0, 20.0, 110.0, 220.0]] * 2])
    keypoints = tf.constant([[[keypoint]]], tf.float32)
    labels, is_valid = encode(keypoints, boxes, tf.constant([[0, -1]]))
    assert is_valid.numpy().ravel().tolist() == [label is not None, False]
    assert labels.numpy().ravel().tolist() == [label or 0, 0]


def test_no_objects_and_boxes_without_extent():
    labels, is_valid = encode(tf.zeros([1, 0, 3, 3]), tf.zeros([1, 2, 4]), tf.constant([[-1, -1]]))
    assert not is_valid.numpy().any() and not labels.numpy().any()
    keypoints = tf.constant([[[[5.0, 5.0, 2.0], [6.0, 5.0, 2.0]]]])
    _, is_valid = encode(keypoints, tf.constant([[[5.0, 5.0, 5.0, 9.0]]]), tf.constant([[0]]))
    assert is_valid.numpy().ravel().tolist() == [True, False]  # as torchvision says: it lies on the border


def test_loss_and_gradient_equal_torchvision(golden, draws):
    kept = golden("keypoints")
    keypoints, boxes, objects = of_one_image(kept)
    logits = heat_maps(draws, kept["boxes"], 5)[None]
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = keypoint_loss(logits, *encode(keypoints, boxes, objects), **PLAIN)
    assert float(loss) == pytest.approx(float(kept["loss"]), rel=1e-5)
    gradient = tape.gradient(loss, logits)[0].numpy().transpose(0, 3, 1, 2)
    np.testing.assert_allclose(gradient[::8, :, ::7, ::7], kept["gradient_of_some"], atol=1e-8)


def test_normalisers():
    """Ten keypoints of two images on uniform maps, log 3136 each: detectron2 divides by 10, or by 2 * 17 * 128."""
    logits, labels = tf.zeros([2, 3, 56, 56, 17]), tf.zeros([2, 3, 17], tf.int32)
    is_valid = np.zeros((2, 3, 17), bool)
    is_valid[0, 0, :7] = is_valid[1, 2, :3] = True
    loss = keypoint_loss(logits, labels, tf.constant(is_valid), **PLAIN)
    assert float(loss) == pytest.approx(8.0507, abs=1e-4)
    for weight in (1.0, 4.0):
        fixed = {"normalizer": "fixed", "weight": weight, "positives_per_image": 0.25 * 512}
        loss = keypoint_loss(logits, labels, tf.constant(is_valid), **fixed)
        assert float(loss) == pytest.approx(0.018499 * weight, abs=4e-6)
    with pytest.raises(ValueError, match="normalizer"):
        keypoint_loss(logits, labels, tf.constant(is_valid), normalizer="all", weight=1.0, positives_per_image=1.0)


def test_without_a_keypoint_there_is_nothing_to_learn():
    logits = tf.Variable(np.random.default_rng(0).normal(size=(1, 2, 56, 56, 3)).astype(np.float32))
    with tf.GradientTape() as tape:
        loss = keypoint_loss(logits, tf.zeros([1, 2, 3], tf.int32), tf.zeros([1, 2, 3], tf.bool), **PLAIN)
    assert loss == 0
    assert not tape.gradient(loss, logits).numpy().any()


def test_only_rois_that_teach_are_run():
    keypoints = tf.constant([[[[5.0, 5.0, 2.0]], [[50.0, 50.0, 0.0]]], [[[5.0, 5.0, 1.0]], [[5.0, 5.0, 2.0]]]])
    around, beside = [0.0, 0.0, 10.0, 10.0], [20.0, 20.0, 30.0, 30.0]
    boxes = tf.constant([[beside, around, around, around], [around, beside, around, around]])
    objects = tf.constant([[0, 1, 0, -1], [0, 0, 1, -1]])
    boxes, labels, is_valid = keypoint_rois({"boxes": boxes, "objects": objects}, keypoints)
    np.testing.assert_array_equal(is_valid[..., 0], [[True, False], [True, True]])
    np.testing.assert_array_equal(boxes[1], [around, around])
    assert boxes[0, 0].numpy().tolist() == around and labels[0, 0, 0] == 28 * 56 + 28
    nothing = keypoint_rois({"boxes": boxes, "objects": tf.fill([2, 2], -1)}, keypoints)
    assert nothing[0].shape == (2, 1, 4) and not nothing[2].numpy().any()


def test_targets_without_keypoints_or_of_another_number_are_refused():
    with pytest.raises(UserError, match='^targets: "keypoints"'):
        check_keypoints({"boxes": tf.zeros([1, 1, 4])}, 17)
    with pytest.raises(UserError, match="has 5 of each object, the model 17"):
        check_keypoints({"keypoints": tf.zeros([1, 1, 5, 3])}, 17)


def test_neighbours():
    """Cells of a 5 x 5 map around 12, its middle: the right border of a row is no neighbour of the next one's left."""
    assert np.flatnonzero(are_near(tf.range(25), tf.fill([25], 12), 5)).tolist() == [6, 7, 8, 11, 12, 13, 16, 17, 18]
    assert np.flatnonzero(are_near(tf.range(25), tf.fill([25], 10), 5)).tolist() == [5, 6, 10, 11, 15, 16]
