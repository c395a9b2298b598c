"""Detections of all anchors against torchvision's RetinaNet (golden/make_dense.py), and each rule by itself."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_fpn.layers.anchors import AnchorGenerator
from keras_fpn.layers.dense_detections import DenseDetectionLayer

CANVAS, SIZES = (128, 160), [[128, 160], [100, 130]]
GRIDS = {"P3": (16, 20), "P4": (8, 10), "P5": (4, 5), "P6": (2, 3), "P7": (1, 2)}
ANCHOR_SIZES = {
    level: [float(int(side * 2 ** (third / 3))) for third in range(3)]
    for level, side in zip(GRIDS, (8, 16, 32, 64, 128), strict=True)
}
TORCHVISION = {"clip": "before_nms", "keep_empty": True}


def drawn_anchors():
    """`{level: [A_l, 4]}` of the canvas, as torchvision has them."""
    strides = {level: 2 ** int(level[1]) for level in GRIDS}
    layer = AnchorGenerator(
        ANCHOR_SIZES, [0.5, 1.0, 2.0], strides, rounding="torchvision", stride_source="floor", order="ratio_major"
    )
    return layer(GRIDS, CANVAS)


def drawn_predictions(draws, anchors):
    """Inputs that make_dense.py gave to torchvision, `{name: {level: [2, A_l, ...]}}`."""
    counts = [len(own) for own in anchors.values()]
    logits = draws.normal("dense/logits", (2, sum(counts), 5), 1.5) - 4
    deltas = draws.normal("dense/deltas", (2, sum(counts), 4), 0.4)
    drawn = {"class_logits": logits, "box_deltas": deltas}
    return {
        name: dict(zip(anchors, map(tf.constant, np.split(value, np.cumsum(counts)[:-1], axis=1)), strict=True))
        for name, value in drawn.items()
    }


def test_anchors_are_torchvisions(golden):
    np.testing.assert_array_equal(np.concatenate(list(drawn_anchors().values())), golden("dense")["anchors"])


def test_detections_of_drawn_logits_are_torchvisions(golden, draws):
    anchors = drawn_anchors()
    layer = DenseDetectionLayer(pre_nms_top_k=200, max_detections=150, **TORCHVISION)
    found = layer(drawn_predictions(draws, anchors), anchors=anchors, image_sizes=tf.constant(SIZES), num_classes=5)
    for index in range(2):
        expected = golden("dense").under(f"detections/{index}")
        assert found["num_detections"][index] == len(expected["scores"]) == 150
        np.testing.assert_allclose(found["scores"][index], expected["scores"], atol=1e-6)
        np.testing.assert_array_equal(found["classes"][index], expected["labels"])
        np.testing.assert_allclose(found["boxes"][index], expected["boxes"], atol=1e-3)
        sides = expected["boxes"][:, 2:] - expected["boxes"][:, :2]
        assert (sides.min(axis=1) == 0).sum() > 1  # nothing is left of some: 0 / 0 is not above any overlap


def detected(anchors, scores, size=(100, 100), **options):
    """Detections of anchors `[N, 4]` that stay where they are, with probabilities `[N, K]`."""
    logits = np.log(scores) - np.log1p(-np.asarray(scores))
    predictions = {"class_logits": {"P3": logits[None]}, "box_deltas": {"P3": np.zeros((1, len(anchors), 4))}}
    predictions = tf.nest.map_structure(lambda value: tf.constant(value, tf.float32), predictions)
    layer = DenseDetectionLayer(**{"max_detections": 6} | options)
    found = layer(
        predictions,
        anchors={"P3": tf.constant(anchors, tf.float32)},
        image_sizes=tf.constant([size]),
        num_classes=np.shape(scores)[1],
    )
    number = int(found["num_detections"][0])
    return {key: value[0].numpy()[:number] for key, value in found.items() if key != "num_detections"}


# IoU of the two 0.4667, of what is seen of them 1.
REACHING_OUT, SCORES = [[-100, 0, 50, 50], [-20, 0, 50, 50]], [[0.9], [0.8]]


def test_torchvision_clips_before_suppression():
    assert detected(REACHING_OUT, SCORES, **TORCHVISION)["boxes"].tolist() == [[0, 0, 50, 50]]


def test_detectron2_clips_after_suppression():
    assert detected(REACHING_OUT, SCORES)["boxes"].tolist() == [[0, 0, 50, 50]] * 2


def test_boxes_of_which_nothing_is_left_are_dropped_or_kept():
    anchors, scores = [[120, 10, 140, 30], [10, 10, 30, 30], [150, 10, 160, 40]], [[0.9], [0.8], [0.7]]
    assert detected(anchors, scores)["scores"].tolist() == pytest.approx([0.8])
    kept = detected(anchors, scores, **TORCHVISION)
    assert kept["scores"].tolist() == pytest.approx([0.9, 0.8, 0.7]) and kept["boxes"][0].tolist() == [100, 10, 100, 30]
    # Dropped from the best: no further one comes in their place.
    assert len(detected(anchors, scores, max_detections=1)["scores"]) == 0


def test_the_best_are_pairs_of_an_anchor_and_a_class():
    anchors = [[0, 0, 20, 20], [40, 40, 60, 60], [70, 70, 90, 90]]
    scores = [[0.9, 0.8], [0.5, 0.01], [0.06, 0.04]]
    found = detected(anchors, scores, pre_nms_top_k=2)
    assert found["classes"].tolist() == [0, 1] and found["boxes"].tolist() == [anchors[0]] * 2
    found = detected(anchors, scores)  # 0.05 and less is none
    assert found["scores"].tolist() == pytest.approx([0.9, 0.8, 0.5, 0.06])
    assert found["classes"].tolist() == [0, 1, 0, 0]


def test_suppression_is_of_one_class():
    anchors = [[0, 0, 20, 20], [0, 0, 20, 19]]
    assert len(detected(anchors, [[0.9, 0.01], [0.02, 0.8]])["scores"]) == 2
    assert len(detected(anchors, [[0.9, 0.01], [0.8, 0.02]])["scores"]) == 1


def test_padding_is_that_of_all_detections():
    found = DenseDetectionLayer(max_detections=3)(
        {"class_logits": {"P3": tf.fill([1, 2, 1], -9.0)}, "box_deltas": {"P3": tf.zeros([1, 2, 4])}},
        anchors={"P3": tf.constant([[0, 0, 9, 9], [5, 5, 9, 9]], tf.float32)},
        image_sizes=tf.constant([[10, 10]]),
        num_classes=1,
    )
    assert found["num_detections"].numpy().tolist() == [0] and (found["classes"].numpy() == -1).all()
    assert not found["boxes"].numpy().any() and not found["scores"].numpy().any()


def test_it_comes_back_from_its_configuration():
    layer = DenseDetectionLayer(0.1, 20, 0.6, 7, "before_nms", True, [1.0, 1.0, 2.0, 2.0], name="detections")
    assert keras.layers.deserialize(keras.layers.serialize(layer)).get_config() == layer.get_config()
    with pytest.raises(ValueError, match="before_nms or after_nms"):
        DenseDetectionLayer(clip="never")
