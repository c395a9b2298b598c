"""Which places of keypoints rounding, or a lower precision, leaves open."""

import types

import numpy as np
import pytest
import tensorflow as tf

from keras_fpn.export.undecided import keypoints as rule
from keras_fpn.ops import keypoints

SIDE = 8


def peaks(*places):
    """`[1, m, m, 1]` heat map over a box: a logit at each (row, column)."""
    maps = np.zeros((1, SIDE, SIDE, 1), np.float32)
    for row, column, logit in places:
        maps[0, row, column] = logit
    return maps


@pytest.mark.parametrize(
    ("x", "y", "is_open"),
    [
        (12.5, 22.5, True),  # the highest
        (15.5, 26.5, True),  # equal but for 5e-4
        (15.5, 21.5, False),  # lower
        (13.1, 22.5, False),  # between two pixels
    ],
)
def test_of_two_equal_pixels_either_may_be_the_keypoint(x, y, is_open):
    """A box of as many pixels as its map has cells: the resized map is the map."""
    maps = peaks((2, 2, 5.0), (6, 5, 4.9995), (1, 5, 4.0))
    stage = types.SimpleNamespace(heat_maps=lambda features, boxes: tf.constant(maps[None]))
    values = np.array([[[x, y, 0.5]]])
    found = rule.of_stage(stage, {}, np.array([[10.0, 20.0, 18.0, 28.0]]), values, 0.05)
    assert found.tolist() == [[is_open]]


def test_a_side_that_is_nearly_whole_may_be_rounded_up_either_way():
    maps = peaks((2, 2, 5.0))
    stage = types.SimpleNamespace(heat_maps=lambda features, boxes: tf.constant(maps[None]))
    box = np.array([[10.0, 20.0, 18.00001, 28.0]], np.float32)
    # 9 pixels wide by float32's ceiling, 8 where 1e-5 is rounded away.
    wide = keypoints.decode(tf.constant(maps), tf.constant(box), "logit").numpy()
    narrow = keypoints.decode(tf.constant(maps), tf.constant([[10.0, 20.0, 18.0, 28.0]]), "logit").numpy()
    assert abs(wide[0, 0, 0] - narrow[0, 0, 0]) > 0.1
    for values in (wide, narrow):
        assert rule.of_stage(stage, {}, box, values, 0.05).tolist() == [[True]]


@pytest.mark.parametrize(("place", "room", "is_open"), [(0.1, 0.3, True), (0.1, 0.1, False), (0.01, 0.3, False)])
def test_a_lower_precision_may_take_a_place_that_is_nearly_as_high(place, room, is_open):
    """The second peak, a fifth lower, is half a pixel from the place, along both axes."""
    maps = peaks((2, 2, 5.0), (6, 5, 4.0))
    stage = types.SimpleNamespace(heat_maps=lambda features, boxes: tf.constant(maps[None]))
    bounds = types.SimpleNamespace(place=place, score=room)
    box = np.array([[10.0, 20.0, 18.0, 28.0]])
    found = rule.of_stage(stage, {}, box, np.array([[[16.0, 26.0, 0.5]]]), 0.05, bounds)
    assert found.tolist() == [[is_open]]
