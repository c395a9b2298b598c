"""The same sizes as by TensorFlow, whose own tests hold those against detectron2 and torchvision."""

import hypothesis
import pytest
from hypothesis import strategies

import keras_fpn
from keras_fpn.data import sizes, transforms

SIDES = strategies.integers(1, 5000)


@pytest.mark.parametrize(
    ("rounding", "expected"),
    [("half_up", (800, 1067)), ("floor", (800, 1066))],  # detectron2's and torchvision's own results for 480 x 640
)
def test_the_published_sizes(rounding, expected):
    assert sizes.resize_size(480, 640, 800, 1333, rounding) == expected
    rule = {"min_side": 800, "max_side": 1333, "rounding": rounding, "size_divisor": 32}
    assert sizes.resized_size(480, 640, rule) == expected
    assert sizes.padded_size(480, 640, rule) == (800, 1088)


@hypothesis.given(SIDES, SIDES, strategies.integers(1, 1500), strategies.integers(1, 2000))
@pytest.mark.parametrize("rounding", ["half_up", "floor"])
def test_resize_size_is_that_of_training(rounding, height, width, min_side, max_side):
    arguments = (height, width, min_side, max_side)
    expected = tuple(int(side) for side in transforms.resize_size(*arguments, rounding=rounding))
    assert sizes.resize_size(*arguments, rounding=rounding) == expected


@hypothesis.given(SIDES, SIDES, strategies.integers(1, 1500), strategies.integers(1, 1500))
def test_fit_size_is_that_of_training(height, width, frame_height, frame_width):
    expected = tuple(int(side) for side in transforms.fit_size(height, width, frame_height, frame_width))
    assert sizes.fit_size(height, width, (frame_height, frame_width)) == expected
    assert expected[0] <= frame_height and expected[1] <= frame_width


def test_a_misspelt_rule_is_refused():
    with pytest.raises(keras_fpn.UserError, match='rounding must be "half_up" or "floor", not \'up\''):
        sizes.resize_size(480, 640, 800, 1333, "up")
