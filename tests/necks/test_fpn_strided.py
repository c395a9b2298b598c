"""The pyramid with strided convolutions above the backbone's coarsest map."""

import numpy as np
import pytest
import tensorflow as tf

from keras_fpn.console.errors import UserError
from keras_fpn.necks.build import build_pyramid
from keras_fpn.parts.checkpoint_names import named

LEVELS = ("P3", "P4", "P5", "P6", "P7")


def built(top_input, channels=None, levels=LEVELS):
    channels = channels or {"C2": 6, "C3": 8, "C4": 10, "C5": 4}
    return build_pyramid(channels, levels, name="fpn_strided", channels=4, top_input=top_input)


@pytest.mark.parametrize("top_input", ["backbone", "pyramid"])
def test_p7_reads_the_rectified_p6_and_p6_leaves_as_it_is(top_input):
    """P6 of minus the identity is -1 where its input is 1, and P7 then its bias alone."""
    pyramid = built(top_input)
    identity = np.zeros((3, 3, 4, 4), np.float32)
    identity[1, 1] = np.eye(4)
    for layer in pyramid.layers:
        if layer.weights:
            layer.set_weights([np.zeros(weight.shape) for weight in layer.weights])
    pyramid.get_layer("output_P5").set_weights([np.zeros((3, 3, 4, 4)), np.full(4, 1.0)])
    pyramid.get_layer("downsample_P6").set_weights([-identity, np.zeros(4)])
    pyramid.get_layer("downsample_P7").set_weights([identity, np.full(4, 0.25)])
    maps = {"C3": tf.ones((1, 16, 20, 8)), "C4": tf.ones((1, 8, 10, 10)), "C5": tf.ones((1, 4, 5, 4))}
    found = pyramid(maps)
    assert list(found) == list(LEVELS)
    np.testing.assert_array_equal(found["P6"], np.full((1, 2, 3, 4), -1.0))
    np.testing.assert_array_equal(found["P7"], np.full((1, 1, 2, 4), 0.25))


def test_strided_convolutions_are_padded_alike_on_all_sides():
    """Cell 0 of an even side sees the padding and cells 0 and 1, as in torch; "same" would see 0, 1 and 2."""
    pyramid = built("backbone")
    pyramid.get_layer("downsample_P6").set_weights([np.ones((3, 3, 4, 4)), np.zeros(4)])
    coarsest = np.zeros((1, 4, 4, 4), np.float32)
    coarsest[0, 2, 2, 0] = 1
    found = pyramid({"C3": tf.zeros((1, 16, 16, 8)), "C4": tf.zeros((1, 8, 8, 10)), "C5": tf.constant(coarsest)})
    assert found["P6"].numpy()[0, ..., 0].tolist() == [[0, 0], [0, 1]]


def test_published_names_of_the_upper_levels():
    """Both sources count from p6, also above a backbone that ends at C6."""
    for levels, channels in ((LEVELS, None), (("P5", "P6", "P7", "P8"), {"C5": 8, "C6": 4})):
        pyramid = built("pyramid", channels, levels)
        for source, block in (("torchvision", "backbone.fpn.extra_blocks"), ("detectron2", "backbone.top_block")):
            table = pyramid.checkpoint_names[source](pyramid, None)
            names = [named(table, f"downsample_{level}").name for level in levels[-2:]]
            assert names == [f"{block}.p6", f"{block}.p7"]
            assert all(named(table, layer.name) for layer in pyramid.layers if layer.weights)


def test_only_the_maps_that_are_read_are_inputs():
    assert list(built("backbone").input) == ["C3", "C4", "C5"]
    assert list(built("backbone", levels=("P4", "P5")).output) == ["P4", "P5"]
    with pytest.raises(UserError, match="pyramid.levels: P3 needs C3; the backbone gives C5 alone"):
        built("backbone", {"C5": 4})
