"""Places of keypoints against torchvision's heatmaps_to_keypoints (golden/make_keypoints.py), and figures of torch."""

import numpy as np
import pytest
import tensorflow as tf

from keras_fpn.ops import keypoints
from tests.ops.heat_maps import SIDE, heat_maps


def test_equals_torchvision(golden, draws):
    kept = golden("keypoints")
    boxes = kept["boxes"]
    found = keypoints.decode(heat_maps(draws, boxes, 5), tf.constant(boxes), "logit").numpy()
    np.testing.assert_allclose(found[..., :2], kept["places"], atol=1e-3)
    np.testing.assert_allclose(found[..., 2], kept["scores"], atol=1e-4)


# A single logit of 5 at row 28, column 14 of zeros: torch's bicubic resize, its first maximum, and the score of it by
# detectron2, all computed with torch 2.14.
@pytest.mark.parametrize(
    ("box", "x", "y", "logit", "probability"),
    [
        ([10, 20, 110, 220], 35.5, 121.5, 4.459826, 0.026336),
        ([10, 20, 110.4, 220.2], 36.3426, 122.092, None, None),
        ([0, 0, 56, 56], 14.5, 28.5, 5.0, 0.0452),
        ([0, 0, 28, 28], 7.5, 14.5, 1.7627, None),  # smaller, and still not smoothed
        ([3, 3, 3.2, 3.3], 3.5, 3.5, None, None),  # a side of less than a pixel is one: outside the box
    ],
)
def test_one_peak(box, x, y, logit, probability):
    maps = np.zeros((1, SIDE, SIDE, 1), np.float32)
    maps[0, 28, 14] = 5.0
    boxes = tf.constant([box], tf.float32)
    found = keypoints.decode(tf.constant(maps), boxes, "logit").numpy()[0, 0]
    np.testing.assert_allclose(found[:2], [x, y], atol=1e-3)
    if logit is not None:
        assert found[2] == pytest.approx(logit, abs=1e-4)
    if probability is not None:
        score = keypoints.decode(tf.constant(maps), boxes)[0, 0, 2]
        assert float(score) == pytest.approx(probability, abs=1e-5)


def test_a_small_box_is_resolved_to_the_cells_of_its_map_where_so_many_pixels_are_asked_for():
    maps = np.zeros((1, SIDE, SIDE, 1), np.float32)
    maps[0, 28, 14] = 5.0
    small = tf.constant([[2.0, 3.0, 10.0, 11.0]])
    # By hand: an eighth of a box of 8 pixels is 7 cells; cell 14 has its centre at 14.5 / 7 pixels, 28 at 28.5 / 7.
    found = keypoints.decode(tf.constant(maps), small, "logit", least_pixels=SIDE).numpy()[0, 0]
    np.testing.assert_allclose(found, [2 + 14.5 / 7, 3 + 28.5 / 7, 5.0], atol=1e-5)
    coarse = keypoints.decode(tf.constant(maps), small, "logit").numpy()[0, 0]
    np.testing.assert_allclose(coarse[:2] % 1, 0.5, atol=1e-5)  # whole pixels of the box
    large = tf.constant([[10.0, 20.0, 110.0, 220.0]])
    both = (keypoints.decode(tf.constant(maps), large, "logit", least_pixels=number) for number in (1, SIDE))
    np.testing.assert_array_equal(*both)


def test_first_of_equals():
    boxes = tf.constant([[10.0, 20.0, 90.0, 120.0]])
    found = keypoints.decode(tf.zeros([1, SIDE, SIDE, 2]), boxes).numpy()[0]
    np.testing.assert_allclose(found, [[10.5, 20.5, 1 / 3136]] * 2, rtol=1e-6)


def test_kernel_is_torchs():
    """torch.nn.functional.interpolate(mode="bicubic") of a delta, x2: TensorFlow's own gives .867188 and 1.088235."""
    weights = keypoints.cubic_weights(tf.constant(16.0), 8).numpy()
    np.testing.assert_allclose(weights[3:8, 3], [-0.035156, -0.105469, 0.261719, 0.878906, 0.878906], atol=1e-6)
    np.testing.assert_allclose(weights[:2, 0], [1.105469, 0.773438], atol=1e-6)
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-6)


def test_no_boxes_and_no_such_score():
    assert keypoints.decode(tf.zeros([0, SIDE, SIDE, 4]), tf.zeros([0, 4])).shape == (0, 4, 3)
    with pytest.raises(ValueError, match="score"):
        keypoints.decode(tf.zeros([0, SIDE, SIDE, 4]), tf.zeros([0, 4]), "certainty")
