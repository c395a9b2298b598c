"""The loss of masks, against torchvision's and by hand."""

import numpy as np
import pytest
import tensorflow as tf

from keras_fpn.ops.mask_losses import mask_loss


def test_mask_loss_and_its_gradient_equal_torchvision(golden, draws):
    """Of soft targets (golden/make_mask_head.py): three RoIs of the first image, one of the second, and two of none."""
    kept = golden("mask_head").under("loss")
    classes, targets = kept["classes"], kept["targets"]
    assert ((targets > 0.01) & (targets < 0.99)).any()
    own = draws.normal("mask_loss/logits", (4, 4, 28, 28), 2.0)[np.arange(4), classes + 1]  # the background comes first
    none, rows = np.full((2, 28, 28), 50, np.float32), np.array([[0, 1, 2], [3, 4, 5]])
    logits, targets = tf.constant(np.concatenate([own, none])[rows]), np.concatenate([targets, -none])[rows]
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = mask_loss(logits, tf.constant(targets), tf.constant(rows < 4))
    np.testing.assert_allclose(loss, kept["mask_loss"], rtol=1e-5)
    gradient = tape.gradient(loss, logits).numpy().reshape(6, 28, 28)
    expected = kept["gradient_background_first"][np.arange(4), classes + 1]
    np.testing.assert_allclose(gradient[:4], expected, rtol=1e-4, atol=1e-9)
    assert not gradient[4:].any()


@pytest.mark.parametrize(("logit", "target", "expected"), [(0.0, 0.3, 0.693147), (2.0, 0.3, 1.526928)])
def test_masks_are_learnt_from_as_soft_as_they_are(logit, target, expected):
    # log(1 + e^2) - 0.3 * 2; of a target that is rounded to 0 it would be 2.126928.
    logits, targets = (tf.fill([1, 2, 4, 4], value) for value in (logit, target))
    np.testing.assert_allclose(mask_loss(logits, targets, tf.constant([[True, False]])), expected, rtol=1e-5)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = mask_loss(logits, targets, tf.constant([[False, False]]))
    assert float(loss) == 0.0 and not tape.gradient(loss, logits).numpy().any()
