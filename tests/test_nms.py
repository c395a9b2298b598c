"""Suppression within groups against torchvision (golden/make_boxes.py) and by hand."""

import numpy as np
import pytest
import tensorflow as tf

from keras_fpn.nms import batched_nms


def kept_by(boxes, scores, groups, threshold, most=None, **kwargs):
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    most = len(boxes) if most is None else most
    indices, count = batched_nms(
        tf.constant(boxes),
        tf.constant(scores, tf.float32),
        tf.constant(groups, tf.int32),
        threshold,
        most,
        **kwargs,
    )
    assert indices.shape == (most,) and indices.dtype == tf.int32
    assert (indices.numpy()[int(count) :] == 0).all()
    return indices.numpy()[: int(count)].tolist()


@pytest.mark.parametrize("threshold", (0.3, 0.5, 0.7))
def test_equals_torchvision(golden, threshold):
    kept = golden("boxes").under("nms")
    one = kept_by(kept["boxes"], kept["scores"], np.zeros(300), threshold)
    np.testing.assert_array_equal(one, kept[f"one_group/{threshold}"])
    several = kept_by(kept["boxes"], kept["scores"], kept["groups"], threshold)
    np.testing.assert_array_equal(several, kept[f"groups/{threshold}"])
    assert len(one) < len(several) < 300


def test_trap_18_suppression_is_strict():
    # IoU exactly .5: a threshold of .5 keeps both, .4999 one, as in torchvision.
    boxes = [[0, 0, 10, 10], [0, 0, 10, 5]]
    assert kept_by(boxes, [0.9, 0.8], [0, 0], 0.5) == [0, 1]
    assert kept_by(boxes, [0.9, 0.8], [0, 0], 0.4999) == [0]


def test_trap_18_levels_do_not_suppress_each_other():
    boxes = [[0, 0, 10, 10], [0, 0, 10, 10]]
    assert kept_by(boxes, [0.8, 0.9], [0, 1], 0.7) == [1, 0]
    assert kept_by(boxes, [0.8, 0.9], [1, 1], 0.7) == [1]


def test_trap_18_pixels_are_not_clipped_to_the_unit_square():
    # What combined_non_max_suppression does by default would make these two one.
    assert kept_by([[0, 0, 100, 100], [200, 200, 300, 300]], [0.9, 0.8], [0, 0], 0.5) == [0, 1]


def test_equal_scores_keep_the_lower_index_first():
    boxes = [[0, 0, 5, 5], [20, 20, 25, 25], [40, 40, 45, 45]]
    assert kept_by(boxes, [0.5, 0.5, 0.5], [0, 0, 0], 0.5) == [0, 1, 2]


def test_score_threshold_is_strict_and_minus_infinity_never_comes_out():
    boxes = [[0, 0, 5, 5], [20, 20, 25, 25], [40, 40, 45, 45]]
    assert kept_by(boxes, [0.05, 0.06, -np.inf], [0, 0, 0], 0.5, score_threshold=0.05) == [1]
    assert kept_by(boxes, [-3.0, -7.0, -np.inf], [0, 0, 0], 0.5) == [0, 1]


def test_not_a_number_scores_never_come_out():
    assert kept_by([[0, 0, 5, 5], [20, 20, 25, 25]], [np.nan, 0.5], [0, 0], 0.5) == [1]


def test_best_first_and_at_most_max_outputs():
    boxes = [[i * 20, 0, i * 20 + 5, 5] for i in range(6)]
    assert kept_by(boxes, [0.1, 0.6, 0.3, 0.5, 0.2, 0.4], [0] * 6, 0.5, most=3) == [1, 3, 5]
    assert kept_by(boxes[:2], [0.1, 0.6], [0, 3], 0.5, most=5) == [1, 0]


def test_no_boxes():
    assert kept_by(np.zeros((0, 4)), [], [], 0.5, most=4) == []


def test_all_boxes_the_same_point():
    assert kept_by(np.zeros((3, 4)), [0.3, 0.2, 0.1], [0, 0, 0], 0.5)[0] == 0


def test_negative_and_distant_coordinates_stay_in_their_group():
    # A careless offset (max instead of max - min) lets group 0 at x > 0 meet group 1 at x < 0.
    boxes = [[90, 0, 100, 10], [-11, -101, -1, -91], [-11, -101, -1, -91]]
    assert sorted(kept_by(boxes, [0.9, 0.8, 0.7], [0, 1, 2], 0.3)) == [0, 1, 2]


def test_many_classes_cost_no_precision_that_matters():
    """80 classes of a 1333 px image: the IoU of small boxes must survive the offset (0.5 px in 8 matters)."""
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 1300, (40, 2))
    boxes = np.repeat(np.concatenate([corner, corner + 8], 1), 2, axis=0)
    boxes[1::2, 0::2] += 2.2  # IoU (8 - 2.2) / (8 + 2.2) = .5686
    scores = np.linspace(1, 0.5, 80)
    assert len(kept_by(boxes, scores, np.full(80, 79), 0.55)) == 40
    assert len(kept_by(boxes, scores, np.full(80, 79), 0.59)) == 80


def test_graph_and_eager_agree(golden):
    kept = golden("boxes").under("nms")
    arguments = tf.constant(kept["boxes"]), tf.constant(kept["scores"]), tf.constant(kept["groups"])
    eager = batched_nms(*arguments, 0.5, 50)
    graph = tf.function(lambda *a: batched_nms(*a, 0.5, 50))(*arguments)
    for first, second in zip(eager, graph, strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_box_that_is_not_finite_never_comes_out_and_spoils_no_other(value):
    boxes = np.array([[0, 0, 10, 10], [0, 0, value, 10], [0, 0, 10, 9], [0, 0, 10, 10]], np.float32)
    assert kept_by(boxes, [4.0, 3.0, 2.0, 1.0], [0, 0, 0, 1], 0.5) == [0, 3]
