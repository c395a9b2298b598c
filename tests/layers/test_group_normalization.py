"""Group normalisation against its formula in float64, and beside Keras' own layer, whose variables it has."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_fpn.layers.group_normalization import GroupNormalization


def drawn(shape, mean=2.0):
    """Maps far from a mean of 0, as a ReLU leaves them."""
    return np.random.default_rng(0).normal(mean, 1.0, shape).clip(0).astype(np.float32)


def built(layer, channels):
    layer.build((None, None, None, channels))
    random = np.random.default_rng(1)
    layer.set_weights([random.normal(size=weight.shape).astype(np.float32) for weight in layer.get_weights()])
    return layer


def normalised(maps, layer, groups):
    """The formula of the paper in float64."""
    cells = maps.astype(np.float64).reshape(*maps.shape[:3], groups, -1)
    mean, variance = (function(cells, axis=(1, 2, 4), keepdims=True) for function in (np.mean, np.var))
    gamma, beta = (weight.numpy().astype(np.float64) for weight in (layer.gamma, layer.beta))
    return ((cells - mean) / np.sqrt(variance + layer.epsilon)).reshape(maps.shape) * gamma + beta


@pytest.mark.parametrize("shape, groups", [((2, 5, 7, 12), 3), ((1, 1, 1, 8), 2), ((1, 100, 152, 64), 8)])
def test_follows_the_formula(shape, groups):
    maps, layer = drawn(shape), built(GroupNormalization(groups, epsilon=1e-5), shape[-1])
    np.testing.assert_allclose(layer(maps), normalised(maps, layer, groups), rtol=0, atol=5e-6)


def test_gradients_and_weights_are_those_of_keras():
    maps = tf.constant(drawn((2, 6, 5, 8)))
    ours, theirs = built(GroupNormalization(2), 8), built(keras.layers.GroupNormalization(2), 8)
    assert [weight.path.split("/")[-1] for weight in ours.weights] == ["gamma", "beta"]
    gradients = []
    for layer in (ours, theirs):
        with tf.GradientTape() as tape:
            tape.watch(maps)
            loss = tf.reduce_sum(tf.sin(layer(maps)))
        gradients.append(tape.gradient(loss, [maps, layer.gamma.value, layer.beta.value]))
    for own, keras_own in zip(*gradients, strict=True):
        np.testing.assert_allclose(own, keras_own, rtol=1e-4, atol=1e-5)


def test_half_precision_is_computed_in_float32():
    layer = built(GroupNormalization(2, dtype="mixed_bfloat16"), 8)
    maps = tf.cast(drawn((1, 4, 4, 8), mean=300.0), tf.bfloat16)
    found = layer(maps)
    assert found.dtype == tf.bfloat16
    wanted = normalised(tf.cast(maps, tf.float32).numpy(), layer, 2)
    np.testing.assert_allclose(tf.cast(found, tf.float32), wanted, rtol=0.01, atol=0.01)


def test_without_scale_and_center():
    maps = drawn((1, 3, 4, 6))
    found = GroupNormalization(3, scale=False, center=False)(maps)
    np.testing.assert_allclose(found, keras.layers.GroupNormalization(3, scale=False, center=False)(maps), atol=1e-5)
