"""SGD and its schedule against torch (golden/make_optimizers.py); AdamW and the cosine by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_fpn.backbones import layer_groups
from keras_fpn.backbones.settings import layer_groups_of
from keras_fpn.config.loading import load_config
from keras_fpn.console.errors import UserError
from keras_fpn.models.optimizers import SGD, AdamW, WarmupMultiStep
from keras_fpn.training.schedule import Schedule, make_optimizer


def walk(golden, **settings):
    """The recorded gradients and learning rates, step by step: `[steps, parameters]`."""
    kept = golden("optimizers")
    variables = [keras.Variable(kept["start_0"]), keras.Variable(kept["start_1"])]
    optimizer = SGD(learning_rate=float(kept["rates"][0]), momentum=0.9, **settings)
    optimizer.build(variables)
    path = []
    for step, rate in enumerate(kept["rates"]):
        optimizer.learning_rate = float(rate)
        optimizer.apply(
            [tf.constant(kept["gradient_0"][step]), tf.constant(kept["gradient_1"][step])], variables
        )
        path.append(np.concatenate([np.ravel(variable) for variable in variables]))
    return np.array(path)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("path", {"weight_decay": 1e-2}),
        ("path_without_decay", {"weight_decay": 0.0}),
        ("path_clipped", {"weight_decay": 1e-2, "global_clipnorm": 1.5}),
    ],
)
def test_trajectory_equals_torch(golden, name, settings):
    # torch's clip_grad_norm_ divides by norm + 1e-6, TensorFlow's by the norm.
    np.testing.assert_allclose(walk(golden, **settings), golden("optimizers")[name], rtol=2e-5, atol=2e-6)


def three_steps(optimizer):
    weight = keras.Variable(1.0)
    for _ in range(3):
        optimizer.apply([tf.constant(0.0)], [weight])
    return float(weight)


def test_weight_decay_is_coupled():
    # torch.optim.SGD: w = 1, no gradient, rate .1, momentum .9, decay .01, three steps.
    ours = three_steps(SGD(learning_rate=0.1, momentum=0.9, weight_decay=0.01))
    np.testing.assert_allclose(ours, 0.994395, atol=1e-6)
    # What Keras' own would give, so that the number above is not met by accident.
    theirs = three_steps(keras.optimizers.SGD(learning_rate=0.1, momentum=0.9, weight_decay=0.01))
    np.testing.assert_allclose(theirs, 0.997003, atol=1e-6)


def test_schedule_equals_torch(golden):
    # LinearLR over 10 steps from 1/1000 times MultiStepLR at 20 and 26.
    schedule = WarmupMultiStep(0.02, warmup_steps=10, warmup_factor=1e-3, milestones=[20, 26])
    rates = [float(schedule(step)) for step in range(30)]
    np.testing.assert_allclose(rates, golden("optimizers")["schedule"], rtol=1e-5)


def test_schedule_without_warm_up_starts_at_its_base():
    schedule = WarmupMultiStep(0.02, warmup_steps=0, milestones=[3])
    np.testing.assert_allclose(
        [float(schedule(step)) for step in range(5)], [0.02] * 3 + [0.002] * 2, rtol=1e-6
    )


def test_schedule_drives_the_optimizer(golden):
    weight = keras.Variable(1.0)
    optimizer = SGD(WarmupMultiStep(0.1, warmup_steps=2, warmup_factor=0.5, milestones=[3]), 0.0, 0.0)
    path = []
    for _ in range(4):
        optimizer.apply([tf.constant(1.0)], [weight])
        path.append(float(weight))
    # Rates .05, .075, .1, .01.
    np.testing.assert_allclose(path, [0.95, 0.875, 0.775, 0.765], atol=1e-6)


@pytest.mark.parametrize(
    "make",
    (
        lambda: SGD(0.01, weight_decay=5e-4, global_clipnorm=2.0),
        lambda: SGD(WarmupMultiStep(0.1, 7, 0.1, [9], 0.5)),
    ),
)
def test_configuration_round_trip(make):
    optimizer = make()
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
    assert isinstance(again, SGD) and again.get_config() == optimizer.get_config()
    assert three_steps(again) == three_steps(optimizer)


def test_graph_equals_eager(golden):
    kept = golden("optimizers")
    variable = keras.Variable(kept["start_0"])
    optimizer = SGD(learning_rate=0.1, weight_decay=1e-2)
    optimizer.build([variable])
    step = tf.function(lambda gradient: optimizer.apply([gradient], [variable]))
    eager = keras.Variable(kept["start_0"])
    by_hand = SGD(learning_rate=0.1, weight_decay=1e-2)
    for gradient in kept["gradient_0"][:5]:
        step(tf.constant(gradient))
        by_hand.apply([tf.constant(gradient)], [eager])
    np.testing.assert_allclose(variable, eager, atol=1e-6)


def test_some_variables_can_be_spared_the_decay():
    layer = keras.layers.Dense(1, kernel_initializer="ones", bias_initializer="ones")
    layer.build((None, 1))
    optimizer = SGD(0.1, momentum=0.0, weight_decay=0.5, no_weight_decay=["bias"])
    optimizer.apply([tf.zeros([1, 1]), tf.zeros([1])], layer.trainable_variables)
    np.testing.assert_allclose([float(layer.kernel[0, 0]), float(layer.bias[0])], [0.95, 1.0], atol=1e-6)


def test_adamw_leaves_out_what_it_is_told_and_knows_it_from_its_configuration():
    """One step without a gradient: a decayed weight of 1 becomes 1 - 0.1 * 0.5, one that is left out stays."""
    for optimizer in (AdamW(0.1, 0.5, ["norm"]), AdamW.from_config(AdamW(0.1, 0.5, ["norm"]).get_config())):
        layers = [keras.layers.Dense(1, use_bias=False, name=name) for name in ("dense", "norm1")]
        for layer in layers:
            layer.build((None, 1))
            layer.kernel.assign([[1.0]])
        optimizer.apply([tf.zeros([1, 1])] * 2, [layer.kernel for layer in layers])
        np.testing.assert_allclose([float(layer.kernel[0, 0]) for layer in layers], [0.95, 1.0], rtol=1e-6)


@pytest.mark.parametrize("kind", [SGD, AdamW])
def test_layers_have_rates_of_their_own(kind):
    """The step of a layer with half the rate is half as long, its decay's, too."""
    optimizer = kind(0.1, weight_decay=0.5, layer_rates={"block_1_.*": 0.5})
    again = kind.from_config(optimizer.get_config())
    for each in (optimizer, again):
        layers = [keras.layers.Dense(1, use_bias=False, name=name) for name in ("block_0_mlp", "block_1_mlp")]
        for layer in layers:
            layer.build((None, 1))
            layer.kernel.assign([[1.0]])
        each.apply([tf.ones([1, 1])] * 2, [layer.kernel for layer in layers])
        steps = [1.0 - float(layer.kernel[0, 0]) for layer in layers]
        # SGD: 0.1 (1 + 0.5 * 1). AdamW: its first step is the rate, and 0.1 * 0.5 * 1 decays.
        np.testing.assert_allclose(steps, [0.15, 0.075], rtol=1e-5)


def test_rates_fall_towards_the_image_as_the_authors_have_it():
    """detectron2's get_vit_lr_decay_rate: 0.7^13 for the patches, 0.7^12 for block 0, ... 0.7 for block 11.

    ConvNeXt's layer_decay_optimizer_constructor.py, six layers of the tiny one: stem 0, res2 1, res3 2, blocks of
    res4 3, 4, 5, res5 6, all others 7.
    """
    vit = layer_groups.rates(layer_groups_of("vit_b"), 0.7)
    found = [layer_groups.rate_of(f"{layer}/kernel", vit) for layer in ("patch_embedding", "position_embedding")]
    found += [layer_groups.rate_of(f"block_{number}_norm1/gamma", vit) for number in range(12)]
    np.testing.assert_allclose(found, [0.7**13] * 2 + [0.7 ** (12 - number) for number in range(12)])
    layers = (
        "stem_conv", "res2_2_mlp1", "res3_downsample_conv", "res3_0_norm", "res4_downsample_norm", "res4_2_scale",
        "res4_3_depthwise", "res4_8_mlp2", "res5_downsample_conv", "res5_2_norm", "norm_C2", "lateral_C2",
    )  # fmt: skip
    ids = (0, 1, 2, 2, 3, 3, 4, 5, 6, 6, 7, 7)
    convnext = layer_groups.rates(layer_groups_of("convnext_tiny"), 0.95)
    found = [layer_groups.rate_of(f"{layer}/kernel", convnext) for layer in layers]
    np.testing.assert_allclose(found, [0.95 ** (7 - number) for number in ids])
    assert len(layer_groups_of("convnext_base")) == 13  # twelve layers there, and the stem


def test_adamw_equals_torchs():
    """torch.optim.AdamW, lr 0.1, weight_decay 0.5, from 1: gradients 1, -2, 3 (noted from torch 2.14.1)."""
    weight, found = keras.Variable(1.0), []
    optimizer = AdamW(0.1, 0.5, epsilon=1e-8)
    for gradient in (1.0, -2.0, 3.0):
        optimizer.apply([tf.constant(gradient)], [weight])
        found.append(float(weight))
    np.testing.assert_allclose(found, [0.85, 0.8441104, 0.7675807], rtol=1e-6)


def test_the_layers_of_a_resnet_are_in_no_groups():
    message = r"training.layer_decay: the layers of resnet18 are in no groups; those of .*convnext_tiny"
    with pytest.raises(UserError, match=message):
        load_config("tiny", ["training.layer_decay=0.9"])


@pytest.mark.parametrize("warmup", [0, 10])
def test_the_rate_falls_along_half_a_wave(warmup):
    """Of 110 steps, 10 of warm-up: base in the middle of them is half of it, at the 60th of the rest 0.5 (1 + cos)."""
    overrides = ["training.schedule=cosine", f"training.warmup_steps={warmup}", "training.learning_rate=0.2"]
    config = load_config("tiny", [*overrides, "training.warmup_factor=0.1", "training.optimizer=adamw"])
    optimizer = make_optimizer(config, Schedule(100 + warmup, 10))
    rates = [float(optimizer._learning_rate(step)) for step in (0, warmup // 2, warmup, warmup + 60, warmup + 100)]
    expected = [0.02 if warmup else 0.2, 0.11 if warmup else 0.2, 0.2, 0.1 * (1 + np.cos(0.6 * np.pi)), 0.0]
    np.testing.assert_allclose(rates, expected, atol=1e-6)
