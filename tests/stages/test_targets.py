"""Matching against torchvision (golden/make_targets.py), sampling, and the targets of both stages."""

import numpy as np
import pytest
import tensorflow as tf

from keras_fpn.ops import boxes as box_ops
from keras_fpn.stages.targets import anchor_targets, match, roi_targets, sample

SETTINGS = {
    "anchors": (0.7, 0.3, True),
    "rois": (0.5, 0.5, False),
    "anchors_without_low_quality": (0.7, 0.3, False),
}
WEIGHTS = [10.0, 10.0, 5.0, 5.0]


# --- matching


@pytest.mark.parametrize("name", SETTINGS)
def test_match_equals_torchvision(golden, name):
    kept = golden("targets")
    valid = tf.ones(len(kept["truth"]), tf.bool)
    matched, labels = match(tf.constant(kept["boxes"]), tf.constant(kept["truth"]), valid, *SETTINGS[name])
    np.testing.assert_array_equal(labels, kept[f"{name}/labels"])
    positive = kept[f"{name}/labels"] == 1
    np.testing.assert_array_equal(matched.numpy()[positive], kept[f"{name}/matched"][positive])


@pytest.mark.parametrize("name", SETTINGS)
def test_match_of_padded_truth_and_of_many_tiles_is_the_same(golden, name):
    kept = golden("targets")
    ground_truth = np.zeros((75, 4), np.float32)
    places = np.array([3, 17, 31, 40, 74])  # in different tiles, garbage between them
    ground_truth[:] = [0, 0, 300, 300]
    ground_truth[places] = kept["truth"]
    valid = np.isin(np.arange(75), places)
    matched, labels = match(
        tf.constant(kept["boxes"]), tf.constant(ground_truth), tf.constant(valid), *SETTINGS[name]
    )
    np.testing.assert_array_equal(labels, kept[f"{name}/labels"])
    positive = kept[f"{name}/labels"] == 1
    np.testing.assert_array_equal(matched.numpy()[positive], places[kept[f"{name}/matched"]][positive])


@pytest.fixture
def match_iou(monkeypatch):
    """`match_iou(iou, ...)`: `match` of N boxes and G truths of which only the IoUs `[N, G]` are given."""

    def call(iou, *settings):
        number, count = iou.shape

        def overlaps(ground_truth, boxes):
            return tf.pad(tf.transpose(iou), [[0, len(ground_truth) - count], [0, 0]])  # the ground truth comes padded

        monkeypatch.setattr(box_ops, "pairwise_iou", overlaps)
        return match(tf.zeros([number, 4]), tf.zeros([count, 4]), tf.ones(count, tf.bool), *settings)

    return call


def test_ties_are_forced_and_keep_their_own_truth(match_iou):
    # torchvision's Matcher(.7, .3) gives [-1, 0, 1, -1]; the third anchor is the best of the second ground truth
    # and ties for the first.
    iou = tf.constant([[0.25, 0.6, 0.6, 0.1], [0.29, 0.2, 0.65, 0.05]])
    matched, labels = match_iou(tf.transpose(iou), 0.7, 0.3, True)
    np.testing.assert_array_equal(
        np.where(labels == 1, matched, np.where(labels == 0, -1, -2)), [-1, 0, 1, -1]
    )


def test_forced_wins_over_negative(match_iou):
    # tensorpack would leave this one negative: its best IoU is below .3.
    matched, labels = match_iou(tf.constant([[0.2], [0.1]]), 0.7, 0.3, True)
    np.testing.assert_array_equal(labels, [1, 0])
    np.testing.assert_array_equal(matched, [0, 0])


def test_a_truth_that_overlaps_nothing_forces_nothing(match_iou):
    # detectron2 and torchvision would make all four anchors positive here: [1, 1, 0, 0] of ground truth 0.
    iou = tf.constant([[0.0, 0.0, 0.0, 0.0], [0.8, 0.1, 0.0, 0.0]])
    matched, labels = match_iou(tf.transpose(iou), 0.7, 0.3, True)
    np.testing.assert_array_equal(labels, [1, 0, 0, 0])
    assert matched[0] == 1


def test_thresholds_are_inclusive_above_and_exclusive_below(match_iou):
    # .5 and .25 are exact in float32.
    _, labels = match_iou(tf.constant([[0.5], [0.25], [0.2499]]), 0.5, 0.25, False)
    np.testing.assert_array_equal(labels, [1, -1, 0])


@pytest.mark.parametrize("count", (0, 3))
def test_without_truth_everything_is_negative(count):
    boxes = tf.constant([[0.0, 0.0, 5.0, 5.0], [1.0, 1.0, 2.0, 2.0]])
    matched, labels = match(boxes, tf.zeros([count, 4]), tf.zeros([count], tf.bool), 0.7, 0.3, True)
    np.testing.assert_array_equal(labels, [0, 0])
    np.testing.assert_array_equal(matched, [0, 0])


def test_no_boxes_to_match():
    matched, labels = match(tf.zeros([0, 4]), tf.ones([2, 4]), tf.ones([2], tf.bool), 0.5, 0.5, False)
    assert matched.shape == labels.shape == (0,)


def test_one_pixel_truth_is_matched():
    ground_truth = tf.constant([[10.0, 10.0, 11.0, 11.0]])
    boxes = tf.constant([[10.0, 10.0, 11.0, 11.0], [8.0, 8.0, 16.0, 16.0], [50.0, 50.0, 60.0, 60.0]])
    _, labels = match(boxes, ground_truth, tf.constant([True]), 0.7, 0.3, True)
    np.testing.assert_array_equal(labels, [1, 0, 0])


def test_matching_an_800_px_image_in_a_graph_needs_little_memory():
    """100,000 anchors and 500 truths: the whole matrix would be 200 MB, and several of them."""
    import resource

    anchors = tf.random.stateless_uniform([100_000, 2], [1, 2], maxval=1300)
    anchors = tf.concat([anchors, anchors + 32], 1)
    ground_truth = tf.random.stateless_uniform([500, 2], [3, 4], maxval=1300)
    ground_truth = tf.concat([ground_truth, ground_truth + 40], 1)
    graph = tf.function(lambda a, t: match(a, t, tf.ones([500], tf.bool), 0.7, 0.3, True))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    _, labels = graph(anchors, ground_truth)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before  # kB
    assert int(tf.reduce_sum(tf.cast(labels == 1, tf.int32))) >= 500
    assert grown < 250_000


# --- sampling


def draw(labels, count, fraction, seed=(1, 2)):
    indices, positive, valid = sample(tf.constant(labels, tf.int32), count, fraction, tf.constant(seed))
    assert indices.shape == positive.shape == valid.shape == (count,)
    return indices.numpy(), positive.numpy(), valid.numpy()


@pytest.mark.parametrize(
    ("positives", "negatives", "expected"),
    [
        (100, 1000, (8, 8)),
        (3, 1000, (3, 13)),  # negatives fill up
        (100, 4, (8, 4)),  # positives do not: never more than their share
        (0, 1000, (0, 16)),
        (100, 0, (8, 0)),
        (0, 0, (0, 0)),
    ],
)
def test_sampling_is_balanced(positives, negatives, expected):
    labels = np.random.default_rng(0).permutation([1] * positives + [0] * negatives + [-1] * 50)
    indices, positive, valid = draw(labels, 16, 0.5)
    assert (positive.sum(), valid.sum() - positive.sum()) == expected
    assert (labels[indices[positive]] == 1).all()
    assert (labels[indices[valid & ~positive]] == 0).all()
    assert len(set(indices[valid])) == valid.sum()  # without replacement
    assert not (positive & ~valid).any()
    assert (np.diff(valid.astype(int)) <= 0).all()  # the invalid ones are at the end


def test_sampling_a_quarter_of_512():
    labels = np.array([1] * 600 + [0] * 600)
    _, positive, valid = draw(labels, 512, 0.25)
    assert positive.sum() == 128 and valid.sum() == 512


def test_sampling_no_boxes():
    _, _, valid = draw(np.zeros([0]), 8, 0.5)
    assert not valid.any()


def test_sampling_repeats_with_its_seed_and_only_then():
    labels = np.array([1] * 200 + [0] * 500)
    np.testing.assert_array_equal(draw(labels, 32, 0.5)[0], draw(labels, 32, 0.5)[0])
    assert (draw(labels, 32, 0.5)[0] != draw(labels, 32, 0.5, seed=(1, 3))[0]).any()


def test_sampling_is_uniform():
    labels = np.array([1] * 10 + [0] * 30)
    seen = np.zeros(40)
    for seed in range(200):
        indices, _, valid = draw(labels, 8, 0.5, seed=(seed, 7))
        seen[indices[valid]] += 1
    # 4 of 10 and 4 of 30 in each of 200 draws; four standard deviations.
    assert (abs(seen[:10] - 80) < 28).all()
    assert (abs(seen[10:] - 26.7) < 20).all()


# --- what the two stages are told


def ground_truth_of(boxes, classes, crowd=None):
    ground_truth = {"boxes": tf.constant(boxes, tf.float32), "classes": tf.constant(classes, tf.int32)}
    if crowd is not None:
        ground_truth["is_crowd"] = tf.constant(crowd, tf.int32)
    return ground_truth


def grid_anchors():
    corner = np.stack(np.meshgrid(np.arange(0, 96, 8), np.arange(0, 96, 8)), -1).reshape(-1, 2)
    return tf.constant(np.concatenate([corner, corner + 16], 1), tf.float32)


def anchors_told(ground_truth, **changes):
    settings = {
        "positive_iou": 0.7,
        "negative_iou": 0.3,
        "low_quality_matches": True,
        "samples_per_image": 32,
        "positive_fraction": 0.5,
        "crowd_ioa": 0.7,
        "box_weights": [1.0] * 4,
    }
    return anchor_targets(grid_anchors(), ground_truth, tf.constant([5, 6]), **settings | changes)


def rois_told(proposals, ground_truth, **changes):
    settings = {
        "num_classes": 3,
        "positive_iou": 0.5,
        "samples_per_image": 16,
        "positive_fraction": 0.25,
        "add_ground_truth": True,
        "crowd_ioa": 0.7,
        "box_weights": WEIGHTS,
    }
    if not isinstance(proposals, dict):
        count = [len(boxes) for boxes in proposals]
        proposals = {"boxes": tf.constant(proposals, tf.float32), "num_proposals": tf.constant(count)}
    return roi_targets(proposals, ground_truth, tf.constant([5, 6]), **settings | changes)


def test_anchor_targets_lead_positives_to_their_object():
    boxes = [[[8, 8, 25, 24], [0, 0, 0, 0]], [[40, 40, 56, 60], [64, 8, 90, 24]]]
    ground_truth = ground_truth_of(boxes, [[1, -1], [0, 2]])
    told = anchors_told(ground_truth)
    for image, objects in enumerate(([0], [0, 1])):
        positive = told["is_positive"][image].numpy()
        assert positive.sum() >= len(objects)
        references = tf.gather(grid_anchors(), told["indices"][image][positive])
        reached = box_ops.decode(told["deltas"][image][positive], references).numpy()
        boxes = ground_truth["boxes"][image].numpy()[objects]
        distance = np.abs(reached[:, None] - boxes[None]).max(-1)
        assert (distance.min(1) < 1e-3).all() and (distance.min(0) < 1e-3).all()


def test_anchor_targets_of_an_image_without_objects_are_all_negative():
    for ground_truth in (
        ground_truth_of(np.zeros((2, 1, 4)), [[-1], [-1]]),
        ground_truth_of(np.zeros((2, 0, 4)), np.zeros((2, 0))),
    ):
        told = anchors_told(ground_truth)
        assert not told["is_positive"].numpy().any()
        assert told["is_valid"].numpy().all()


def test_anchors_inside_a_crowd_region_are_ignored():
    plain = ground_truth_of([[[0, 0, 96, 96]]], [[0]], [[0]])
    crowd = ground_truth_of([[[0, 0, 112, 112]]], [[0]], [[1]])
    assert anchors_told(plain)["is_valid"].numpy().any()
    assert not anchors_told(crowd)["is_valid"].numpy().any()  # every anchor lies inside: nothing is negative


def test_roi_targets_by_hand():
    ground_truth = ground_truth_of([[[10, 10, 30, 30], [50, 50, 90, 80]]], [[2, 0]])
    proposals = [[[10, 10, 30, 20.5], [11, 11, 31, 31], [60, 5, 80, 25], [52, 50, 90, 80]]]
    told = rois_told(proposals, ground_truth)
    boxes, classes, valid = (told[name][0].numpy() for name in ("boxes", "classes", "is_valid"))
    assert valid.sum() == 5  # at most 4 of 16 are objects, and there is one background box
    assert (classes[valid] == 3).sum() == 1 and (boxes[valid][classes[valid] == 3] == [60, 5, 80, 25]).all()
    foreground = valid & (classes < 3)
    back = box_ops.decode(told["deltas"][0], told["boxes"][0], WEIGHTS).numpy()[foreground]
    expected = {2: [10, 10, 30, 30], 0: [50, 50, 90, 80]}
    for box, cls in zip(back, classes[foreground], strict=True):
        np.testing.assert_allclose(box, expected[cls], atol=1e-3)


def test_ground_truth_is_added_to_the_proposals_unless_told_not_to():
    ground_truth = ground_truth_of([[[10, 10, 30, 30]]], [[1]])
    far = [[[60, 60, 80, 80]]]
    with_ground_truth, without = rois_told(far, ground_truth), rois_told(far, ground_truth, add_ground_truth=False)
    assert (with_ground_truth["classes"][0].numpy()[with_ground_truth["is_valid"][0]] == 1).sum() == 1
    assert (without["classes"][0].numpy()[without["is_valid"][0]] == 3).all()


def test_padding_of_proposals_is_never_sampled():
    ground_truth = ground_truth_of([[[0, 0, 0, 0]]], [[-1]])
    proposals = {"boxes": tf.zeros([1, 6, 4]), "num_proposals": tf.constant([2])}
    told = rois_told(proposals, ground_truth, samples_per_image=8)
    assert told["is_valid"].numpy().sum() == 2


def test_no_proposals_and_no_objects_at_all():
    proposals = {"boxes": tf.zeros([2, 4, 4]), "num_proposals": tf.constant([0, 0])}
    told = rois_told(proposals, ground_truth_of(np.zeros((2, 0, 4)), np.zeros((2, 0))))
    assert not told["is_valid"].numpy().any()
    assert told["boxes"].shape == (2, 16, 4)
    assert np.isfinite(told["boxes"]).all()


def test_crowds_are_neither_object_nor_background():
    ground_truth = ground_truth_of([[[0, 0, 50, 50], [60, 60, 80, 80]]], [[1, 1]], [[1, 0]])
    told = rois_told([[[5, 5, 20, 20], [0, 0, 50, 50], [60, 60, 80, 79], [70, 5, 85, 20]]], ground_truth)
    boxes = told["boxes"][0].numpy()[told["is_valid"][0]]
    classes = told["classes"][0].numpy()[told["is_valid"][0]]
    kept = {tuple(box): cls for box, cls in zip(boxes.tolist(), classes, strict=True)}
    assert kept == {(60, 60, 80, 79): 1, (60, 60, 80, 80): 1, (70, 5, 85, 20): 3}


def test_a_crowd_among_many_truths_is_found():
    boxes, classes, crowd = np.zeros((1, 40, 4)), np.full((1, 40), -1), np.zeros((1, 40))
    boxes[0, 37], classes[0, 37], crowd[0, 37] = [0, 0, 112, 112], 0, 1
    assert not anchors_told(ground_truth_of(boxes, classes, crowd))["is_valid"].numpy().any()


@pytest.mark.parametrize(
    "dtypes", [(np.float64, np.int64, bool), (np.int32, np.int8, np.uint8), (np.float16, np.float32, np.float32)]
)
def test_targets_of_other_dtypes_are_the_same(dtypes):
    crowd = np.array([[1, 0, 0]])
    values = np.array([[[0, 0, 50, 50], [60, 60, 80, 80], [8, 64, 40, 90]]]), np.array([[1, 2, -1]]), crowd
    as_given = dict(zip(("boxes", "classes", "is_crowd"), map(np.ndarray.astype, values, dtypes), strict=True))
    plain = ground_truth_of(*values)
    proposals = [[[5, 5, 20, 20], [60, 60, 80, 79], [70, 5, 85, 20]]]
    for expected, got in (
        (anchors_told(plain), anchors_told(as_given)),
        (rois_told(proposals, plain), rois_told(proposals, as_given)),
    ):
        for name in expected:
            np.testing.assert_array_equal(expected[name], got[name])


def test_images_of_a_batch_draw_different_samples():
    same = ground_truth_of([[[8, 8, 24, 24]]] * 2, [[1]] * 2)
    told = anchors_told(same)
    assert (told["indices"][0].numpy() != told["indices"][1].numpy()).any()


def test_eager_and_graph_targets_agree():
    ground_truth = ground_truth_of([[[8, 8, 25, 24]]], [[1]])
    eager, graph = anchors_told(ground_truth), tf.function(lambda: anchors_told(ground_truth))()
    for name in eager:
        np.testing.assert_array_equal(eager[name], graph[name])
