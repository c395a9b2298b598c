"""Run lengths in the graph: pycocotools encodes, and what is decoded is what was encoded."""

import numpy as np
import pytest
import tensorflow as tf
from pycocotools import mask as coco_mask

from keras_fpn.ops import run_lengths

_decode = tf.function(run_lengths.decode, reduce_retracing=True)


def decoded(segments, height, width):
    counts = tf.ragged.constant([list(each["counts"]) for each in segments], tf.uint8, ragged_rank=1)
    return _decode(counts, tf.constant(height), tf.constant(width)).numpy()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (9, 1), (23, 41), (700, 900)])
def test_decoding_gives_what_pycocotools_encoded(height, width):
    rng = np.random.default_rng(height)
    for shares in ([0.0, 1.0], [0.003, 0.1, 0.5, 0.97, 0.0], [1.0]):
        bitmaps = np.stack([rng.random((height, width)) < share for share in shares]).astype(np.uint8)
        bitmaps[0, : height // 2, width // 3 :] = 1  # long runs, which take several characters
        found = decoded([coco_mask.encode(np.asfortranarray(bitmap)) for bitmap in bitmaps], height, width)
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, bitmaps)


def test_runs_of_no_length_and_no_masks_are_taken():
    counts = {"counts": [2, 0, 1, 3, 0, 2, 4, 0], "size": [4, 3]}  # 1 in places 3, 4, 5 and 6, 7
    packed = coco_mask.frPyObjects(counts, 4, 3)
    expected = np.zeros(12, np.uint8)
    expected[3:8] = 1
    np.testing.assert_array_equal(decoded([packed, packed], 4, 3), [expected.reshape(3, 4).T] * 2)
    nothing = tf.RaggedTensor.from_row_lengths(tf.zeros([0], tf.uint8), tf.zeros([0], tf.int64))
    assert _decode(nothing, tf.constant(4), tf.constant(3)).shape == (0, 4, 3)
