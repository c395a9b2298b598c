"""Pasting in the graph, against pasting without TensorFlow, whose own numbers are those of the sources."""

import numpy as np
import pytest
import tensorflow as tf

from keras_fpn.ops import graph_mask_pasting, mask_pasting, masks

SIZES = [(37, 52), (61, 40), (1, 1)]  # of the images of a batch
ODD_BOXES = [
    [0, 0, 0, 0], [10, 10, 20, 20], [-30, -5, 12, 90], [5, 5, 5.4, 30], [50, 30, 51.5, 36.5], [200, 200, 210, 210],
    [-9, -9, -1, -1], [3, 3, 2, 2], [np.nan, 0, 9, 9], [0, 0, np.inf, 9], [-3e9, 0, 9, 9], [0, 0, 52, 37],
]  # fmt: skip


def drawn(count, side):
    """Masks, and boxes of which some are odd; the second image has them the other way round."""
    random = np.random.default_rng(7)
    centres, sides = random.uniform(0, 60, (count, 2)), random.uniform(0.3, 40, (count, 2))
    boxes = np.concatenate([np.concatenate([centres - sides / 2, centres + sides / 2], 1), ODD_BOXES]).astype("float32")
    boxes = np.stack([boxes, boxes[::-1], boxes])
    return random.random((*boxes.shape[:2], side, side), np.float32), boxes


@pytest.mark.parametrize("rule", mask_pasting.RULES)
@pytest.mark.parametrize("side", [28, 5])
def test_every_pixel_is_that_of_pasting_without_a_graph(rule, side):
    values, boxes = drawn(20, side)
    sizes = np.array(SIZES, np.int32)
    paste = tf.function(lambda *given: graph_mask_pasting.paste_batch(*given, rule))
    found = paste(values, boxes, sizes).numpy()
    assert (found.dtype, found.shape) == (np.uint8, (3, 32, 61, 52))
    expected = np.zeros_like(found)
    for image, (height, width) in enumerate(SIZES):
        segments = mask_pasting.paste_all(values[image], boxes[image], height, width, rule)
        expected[image, :, :height, :width] = [masks.decode(segment) for segment in segments]
    np.testing.assert_array_equal(found, expected)
    assert (found.any(axis=(2, 3)).sum(axis=1)[:2] > 15).all()


def test_an_unknown_rule_is_named():
    with pytest.raises(ValueError, match="one of detectron2, torchvision, not 'soft'"):
        graph_mask_pasting.paste_batch(tf.zeros([1, 1, 4, 4]), tf.zeros([1, 1, 4]), tf.ones([1, 2], tf.int32), "soft")
