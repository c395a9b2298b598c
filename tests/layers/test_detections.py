"""The detection layer against torchvision's postprocess_detections (golden/make_detections.py); its edges."""

import numpy as np
import pytest
import tensorflow as tf

from keras_fpn.layers.detections import DetectionLayer

CLASSES = 4


@pytest.fixture
def drawn(golden, draws):
    """(proposals, their number, class logits, deltas, image sizes); padding holds tempting scores."""
    kept = golden("detections")
    counts = [int(count) for count in kept["counts"]]
    most = max(counts)
    boxes = np.full((2, most, 4), [1, 1, 90, 90], np.float32)
    logits = np.full((2, most, CLASSES + 1), -5, np.float32)
    logits[..., 0] = 9
    deltas = np.zeros((2, most, CLASSES, 4), np.float32)
    for image, count in enumerate(counts):
        boxes[image, :count] = kept[f"{image}/proposals"]
        logits[image, :count] = draws.normal(f"detections/{image}/logits", (count, CLASSES + 1), 2.0)
        deltas[image, :count] = draws.normal(f"detections/{image}/deltas", (count, CLASSES, 4), 0.5)
    deltas[0, :5, :, 2] = -60.0
    return tuple(
        map(tf.constant, (boxes, np.array(counts, np.int32), logits, deltas, kept["sizes"].astype(np.int32)))
    )


@pytest.mark.parametrize(("name", "most"), [("all", 100), ("best", 20)])
def test_equals_torchvision(golden, drawn, name, most):
    kept = golden("detections")
    detections = DetectionLayer(CLASSES, max_detections=most, min_size=1e-2)(*drawn)
    assert detections["boxes"].shape == (2, most, 4)
    for image in range(2):
        expected = kept[f"{name}/{image}/boxes"]
        count = int(detections["num_detections"][image])
        assert count == len(expected)
        np.testing.assert_allclose(detections["boxes"][image, :count], expected, atol=2e-3)
        np.testing.assert_allclose(
            detections["scores"][image, :count], kept[f"{name}/{image}/scores"], atol=1e-5
        )
        np.testing.assert_array_equal(detections["classes"][image, :count], kept[f"{name}/{image}/classes"])
        assert not detections["boxes"][image, count:].numpy().any()
        assert not detections["scores"][image, count:].numpy().any()
        assert (detections["classes"][image, count:].numpy() == -1).all()


def test_types_are_those_of_the_contract(drawn):
    detections = DetectionLayer(CLASSES)(*drawn)
    assert {name: value.dtype for name, value in detections.items()} == {
        "boxes": tf.float32,
        "scores": tf.float32,
        "classes": tf.int32,
        "num_detections": tf.int32,
    }


def test_no_proposals_and_nothing_above_the_threshold(drawn):
    boxes, _, logits, deltas, sizes = drawn
    none = DetectionLayer(CLASSES, max_detections=7)(boxes, tf.zeros([2], tf.int32), logits, deltas, sizes)
    background = tf.one_hot(tf.fill(logits.shape[:2], CLASSES), CLASSES + 1) * 30
    unsure = DetectionLayer(CLASSES, max_detections=7)(boxes, tf.fill([2], 35), background, deltas, sizes)
    no_rows = DetectionLayer(CLASSES, max_detections=7)(
        boxes[:, :0], tf.zeros([2], tf.int32), logits[:, :0], deltas[:, :0], sizes
    )
    for detections in (none, unsure, no_rows):
        np.testing.assert_array_equal(detections["num_detections"], [0, 0])
        np.testing.assert_array_equal(detections["classes"], np.full((2, 7), -1))
        assert not detections["boxes"].numpy().any() and not detections["scores"].numpy().any()


def test_every_class_above_the_threshold_is_a_detection_of_its_own():
    logits = tf.math.log(tf.constant([[[0.5, 0.3, 0.04, 0.16]]]))  # the last is the background
    boxes = tf.constant([[[10.0, 10.0, 30.0, 40.0]]])
    detections = DetectionLayer(3, max_detections=5)(
        boxes, tf.constant([1]), logits, tf.zeros([1, 1, 3, 4]), tf.constant([[50, 60]])
    )
    assert int(detections["num_detections"][0]) == 2
    np.testing.assert_array_equal(detections["classes"][0], [0, 1, -1, -1, -1])
    np.testing.assert_allclose(detections["scores"][0, :2], [0.5, 0.3], atol=1e-6)
    np.testing.assert_allclose(detections["boxes"][0, :2], [[10, 10, 30, 40]] * 2, atol=1e-4)


def test_suppression_is_per_class_and_by_the_decoded_boxes():
    logits = tf.math.log(tf.constant([[[0.95, 0.03, 0.02], [0.8, 0.1, 0.1], [0.02, 0.9, 0.08]]]))
    boxes = tf.constant([[[0.0, 0, 20, 20], [1, 0, 21, 20], [0, 0, 20, 20]]])
    arguments = (tf.constant([3]), logits, tf.zeros([1, 3, 2, 4]), tf.constant([[50, 60]]))
    detections = DetectionLayer(2, score_threshold=0.3)(boxes, *arguments)
    np.testing.assert_array_equal(detections["classes"][0, :3], [0, 1, -1])
    # The second's deltas move it 10 px right: x + dx / 10 * 20.
    moved = tf.tensor_scatter_nd_update(arguments[2], [[0, 1, 0, 0]], [5.0])
    detections = DetectionLayer(2, score_threshold=0.3)(boxes, arguments[0], logits, moved, arguments[3])
    np.testing.assert_array_equal(detections["classes"][0, :4], [0, 1, 0, -1])
    np.testing.assert_allclose(detections["boxes"][0, 2], [11, 0, 31, 20], atol=1e-4)


def test_boxes_are_clipped_to_the_valid_part():
    boxes = tf.constant([[[10.0, 10.0, 300.0, 400.0]]])
    logits = tf.constant([[[9.0, 0.0]]])
    detections = DetectionLayer(1)(
        boxes, tf.constant([1]), logits, tf.zeros([1, 1, 1, 4]), tf.constant([[50, 60]])
    )
    np.testing.assert_allclose(detections["boxes"][0, 0], [10, 10, 60, 50], atol=1e-4)


def test_a_zero_threshold_gives_no_padding_rows(drawn):
    detections = DetectionLayer(CLASSES, score_threshold=0.0, max_detections=400, nms_threshold=1.0)(*drawn)
    counts = detections["num_detections"].numpy()
    assert counts[1] <= 35 * CLASSES and (detections["scores"][1, : counts[1]].numpy() > 0).all()


def test_graph_equals_eager(drawn):
    layer = DetectionLayer(CLASSES)
    eager, graph = layer(*drawn), tf.function(layer)(*drawn)
    for name, value in eager.items():
        np.testing.assert_allclose(graph[name], value, atol=1e-3)


@pytest.mark.parametrize(("shift", "kept"), [(3413 / 1024, 1), (3414 / 1024, 2)])
def test_suppression_is_exact_in_the_last_class(shift, kept):
    # Squares of 10 px, IoU (10 - s) / (10 + s) = .50004 and .49993, far from the origin (see test_nms.py).
    boxes = tf.constant([[[1300.0, 700, 1310, 710], [1300 + shift, 700, 1310 + shift, 710]]])
    logits = tf.one_hot([[79, 79]], 81) * [[[9.0], [8.0]]]
    detections = DetectionLayer(80, max_detections=5)(
        boxes, tf.constant([2]), logits, tf.zeros([1, 2, 80, 4]), tf.constant([[1344, 1344]])
    )
    assert int(detections["num_detections"][0]) == kept


def test_logits_behind_the_background_count_in_the_softmax_and_are_no_class():
    # Two classes, the background and two rows of no class: softmax over all five.
    logits = tf.math.log(tf.constant([[[0.3, 0.2, 0.1, 0.35, 0.05]]]))
    boxes = tf.constant([[[10.0, 10.0, 30.0, 40.0]]])
    detections = DetectionLayer(2, max_detections=4)(
        boxes, tf.constant([1]), logits, tf.zeros([1, 1, 2, 4]), tf.constant([[50, 60]])
    )
    np.testing.assert_array_equal(detections["classes"][0], [0, 1, -1, -1])
    np.testing.assert_allclose(detections["scores"][0], [0.3, 0.2, 0, 0], atol=1e-6)


def test_of_equal_scores_the_earlier_proposal_and_then_the_lower_class_comes_first():
    boxes = tf.constant([[[0.0, 0, 10, 10], [50, 0, 60, 10], [51, 0, 61, 10]]])
    logits = tf.math.log(tf.constant([[[0.4, 0.4, 0.2]] * 3]))
    detections = DetectionLayer(2, max_detections=5)(
        boxes, tf.constant([3]), logits, tf.zeros([1, 3, 2, 4]), tf.constant([[90, 90]])
    )
    np.testing.assert_array_equal(detections["classes"][0], [0, 1, 0, 1, -1])
    np.testing.assert_array_equal(detections["boxes"][0, :, 0], [0, 0, 50, 50, 0])


def test_one_box_for_all_classes_is_each_classes(drawn):
    boxes, counts, logits, deltas, sizes = drawn
    shared = deltas[:, :, :1]
    layer = DetectionLayer(CLASSES)
    detections = layer(boxes, counts, logits, shared, sizes)
    each = layer(boxes, counts, logits, tf.repeat(shared, CLASSES, axis=2), sizes)
    assert set(detections["classes"].numpy().ravel()) >= set(range(CLASSES))
    for name, value in each.items():
        np.testing.assert_array_equal(detections[name], value)
