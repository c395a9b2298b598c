"""The proposal layer against torchvision's filter_proposals (golden/make_proposals.py), and its edges."""

import numpy as np
import pytest
import tensorflow as tf

from keras_fpn.layers.anchors import AnchorGenerator
from keras_fpn.layers.proposals import ProposalLayer

LEVELS = ("P2", "P3", "P4", "P5", "P6")


@pytest.fixture
def drawn(golden, draws):
    """(objectness, deltas, anchors, image sizes) of two images on a 128 x 160 canvas."""
    kept = golden("proposals")
    shapes = {level: tuple(map(int, shape)) for level, shape in zip(LEVELS, kept["shapes"], strict=True)}
    generator = AnchorGenerator(
        sizes={level: [32 * 2**index] for index, level in enumerate(LEVELS)},
        ratios=[0.5, 1.0, 2.0],
        strides={level: 4 * 2**index for index, level in enumerate(LEVELS)},
        rounding="torchvision",
        stride_source="floor",
    )
    anchors = generator(feature_shapes=shapes, image_shape=tuple(map(int, kept["canvas"])))
    counts = {level: 3 * h * w for level, (h, w) in shapes.items()}
    logits = {level: draws.normal(f"proposals/{level}/logits", (2, n)) for level, n in counts.items()}
    deltas = {level: draws.normal(f"proposals/{level}/deltas", (2, n, 4), 0.4) for level, n in counts.items()}
    together = np.concatenate(list(deltas.values()), 1)
    together[:, ::17, 2] = -30.0  # as in the script: boxes without width
    parts = np.split(together, np.cumsum(list(counts.values()))[:-1], axis=1)
    deltas = dict(zip(LEVELS, parts, strict=True))
    return logits, deltas, anchors, tf.constant(kept["sizes"], tf.int32)


def layer_of(top_k, keep, **settings):
    return ProposalLayer(pre_nms_top_k_test=top_k, post_nms_top_k_test=keep, **{"min_size": 1e-3} | settings)


@pytest.mark.parametrize("name", ("few", "many", "confident"))
def test_equals_torchvision(golden, drawn, name):
    kept = golden("proposals")
    top_k, keep = map(int, kept[f"{name}/settings"])
    proposals = layer_of(top_k, keep, score_threshold=float(kept[f"{name}/score_threshold"]))(*drawn)
    assert proposals["boxes"].shape == (2, keep, 4)
    for image in range(2):
        expected = kept[f"{name}/{image}/boxes"]
        count = int(proposals["num_proposals"][image])
        assert count == len(expected)
        np.testing.assert_allclose(proposals["boxes"][image, :count], expected, atol=2e-3)
        np.testing.assert_allclose(
            tf.sigmoid(proposals["scores"][image, :count]), kept[f"{name}/{image}/probabilities"], atol=1e-6
        )


def test_padding_boxes_and_scores_are_zero(drawn):
    proposals = layer_of(20, 500)(*drawn)
    for image in range(2):
        count = int(proposals["num_proposals"][image])
        assert 0 < count < 500
        assert not proposals["boxes"][image, count:].numpy().any()
        assert not proposals["scores"][image, count:].numpy().any()
        assert (np.diff(proposals["scores"][image, :count]) <= 0).all()


def test_boxes_lie_inside_their_own_image(drawn):
    boxes = layer_of(60, 100)(*drawn)["boxes"].numpy()
    for image, (height, width) in enumerate(drawn[3].numpy()):
        assert (
            boxes[image].min() >= 0
            and boxes[image, :, 2].max() <= width
            and boxes[image, :, 3].max() <= height
        )


def test_training_has_its_own_counts(drawn):
    layer = ProposalLayer(
        pre_nms_top_k_train=40, post_nms_top_k_train=30, pre_nms_top_k_test=5, post_nms_top_k_test=10
    )
    training, inference = layer(*drawn, training=True), layer(*drawn)
    assert training["boxes"].shape == (2, 30, 4) and inference["boxes"].shape == (2, 10, 4)
    assert (training["num_proposals"].numpy() > inference["num_proposals"].numpy()).all()


def test_no_gradient_passes_through_proposals(drawn):
    logits = {level: tf.constant(value) for level, value in drawn[0].items()}
    deltas = {level: tf.constant(value) for level, value in drawn[1].items()}
    with tf.GradientTape() as tape:
        tape.watch([logits, deltas])
        value = tf.reduce_sum(layer_of(20, 20)(logits, deltas, *drawn[2:])["boxes"])
    assert all(gradient is None for gradient in tf.nest.flatten(tape.gradient(value, [logits, deltas])))


def test_nothing_survives_without_an_area(drawn):
    logits, deltas, anchors, sizes = drawn
    gone = {level: np.full_like(value, -1e4) for level, value in deltas.items()}  # all far outside, all empty
    proposals = layer_of(50, 20)(logits, gone, anchors, sizes)
    np.testing.assert_array_equal(proposals["num_proposals"], [0, 0])
    assert not proposals["boxes"].numpy().any()


def test_not_a_number_does_not_spread(drawn):
    """One anchor of the first image is NaN: the second image does not change, the first stays finite."""
    logits, deltas, anchors, sizes = drawn
    clean = layer_of(50, 20)(logits, deltas, anchors, sizes)
    broken = {level: value.copy() for level, value in deltas.items()}
    logits = {level: value.copy() for level, value in logits.items()}
    broken["P3"][0, 7], logits["P3"][0, 7] = np.nan, 50.0
    proposals = layer_of(50, 20)(logits, broken, anchors, sizes)
    np.testing.assert_array_equal(proposals["boxes"][1], clean["boxes"][1])
    assert np.isfinite(proposals["boxes"]).all() and proposals["num_proposals"][0] > 0


def test_graph_equals_eager(drawn):
    layer = layer_of(60, 40)
    eager, graph = layer(*drawn), tf.function(layer)(*drawn)
    for name, value in eager.items():
        np.testing.assert_allclose(graph[name], value, atol=1e-3)


def propose_two(boxes, logits, level="P6", **settings):
    """How many proposals two boxes of one level make; every delta is 0, so that they stay where they are."""
    boxes = {name: np.array(boxes if name == level else [], np.float32).reshape(-1, 4) for name in LEVELS}
    objectness = {
        name: tf.constant([logits[: len(of_level)]], tf.float32) for name, of_level in boxes.items()
    }
    deltas = {name: tf.zeros([1, len(of_level), 4]) for name, of_level in boxes.items()}
    anchors = {name: tf.constant(of_level) for name, of_level in boxes.items()}
    layer = ProposalLayer(post_nms_top_k_test=5, **settings)
    return int(layer(objectness, deltas, anchors, tf.constant([[1344, 1344]]))["num_proposals"][0])


def test_suppression_is_exact_on_the_last_level():
    # Squares of 10 px, IoU (10 - s) / (10 + s) = .499995 and .500023. Four image widths further, where a common pass
    # of all levels would move them, their coordinates round to 1/2048 px and the first pair to above one half.
    left = 1300.6322021484375
    for shift, kept in ((27307 / 8192, 2), (27305 / 8192, 1)):
        boxes = [[left, 700, left + 10, 710], [left + shift, 700, left + shift + 10, 710]]
        assert propose_two(boxes, [2.0, 1.0], nms_threshold=0.5) == kept


@pytest.mark.parametrize(("threshold", "kept"), [(0.0, 2), (0.05, 2), (0.5, 2), (0.51, 1), (0.9, 0)])
def test_boxes_below_the_score_threshold_go(threshold, kept):
    # Probabilities: sigmoid(2) = .881 and sigmoid(0) = .5, which a threshold of .5 keeps.
    boxes = [[10, 10, 40, 40], [100, 100, 140, 140]]
    assert propose_two(boxes, [2.0, 0.0], score_threshold=threshold) == kept


def test_the_score_threshold_travels_in_the_configuration():
    layer = ProposalLayer.from_config(ProposalLayer(score_threshold=0.05).get_config())
    assert layer.score_threshold == 0.05
