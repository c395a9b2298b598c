"""benchmarks/parity/dense.py and comparison.py on outputs made by hand: what is at a cut, and what nobody compared."""

import types

import numpy as np
import pytest
import tensorflow as tf

from keras_fpn.layers.dense_detections import DenseDetectionLayer

# Of a level; no deltas, so that these are the boxes.
ANCHORS = np.array([[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 60, 10]], np.float32)
SIZE = tf.constant([40, 50])  # height and width: the last anchor is clipped


@pytest.fixture(scope="module")
def parity(parity_modules):
    return parity_modules("comparison", "dense")


@pytest.fixture
def edges(parity):
    """Edges of one level of which the two best of six pairs go on; logits of three anchors and two classes."""

    def found(logits):
        layer = DenseDetectionLayer(pre_nms_top_k=2)
        model = types.SimpleNamespace(detections=layer, class_names=("a", "b"))
        # The third column is of no class.
        logits = np.concatenate([np.array(logits, np.float32), np.full((3, 1), 9, np.float32)], axis=1)
        outputs = {"class_logits": {"P3": tf.constant(logits)}, "box_deltas": {"P3": tf.zeros([3, 4])}}
        return parity.dense._edges(model, outputs, {"P3": tf.constant(ANCHORS)}, SIZE)

    return found


def test_pairs_in_a_tie_at_the_cut_are_at_the_edge(edges):
    within, beyond = edges([[2, -1], [-1, 1], [1 - 1e-5, -1]])
    np.testing.assert_array_equal(within, ANCHORS[1:2])
    np.testing.assert_array_equal(beyond, [[40, 0, 50, 10]])


def test_pairs_far_from_the_cut_are_not_at_the_edge(edges):
    within, beyond = edges([[2, -1], [-1, 1], [0.9, -1]])
    np.testing.assert_array_equal(within, ANCHORS[1:2])  # the cut itself
    assert not len(beyond)


def test_a_level_that_is_not_cut_has_no_edge(edges):
    assert [len(edge) for edge in edges([[2, -9], [-9, 1], [-9, -9]])] == [0, 0]


def test_what_was_recorded_and_not_compared_is_named(parity):
    kept = {"batch/image_sizes": np.zeros(2), "batch/masks/0/values": np.ones(1), "batch/masks/0/values/shape": [1]}
    for name in ("one", "other"):
        kept |= {f"batch/{name}/P3": np.ones(4, np.float32), f"batch/{name}/P3/shape": np.array([2, 2])}
    comparison = parity.comparison.Comparison(kept, 10, "torchvision")
    assert comparison.left("batch") == ["batch/one/P3", "batch/other/P3"]
    comparison.relative("dense logits", "batch/one/P3", np.ones((2, 2), np.float32))
    assert comparison.left("batch") == ["batch/other/P3"]
