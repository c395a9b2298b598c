"""Focal and GIoU losses: numbers of torchvision's `sigmoid_focal_loss` and `generalized_box_iou_loss`."""

import numpy as np
import pytest
import tensorflow as tf

from keras_fpn.ops.focal import sigmoid_focal_loss
from keras_fpn.ops.giou import giou_loss


@pytest.mark.parametrize(
    ("logit", "label", "gamma", "expected"),
    [
        (-4.59512, 1.0, 2.0, 1.128382),  # what a positive costs at first
        (0.5, 1.0, 1.5, 0.027494),
        (0.0, 0.0, 2.0, 0.75 * 0.25 * np.log(2)),  # by hand
        (3.0, 1.0, 0.0, 0.25 * np.log1p(np.exp(-3))),  # by hand: the plain logistic loss
    ],
)
def test_the_focal_loss(logit, label, gamma, expected):
    loss = sigmoid_focal_loss(tf.constant(logit), tf.constant(label), 0.25, gamma)
    assert float(loss) == pytest.approx(expected, rel=2e-5)


def test_the_focal_loss_of_certain_logits_has_finite_gradients():
    logits = tf.Variable([-200.0, 200.0, -200.0, 200.0])
    with tf.GradientTape() as tape:
        losses = sigmoid_focal_loss(logits, tf.constant([0.0, 1.0, 1.0, 0.0]), 0.25, 2.0)
    np.testing.assert_allclose(losses, [0, 0, 50, 150], atol=1e-4)
    np.testing.assert_allclose(tape.gradient(losses, logits), [0, 0, -0.25, 0.75], atol=1e-6)


@pytest.mark.parametrize(
    ("box", "other", "expected"),
    [
        ([0, 0, 10, 10], [20, 0, 30, 10], 4 / 3),  # torchvision: 1.33333
        ([0, 0, 10, 10], [0, 0, 10, 10], 0),
        ([0, 0, 10, 10], [5, 0, 15, 10], 1 - 1 / 3),  # the hull is the union
        ([0, 0, 10, 10], [2, 2, 4, 4], 1 - 0.04),
        ([3, 3, 3, 3], [3, 3, 3, 3], 1),  # without an area: 0 / 0
    ],
)
def test_giou(box, other, expected):
    pair = [tf.constant(one, tf.float32) for one in (box, other)]
    for first, second in (pair, pair[::-1]):
        assert float(giou_loss(first, second)) == pytest.approx(expected, abs=1e-5)
