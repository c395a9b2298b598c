"""Suppression within groups against torchvision (golden/make_boxes.py) and by hand."""

import numpy as np
import pytest
import tensorflow as tf

from keras_fpn.ops.nms import best, nms_mask


def kept_by(boxes, scores, groups, threshold, most=None, score_threshold=float("-inf")):
    """Indices of what survives in its group, best first; a group's row holds minus infinity for other groups.

    The groups are classes of one image, then images of one class.
    """
    boxes, scores = np.asarray(boxes, np.float32).reshape(-1, 4), np.asarray(scores, np.float32)
    most = len(boxes) if most is None else most
    of_group = np.asarray(groups) == np.arange(max(groups, default=0) + 1)[:, None]
    row_scores = np.where(of_group, scores, -np.inf).astype(np.float32)
    rows = np.broadcast_to(boxes, (len(of_group), *boxes.shape))
    kept = nms_mask(tf.constant(boxes[None]), tf.constant(row_scores[None]), threshold, most, score_threshold)[0]
    assert kept.dtype == tf.bool and kept.shape == row_scores.shape
    apart = nms_mask(tf.constant(rows), tf.constant(row_scores[:, None]), threshold, most, score_threshold)[:, 0]
    np.testing.assert_array_equal(kept, apart)
    masked = np.where(kept.numpy().any(0), scores, -np.inf).astype(np.float32)
    _, _, indices, count = best(tf.constant(boxes[None]), tf.constant(masked[None]), most)
    return indices[0, : int(count[0])].numpy().tolist()


@pytest.mark.parametrize("threshold", (0.3, 0.5, 0.7))
def test_equals_torchvision(golden, threshold):
    kept = golden("boxes").under("nms")
    one = kept_by(kept["boxes"], kept["scores"], np.zeros(300), threshold)
    np.testing.assert_array_equal(one, kept[f"one_group/{threshold}"])
    several = kept_by(kept["boxes"], kept["scores"], kept["groups"], threshold)
    np.testing.assert_array_equal(several, kept[f"groups/{threshold}"])
    assert len(one) < len(several) < 300


def test_suppression_is_strict():
    # IoU exactly .5: a threshold of .5 keeps both, .4999 one, as in torchvision.
    boxes = [[0, 0, 10, 10], [0, 0, 10, 5]]
    assert kept_by(boxes, [0.9, 0.8], [0, 0], 0.5) == [0, 1]
    assert kept_by(boxes, [0.9, 0.8], [0, 0], 0.4999) == [0]


def test_levels_do_not_suppress_each_other():
    boxes = [[0, 0, 10, 10], [0, 0, 10, 10]]
    assert kept_by(boxes, [0.8, 0.9], [0, 1], 0.7) == [1, 0]
    assert kept_by(boxes, [0.8, 0.9], [1, 1], 0.7) == [1]


def test_pixels_are_not_clipped_to_the_unit_square():
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


def test_boxes_of_different_groups_never_meet_wherever_they_lie():
    # Moving groups apart carelessly (by max instead of max - min) lets group 0 at x > 0 meet group 1 at x < 0.
    boxes = [[90, 0, 100, 10], [-11, -101, -1, -91], [-11, -101, -1, -91]]
    assert sorted(kept_by(boxes, [0.9, 0.8, 0.7], [0, 1, 2], 0.3)) == [0, 1, 2]


@pytest.mark.parametrize(("shift", "kept"), [(3413 / 1024, [0]), (3414 / 1024, [0, 1])])
def test_the_last_of_eighty_groups_is_as_exact_as_the_first(shift, kept):
    # Squares of 10 px, IoU (10 - s) / (10 + s) = .50004 and .49993: in float32 at 79 image widths from the origin,
    # where a common pass would move them, coordinates are multiples of 1/128 px and the first pair falls to .4998.
    boxes = [[1300, 700, 1310, 710], [1300 + shift, 700, 1310 + shift, 710]]
    assert kept_by(boxes, [0.9, 0.8], [79, 79], 0.5) == kept
    assert kept_by(boxes, [0.9, 0.8], [0, 0], 0.5) == kept


def test_groups_without_a_candidate_stay_empty():
    boxes = [[0, 0, 10, 10]] * 4
    assert kept_by(boxes, [0.9, 0.02, 0.8, 0.7], [0, 1, 2, 2], 0.5, score_threshold=0.05) == [0, 2]
    assert kept_by(boxes, [0.01, 0.02, 0.03, 0.04], [0, 1, 2, 2], 0.5, score_threshold=0.05) == []


def test_graph_and_eager_agree(golden):
    kept = golden("boxes").under("nms")
    arguments = tf.constant(kept["boxes"][None]), tf.constant(kept["scores"][None, None])
    eager = nms_mask(*arguments, 0.5, 50)
    graph = tf.function(lambda *a: nms_mask(*a, 0.5, 50))(*arguments)
    np.testing.assert_array_equal(eager, graph)
    assert eager.numpy().sum() == 50


def test_the_best_are_in_order_and_padded():
    boxes = tf.constant([[[0.0, 0, 1, 1], [0, 0, 2, 2], [0, 0, 3, 3]], [[0, 0, 4, 4], [0, 0, 5, 5], [0, 0, 6, 6]]])
    scores = tf.constant([[0.1, float("-inf"), 0.9], [0.5, 0.5, 0.5]])
    top_boxes, top_scores, indices, counts = best(boxes, scores, 2)
    np.testing.assert_array_equal(top_boxes[..., 2], [[3, 1], [4, 5]])
    np.testing.assert_allclose(top_scores, [[0.9, 0.1], [0.5, 0.5]])
    np.testing.assert_array_equal(indices, [[2, 0], [0, 1]])
    top_boxes, top_scores, _, counts = best(boxes, scores, 4)
    np.testing.assert_array_equal(counts, [2, 3])
    np.testing.assert_array_equal(top_boxes[..., 2], [[3, 1, 0, 0], [4, 5, 6, 0]])
    assert top_scores[0, 2] == top_scores[0, 3] == top_scores[1, 3] == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_box_that_is_not_finite_never_comes_out_and_spoils_no_other(value):
    boxes = np.array([[0, 0, 10, 10], [0, 0, value, 10], [0, 0, 10, 9], [0, 0, 10, 10]], np.float32)
    assert kept_by(boxes, [4.0, 3.0, 2.0, 1.0], [0, 0, 0, 1], 0.5) == [0, 3]
