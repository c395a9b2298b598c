"""A depthwise convolution with its normalisation against the two layers one after the other."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_fpn.layers.depthwise_convolution import NormalizedDepthwiseConv2D
from keras_fpn.layers.normalization import NORMS, build_norm

CHANNELS = 6


def built(norm, dtype=None, **options):
    """The layer with drawn weights, and variances down to 1e-3."""
    layer = NormalizedDepthwiseConv2D(3, build_norm(norm, 1e-5, "norm"), dtype=dtype, **options)
    layer.build((None, None, None, CHANNELS))
    random = np.random.default_rng(1)
    for weight in layer.weights:
        is_variance = weight.path.endswith("variance")
        values = 10.0 ** random.uniform(-3, 1, CHANNELS) if is_variance else random.normal(size=weight.shape)
        weight.assign(values)
    return layer


def by_itself(layer):
    """Keras' own convolution with the kernel of a layer."""
    convolution = keras.layers.DepthwiseConv2D(
        3, strides=layer.strides, padding=layer.padding, use_bias=False, dtype=layer.dtype_policy
    )
    convolution.build((None, None, None, CHANNELS))
    convolution.set_weights(layer.get_weights()[:1])
    return convolution


def maps(dtype="float32"):
    return tf.constant(np.random.default_rng(0).normal(1.0, 2.0, (2, 7, 9, CHANNELS)), dtype)


def assert_close(found, wanted, rtol=1e-5):
    found, wanted = np.asarray(found, np.float64), np.asarray(wanted, np.float64)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=rtol * np.abs(wanted).max())


@pytest.mark.parametrize("options", [{"padding": "same"}, {"strides": 2}], ids=str)
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("norm", NORMS)
def test_is_the_two_layers_one_after_the_other(norm, training, options):
    layer = built(norm, **options)
    after = build_norm(norm, 1e-5, "after")
    after.build((None, None, None, CHANNELS))
    after.set_weights(layer.norm.get_weights())
    wanted = after(by_itself(layer)(maps()), training=training)
    assert_close(layer(maps(), training=training), wanted)
    for ours, theirs in zip(layer.norm.get_weights(), after.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize("dtype, bound", [("float64", 1e-12), ("mixed_bfloat16", 0.02)])
def test_precisions(dtype, bound):
    layer = built("frozen_batch_norm", dtype=dtype)
    wanted = layer.norm(by_itself(layer)(maps()), training=False)
    found = layer(maps(), training=False)
    assert found.dtype == wanted.dtype == layer.compute_dtype
    assert_close(tf.cast(found, tf.float64), tf.cast(wanted, tf.float64), bound)


@pytest.mark.parametrize("norm, training", [("frozen_batch_norm", True), ("batch_norm", False)])
def test_gradients_are_those_of_the_two_layers(norm, training):
    layer = built(norm)
    convolution, gradients = by_itself(layer), []
    for kernel, run in (
        (layer.kernel, lambda x: layer(x, training=training)),
        (convolution.kernel, lambda x: layer.norm(convolution(x), training=False)),
    ):
        given = maps()
        sources = [given, kernel.value, *(weight.value for weight in layer.norm.trainable_variables)]
        with tf.GradientTape() as tape:
            tape.watch(given)
            loss = tf.reduce_sum(tf.sin(run(given)))
        gradients.append(tape.gradient(loss, sources))
    assert len(gradients[0]) == (2 if norm == "frozen_batch_norm" else 4)
    for ours, theirs in zip(*gradients, strict=True):
        assert_close(ours, theirs, 1e-4)


def test_a_frozen_layer_keeps_its_statistics():
    layer = built("batch_norm")
    layer.trainable = False
    before = layer.get_weights()
    assert_close(layer(maps(), training=True), layer(maps(), training=False))
    for old, new in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("norm", NORMS)
def test_is_saved_and_read_back(norm, tmp_path):
    given = keras.Input((None, None, CHANNELS))
    layer = built(norm)
    keras.Model(given, layer(given)).save(tmp_path / "layer.keras")
    read = keras.saving.load_model(tmp_path / "layer.keras")
    np.testing.assert_array_equal(read(maps(), training=False), layer(maps(), training=False))
