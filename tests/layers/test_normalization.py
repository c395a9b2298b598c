"""Batch normalisation by given statistics against its formula in float64, in training and in inference."""

import subprocess
import sys
import textwrap
import typing

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_fpn
from keras_fpn.layers.normalization import (
    NORMS,
    BatchNormalization,
    FrozenBatchNormalization,
    MaskedBatchNormalization,
    build_norm,
)
from keras_fpn.parts.settings import Norm

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


# --- Each kind wherever a normalisation can be chosen

PLACES = {
    "backbone": lambda kind: {"backbone": {"name": "resnet18", "width": 8, "freeze_at": 0, "norm": kind}},
    "depthwise": lambda kind: {"backbone": {"name": "mobilenet_v3_large", "freeze_at": 0, "norm": kind}},
    "pyramid": lambda kind: {"pyramid": {"channels": 8, "norm": kind}},
    "box_head": lambda kind: {"box_head": {"conv_layers": 1, "conv_channels": 8, "units": 8, "norm": kind}},
}
CLASSES = {
    "frozen_batch_norm": "FrozenBatchNormalization",
    "batch_norm": "BatchNormalization",
    "sync_batch_norm": "BatchNormalization",
    "group_norm": "GroupNormalization",
    "layer_norm": "LayerNormalization",
}


@pytest.mark.parametrize("kind", NORMS)
@pytest.mark.parametrize("place", PLACES)
def test_each_kind_in_each_place(place, kind, tiny_settings):
    """A training step: losses are finite, and every normalisation is of the kind that was asked for."""
    model = keras_fpn.FasterRCNN(**tiny_settings() | PLACES[place](kind))
    part = getattr(model, "backbone" if place == "depthwise" else place)
    found = [layer for layer in part._flatten_layers() if type(layer).__name__ in CLASSES.values()]
    assert found and {type(layer).__name__ for layer in found} == {CLASSES[kind]}
    assert all(layer.synchronized == (kind == "sync_batch_norm") for layer in found if hasattr(layer, "synchronized"))
    images = tf.random.stateless_uniform([2, 64, 96, 3], [1, 2]) * 255
    inputs = {"images": images, "image_sizes": tf.constant([[64, 96], [50, 70]])}
    boxes = tf.constant([[[10.0, 12, 40, 44]], [[20.0, 30, 60, 50]]])
    targets = {"boxes": boxes, "classes": tf.constant([[0], [1]])}
    losses, _ = model.training_losses(inputs, targets, tf.zeros([2], tf.int64), training=True)
    assert all(np.isfinite(float(value)) for value in losses.values())


@pytest.mark.parametrize(("channels", "groups"), [(64, 32), (24, 8), (5, 1)])
def test_groups_divide_the_channels(channels, groups):
    layer = build_norm("group_norm", 1e-5, "norm")
    layer.build((None, None, None, channels))
    assert layer.groups == groups


def test_the_kinds_of_the_settings_are_those_that_can_be_built():
    assert set(typing.get_args(Norm)) == set(NORMS)


# In a process of its own: devices are divided before TensorFlow first looks at them.
TWO_DEVICES = """
    import numpy as np, tensorflow as tf
    from keras_fpn.layers.normalization import build_norm

    halves = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], halves)
    rng = np.random.default_rng(0)
    scales = np.arange(1, 7)[:, None, None, None]
    maps = (rng.normal(1.0, 2.0, (6, 4, 5, 8)) * scales).astype(np.float32)
    counts = rng.random((6, 4, 5)) < 0.6
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    for given in (None, counts):
        alone = build_norm("batch_norm", 1e-5, "alone")
        wanted = alone(maps, training=True, mask=given)
        with strategy.scope():
            norm = build_norm("sync_batch_norm", 1e-5, "together")
            norm.build(maps.shape)

        def step(maps, given=None):
            return norm(maps, training=True, mask=given)

        def halves_of(value):
            take = lambda context: tf.constant(np.split(value, [2])[context.replica_id_in_sync_group])
            return strategy.experimental_distribute_values_from_function(take)

        arguments = [halves_of(maps)] + ([] if given is None else [halves_of(given)])
        found = tf.concat(strategy.experimental_local_results(strategy.run(step, arguments)), 0)
        np.testing.assert_allclose(found, wanted, atol=1e-5)
        for ours, theirs in zip(norm.variables, alone.variables, strict=True):
            np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-5, atol=1e-6)
    print("alike")
"""


@pytest.mark.slow
def test_the_batches_of_two_devices_are_one():
    """Two maps on one device and four on the other, all of them or without some vectors: as if all were on one."""
    arguments = [sys.executable, "-c", textwrap.dedent(TWO_DEVICES)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.endswith("alike\n"), done.stderr[-2000:]
