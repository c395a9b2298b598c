"""Box arithmetic against torchvision (golden/make_boxes.py), against numbers by hand, and its laws."""

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from keras_fpn.ops import boxes as box_ops

WEIGHTS = {"rpn": (1.0, 1.0, 1.0, 1.0), "roi": (10.0, 10.0, 5.0, 5.0)}


def box_lists(smallest_side=0.0, largest_side=300.0, low=-100.0, high=1400.0):
    """`[N, 4]` float32 with sides of at least `smallest_side`; halves and quarters are drawn too."""
    corner = st.floats(low, high, width=32)
    side = st.floats(smallest_side, largest_side, width=32)
    box = st.tuples(corner, corner, side, side).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))
    return st.lists(box, min_size=1, max_size=6).map(lambda boxes: np.array(boxes, np.float32))


# --- recorded from torchvision


def test_iou_equals_torchvision(golden):
    kept = golden("boxes")
    iou = box_ops.pairwise_iou(kept["iou/first"], kept["iou/second"])
    np.testing.assert_allclose(iou, kept["iou/iou"], atol=1e-6)


def test_clip_equals_torchvision(golden):
    kept = golden("boxes")
    clipped = box_ops.clip(tf.constant(kept["iou/first"]), [211, 333])
    np.testing.assert_array_equal(clipped, kept["clip/clipped"])


@pytest.mark.parametrize("coder", WEIGHTS)
def test_encode_equals_torchvision(golden, coder):
    kept = golden("boxes")
    deltas = box_ops.encode(kept["coding/truth"], kept["coding/references"], WEIGHTS[coder])
    np.testing.assert_allclose(deltas, kept[f"coding/{coder}/encoded"], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("coder", WEIGHTS)
def test_decode_equals_torchvision_also_past_the_clamp(golden, coder):
    kept = golden("boxes")
    boxes = box_ops.decode(kept[f"coding/{coder}/deltas"], kept["coding/references"], WEIGHTS[coder])
    np.testing.assert_allclose(boxes, kept[f"coding/{coder}/decoded"], rtol=1e-5, atol=1e-3)


# --- not other conventions


def test_encoding_has_no_plus_one():
    # By hand: dx = 10 * (80 - 60) / 100 = 2; dy = 10 * (130 - 120) / 200 = .5; dw = 0; dh = 5 ln 1.2.
    # Detectron's pixel-inclusive convention would give 1.980198, .497512, 0, .907460.
    deltas = box_ops.encode(
        tf.constant([30.0, 10.0, 130.0, 250.0]), tf.constant([10.0, 20.0, 110.0, 220.0]), WEIGHTS["roi"]
    )
    np.testing.assert_allclose(deltas, [2.0, 0.5, 0.0, 0.911608], atol=1e-5)


def test_growth_is_clamped_at_1000_over_16():
    # By hand: width exp(min(50, ln 62.5)) * 16 = 1000 about x = 8; numbers as in torchvision.
    box = box_ops.decode(tf.constant([0.0, 0.0, 50.0, 20.0]), tf.constant([0.0, 0.0, 16.0, 16.0]))
    np.testing.assert_allclose(box[0::2], [-492.0, 508.0], atol=1e-2)
    clamped = box_ops.decode(tf.constant([0.0, 0.0, 50.0, 20.0 / 5]), tf.constant([0.0, 0.0, 16.0, 16.0]))
    # dh = 4 < ln 62.5: 16 e^4 = 873.570 about y = 8.
    np.testing.assert_allclose(clamped[1::2], [-428.785, 444.785], atol=1e-2)


def test_clamp_acts_after_the_weights():
    box = box_ops.decode(
        tf.constant([0.0, 0.0, 50.0, 20.0]), tf.constant([0.0, 0.0, 16.0, 16.0]), WEIGHTS["roi"]
    )
    # dw = 50 / 5 is clamped, dh = 20 / 5 = 4 is not.
    np.testing.assert_allclose(box, [-492.0, -428.785, 508.0, 444.785], atol=1e-2)


# --- small cases by hand


def test_iou_by_hand():
    first = [[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 0.0, 0.0]]
    second = [[0.0, 0.0, 10.0, 5.0], [5.0, 5.0, 15.0, 15.0], [10.0, 0.0, 20.0, 10.0], [0.0, 0.0, 0.0, 0.0]]
    iou = box_ops.pairwise_iou(tf.constant(first), tf.constant(second))
    np.testing.assert_allclose(iou, [[0.5, 25 / 175, 0.0, 0.0], [0.0] * 4], atol=1e-7)


def test_overlap_with_a_region_is_a_share_of_the_box():
    boxes = tf.constant([[0.0, 0.0, 10.0, 10.0], [2.0, 2.0, 4.0, 4.0], [3.0, 3.0, 3.0, 9.0]])
    share = box_ops.pairwise_ioa(boxes, tf.constant([[0.0, 0.0, 5.0, 100.0]]))
    np.testing.assert_allclose(share[:, 0], [0.5, 1.0, 0.0], atol=1e-7)


def test_a_box_turned_inside_out_has_no_area():
    assert box_ops.area(tf.constant([[10.0, 10.0, 5.0, 5.0]]))[0] == 0.0


def test_one_pixel_boxes():
    one = tf.constant([[7.0, 8.0, 8.0, 9.0]])
    assert box_ops.area(one)[0] == 1.0
    assert box_ops.pairwise_iou(one, one)[0, 0] == 1.0
    np.testing.assert_array_equal(box_ops.encode(one, one), np.zeros((1, 4)))
    np.testing.assert_array_equal(box_ops.decode(tf.zeros([1, 4]), one), one)


def test_leading_axes_and_no_boxes():
    none = tf.zeros([3, 0, 4])
    some = tf.random.stateless_uniform([3, 5, 4], [1, 2])
    assert box_ops.pairwise_iou(none, some).shape == (3, 0, 5)
    assert box_ops.pairwise_iou(some, none).shape == (3, 5, 0)
    assert box_ops.clip(none, tf.constant([[4, 5], [6, 7], [8, 9]])).shape == (3, 0, 4)
    batched = box_ops.pairwise_iou(some, some[:, :2])
    np.testing.assert_array_equal(batched[1], box_ops.pairwise_iou(some[1], some[1, :2]))


def test_clip_uses_each_image_its_own_size():
    boxes = tf.constant([[[-5.0, -5.0, 500.0, 500.0]], [[-5.0, -5.0, 500.0, 500.0]]])
    clipped = box_ops.clip(boxes, tf.constant([[100, 200], [300, 50]]))
    np.testing.assert_array_equal(clipped[:, 0], [[0, 0, 200, 100], [0, 0, 50, 300]])


def test_gradients_are_finite_at_the_clamp_and_for_boxes_without_overlap():
    deltas = tf.constant([[0.0, 0.0, 500.0, -500.0], [1.0, 1.0, math.log(62.5), 0.0]])
    references = tf.constant([[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]])
    far = tf.constant([[50.0, 50.0, 60.0, 60.0], [0.0, 0.0, 0.0, 0.0]])
    with tf.GradientTape() as tape:
        tape.watch([deltas, far])
        value = tf.reduce_sum(box_ops.decode(deltas, references)) + tf.reduce_sum(
            box_ops.pairwise_iou(far, far)
        )
    for gradient in tape.gradient(value, [deltas, far]):
        assert np.isfinite(gradient).all()


# --- laws


@given(box_lists(smallest_side=1.0), st.sampled_from(list(WEIGHTS.values())), st.data())
def test_decode_undoes_encode(references, weights, data):
    shift = data.draw(arrays(np.float32, references.shape, elements=st.floats(-0.375, 0.375, width=32)))
    sides = np.tile(references[:, 2:] - references[:, :2], 2)
    boxes = references + shift * sides  # sides at least a quarter of the reference's, at most 1.75 times
    back = box_ops.decode(box_ops.encode(boxes, references, weights), references, weights)
    np.testing.assert_allclose(back, boxes, rtol=1e-4, atol=2e-2)


@given(box_lists(smallest_side=1.0))
def test_encoding_a_box_by_itself_gives_zero(boxes):
    np.testing.assert_allclose(box_ops.encode(boxes, boxes), np.zeros_like(boxes), atol=1e-6)


@given(box_lists(), box_lists())
def test_iou_is_symmetric_and_between_0_and_1(first, second):
    iou = box_ops.pairwise_iou(first, second).numpy()
    np.testing.assert_allclose(iou, box_ops.pairwise_iou(second, first).numpy().T, atol=1e-6)
    assert ((iou >= 0) & (iou <= 1 + 1e-6)).all()


@given(box_lists(smallest_side=1.0))
def test_iou_of_a_box_with_itself_is_1(boxes):
    np.testing.assert_allclose(np.diag(box_ops.pairwise_iou(boxes, boxes)), 1.0, atol=1e-5)


@given(box_lists(), box_lists())
def test_overlap_share_bounds_the_iou(first, second):
    iou = box_ops.pairwise_iou(first, second).numpy()
    share = box_ops.pairwise_ioa(first, second).numpy()
    assert ((share >= 0) & (share <= 1 + 1e-5)).all()
    assert (iou <= share + 1e-5).all()


@given(box_lists(), st.integers(1, 900), st.integers(1, 1400))
def test_clipped_boxes_lie_inside_and_clipping_twice_changes_nothing(boxes, height, width):
    clipped = box_ops.clip(tf.constant(boxes), [height, width]).numpy()
    assert (clipped >= 0).all() and (clipped[:, 0::2] <= width).all() and (clipped[:, 1::2] <= height).all()
    assert (clipped[:, 2:] >= clipped[:, :2]).all()
    np.testing.assert_array_equal(box_ops.clip(tf.constant(clipped), [height, width]), clipped)
    assert (box_ops.area(clipped).numpy() <= box_ops.area(boxes).numpy() * (1 + 1e-5) + 1e-3).all()


@given(arrays(np.float32, (5, 4), elements=st.floats(-1e3, 1e3, width=32)))
def test_area_is_never_negative(boxes):
    assert (box_ops.area(boxes).numpy() >= 0).all()


@given(box_lists(smallest_side=1.0), st.integers(400, 1400))
def test_flipping_commutes_with_encoding(boxes, width):
    """Mirrored boxes on mirrored references have the same deltas with dx negated."""

    def mirrored(b):
        return np.stack([width - b[:, 2], b[:, 1], width - b[:, 0], b[:, 3]], 1)

    references = np.roll(boxes, 1, axis=0)
    deltas = box_ops.encode(boxes, references).numpy()
    flipped = box_ops.encode(mirrored(boxes), mirrored(references)).numpy()
    np.testing.assert_allclose(
        flipped, deltas * [-1, 1, 1, 1], rtol=1e-3, atol=3e-3 * max(1.0, np.abs(deltas).max())
    )
