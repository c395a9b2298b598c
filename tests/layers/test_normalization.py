"""Batch normalisation by given statistics against its formula in float64, in training and in inference."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_fpn.layers.normalization import (
    BatchNormalization,
    FrozenBatchNormalization,
    MaskedBatchNormalization,
)

CHANNELS = 6


def drawn(shape=(2, 3, 5, CHANNELS)):
    return np.random.default_rng(0).normal(2.0, 3.0, shape).astype(np.float32)


def built(make, **options):
    """A layer with drawn vectors, the variances down to 1e-4 so that epsilon tells."""
    layer = make(**options)
    layer.build((None, None, None, CHANNELS))
    random = np.random.default_rng(1)
    for weight in layer.weights:
        is_variance = weight.path.endswith("variance")
        drawn = 10.0 ** random.uniform(-4, 1, CHANNELS) if is_variance else random.normal(size=CHANNELS)
        weight.assign(drawn.astype(np.float32))
    return layer


def formula(maps, layer):
    vectors = (layer.gamma, layer.beta, layer.moving_mean, layer.moving_variance)
    gamma, beta, mean, variance = (np.asarray(vector, np.float64) for vector in vectors)
    return (maps.astype(np.float64) - mean) / np.sqrt(variance + layer.epsilon) * gamma + beta


def given(layer, maps):
    """Arguments of a call; a mask says which maps count where the layer wants one."""
    return (maps, tf.ones([len(maps), 1, 1], bool)) if isinstance(layer, MaskedBatchNormalization) else (maps,)


LAYERS = (FrozenBatchNormalization, BatchNormalization, MaskedBatchNormalization)


@pytest.mark.parametrize("epsilon", [0.0, 1e-5, 1e-3])
@pytest.mark.parametrize("make", LAYERS)
@pytest.mark.parametrize("shape", [(2, 3, 5, CHANNELS), (0, 3, 5, CHANNELS)], ids=str)
def test_inference_follows_the_formula(make, epsilon, shape):
    """torchvision's first COCO weights have an epsilon of 0; of no RoIs there are no maps."""
    maps, layer = drawn(shape), built(make, epsilon=epsilon)
    wanted = formula(maps, layer)
    atol = 1e-5 * np.abs(wanted).max(initial=1)
    np.testing.assert_allclose(layer(*given(layer, maps), training=False), wanted, rtol=1e-5, atol=atol)


def test_a_frozen_layer_takes_vectors_too():
    maps, layer = drawn((4, CHANNELS)), built(FrozenBatchNormalization)
    np.testing.assert_allclose(layer(maps, training=False), formula(maps, layer), rtol=1e-5, atol=1e-3)


def test_frozen_training_follows_the_formula_too():
    maps, layer = drawn(), built(FrozenBatchNormalization)
    np.testing.assert_allclose(layer(maps, training=True), formula(maps, layer), rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("make", LAYERS)
def test_what_is_not_trained_is_normalised_by_its_statistics_in_training(make):
    maps, layer = drawn(), built(make)
    layer.trainable = False
    before = layer.get_weights()
    np.testing.assert_allclose(layer(*given(layer, maps), training=True), formula(maps, layer), rtol=1e-5, atol=1e-3)
    for old, new in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("make", LAYERS)
def test_double_precision_stays_double(make):
    maps, layer = drawn().astype(np.float64), built(make, dtype="float64")
    found = layer(*given(layer, maps), training=False)
    assert found.dtype == tf.float64
    np.testing.assert_allclose(found, formula(maps, layer), rtol=1e-12)


@pytest.mark.parametrize("make", LAYERS)
def test_half_precision_is_computed_in_float32(make):
    layer = built(make, dtype="mixed_bfloat16")
    maps = tf.cast(drawn(), tf.bfloat16)
    found = layer(*given(layer, maps), training=False)
    assert found.dtype == tf.bfloat16
    wanted = formula(tf.cast(maps, tf.float32).numpy(), layer)
    np.testing.assert_allclose(tf.cast(found, tf.float32), wanted, rtol=0.01, atol=0.01 * np.abs(wanted).max())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("make, training", [(*LAYERS[:1], True), (*LAYERS[:1], False), (*LAYERS[1:2], False)])
def test_gradients_of_given_statistics_are_those_of_the_formula(make, training, dtype):
    layer = built(make, epsilon=1e-5, dtype=dtype)
    maps = tf.constant(drawn(), dtype)
    with tf.GradientTape() as tape:
        tape.watch(maps)
        loss = tf.reduce_sum(tf.sin(layer(maps, training=training)))
    scale = np.asarray(layer.gamma, np.float64) / np.sqrt(np.asarray(layer.moving_variance, np.float64) + 1e-5)
    wanted = np.cos(formula(maps.numpy(), layer)) * scale
    np.testing.assert_allclose(tape.gradient(loss, maps), wanted, rtol=1e-3, atol=1e-4 * np.abs(wanted).max())


def test_a_live_layer_trains_as_that_of_keras():
    maps = drawn()
    ours, theirs = built(BatchNormalization, momentum=0.9), built(keras.layers.BatchNormalization, momentum=0.9)
    np.testing.assert_array_equal(ours(maps, training=True), theirs(maps, training=True))
    for own, keras_own in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(own, keras_own)


TAKEN_IN = [(FrozenBatchNormalization, True), (FrozenBatchNormalization, False), (BatchNormalization, False)]


@pytest.mark.parametrize("make, training", TAKEN_IN)
def test_a_map_is_gone_over_once(make, training):
    """A product and a sum would each go over it again, and no convolution before could take them in."""
    layer = built(make)
    infer = tf.function(lambda maps: layer(maps, training=training))
    operations = [node.op for node in infer.get_concrete_function(tf.constant(drawn())).graph.as_graph_def().node]
    assert operations.count("FusedBatchNormV3") == 1 and not {"Mul", "AddV2"} & set(operations)
