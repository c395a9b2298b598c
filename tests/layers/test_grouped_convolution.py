"""Convolutions in groups: each group by itself, the gradient, and files."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_fpn.layers.grouped_convolution import GroupedConv2D, has_operator


def group_by_group(x, kernel, groups, strides):
    """Every group a convolution of its own."""
    parts = zip(tf.split(x, groups, -1), tf.split(kernel, groups, -1), strict=True)
    return tf.concat([tf.nn.conv2d(maps, own, strides, "VALID") for maps, own in parts], -1)


@pytest.mark.parametrize(("channels", "groups", "strides"), [(8, 4, 1), (8, 4, 2), (6, 6, 1), (64, 32, 2)])
def test_groups_do_not_see_each_other(channels, groups, strides, draws):
    layer = GroupedConv2D(channels, 3, strides=strides, groups=groups, use_bias=False)
    x = tf.constant(draws.normal("grouped", (2, 9, 12, channels)))
    layer.build(x.shape)
    assert layer.kernel.shape == (3, 3, channels // groups, channels)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        ours, theirs = layer(x), group_by_group(x, tf.convert_to_tensor(layer.kernel), groups, strides)
        losses = [tf.reduce_sum(each**3) for each in (ours, theirs)]
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    found = [tape.gradient(loss, [x, layer.kernel.value]) for loss in losses]
    for own, other in zip(*found, strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-4, atol=1e-4 * np.abs(other).max())


def test_by_hand():
    # Two groups of one channel: the first is doubled, the second negated.
    layer = GroupedConv2D(2, 1, groups=2, use_bias=False)
    layer.build((None, None, None, 2))
    layer.kernel.assign(np.float32([[[[2, -1]]]]))
    np.testing.assert_array_equal(layer(tf.constant([[[[3.0, 5.0]]]])), [[[[6, -5]]]])


def test_it_comes_back_from_a_file(tmp_path):
    image = keras.Input((None, None, 4))
    model = keras.Model(image, GroupedConv2D(4, 3, groups=2, name="grouped")(image))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert type(again.get_layer("grouped")) is GroupedConv2D
    x = tf.random.stateless_normal([1, 5, 6, 4], [1, 2])
    np.testing.assert_array_equal(again(x), model(x))


@pytest.mark.skipif(not has_operator(), reason="TensorFlow does not use oneDNN on this CPU")
def test_it_is_one_operator_of_a_graph():
    """Not a function that XLA compiles, which no TFLite or ONNX file holds."""
    layer = GroupedConv2D(4, 3, groups=2)
    graph = tf.function(layer).get_concrete_function(tf.TensorSpec([None, None, None, 4])).graph
    assert [node.type for node in graph.get_operations() if "Conv" in node.type or "Call" in node.type] == ["Conv2D"]


@pytest.mark.parametrize("options", [{}, {"strides": 2}, {"dilation_rate": 2}], ids=str)
def test_double_precision_has_a_gradient(options, draws):
    """Of which TensorFlow has none on a CPU."""
    layers = [GroupedConv2D(8, 3, groups=4, dtype=dtype, **options) for dtype in ("float64", "float32")]
    x, gradients = draws.normal("grouped double", (2, 9, 12, 8)), []
    for layer in layers:
        given = tf.constant(x, layer.dtype)
        layer.build(given.shape)
        layer.set_weights(layers[0].get_weights())
        with tf.GradientTape() as tape:
            tape.watch(given)
            loss = tf.reduce_sum(tf.sin(layer(given)))
        gradients.append(tape.gradient(loss, [given, layer.kernel.value]))
    for double, single in zip(*gradients, strict=True):
        assert double.dtype == tf.float64
        np.testing.assert_allclose(double, single, rtol=1e-4, atol=1e-4 * np.abs(single).max())


@pytest.mark.parametrize("one_dnn", ("0", "1"))
def test_it_learns_whether_tensorflow_uses_onednn_or_not(one_dnn):
    """On CPUs without AVX-512 it does not, and has no such operator; all equals the groups apart."""
    environment = os.environ | {"TF_ENABLE_ONEDNN_OPTS": one_dnn, "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run([sys.executable, "-c", GRADIENTS], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


GRADIENTS = """
import numpy as np, tensorflow as tf
from keras_fpn.layers.grouped_convolution import GroupedConv2D
layer = GroupedConv2D(6, 3, strides=2, padding="same", groups=3)
maps = tf.random.stateless_normal([2, 7, 5, 6], [1, 2])
layer.build(maps.shape)
@tf.function
def gradients(convolve):
    with tf.GradientTape() as tape:
        tape.watch(maps)
        total = tf.reduce_sum(tf.sin(convolve(maps)))
    return tape.gradient(total, [maps, layer.kernel.value])
def apart(maps):
    groups = zip(tf.split(maps, 3, -1), tf.split(layer.kernel.value, 3, -1))
    return tf.concat([tf.nn.conv2d(*group, 2, "SAME") for group in groups], -1)
for ours, expected in zip(gradients(layer), gradients(apart)):
    np.testing.assert_allclose(ours, expected, atol=1e-4)
"""
