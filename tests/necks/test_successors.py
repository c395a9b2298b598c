"""The pyramids after FPN against their authors' own code (golden/make_necks.py): outputs and gradients; and by hand.

The same layers with the same weights, drawn by the names of our layers: a layer that the authors' code has not would be
left over, and one that ours has not would be missed.
"""

import functools
import importlib
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_fpn.necks.build import build_pyramid
from tests.conftest import GOLDEN

sys.path.insert(0, str(GOLDEN))
neck_draws = importlib.import_module("neck_draws")
sys.path.remove(str(GOLDEN))


@functools.cache
def drawn(case):
    """The pyramid of a case with drawn weights; and the maps that it reads."""
    maps = {f"C{k}": tf.constant(value) for k, value in neck_draws.maps(case).items()}
    channels = {level: value.shape[-1] for level, value in maps.items()}
    options = {"levels": neck_draws.levels_of(case)} | neck_draws.CASES[case]
    model = build_pyramid(channels, name=neck_draws.neck_of(case), **options)
    for layer in model.layers:
        for variable in layer.weights:
            variable.assign(neck_draws.variable(layer.name, variable.name, tuple(variable.shape)))
    return model, maps


@pytest.mark.parametrize("case", neck_draws.CASES)
def test_outputs_equal_the_authors(case, golden):
    model, maps = drawn(case)
    kept = golden(f"neck_{case}")
    outputs = model(maps, training=False)
    assert set(outputs) == set(kept.under("outputs"))
    for level, value in outputs.items():
        assert tuple(value.shape) == tuple(kept[f"shapes/{level}"])
        wanted = kept[f"outputs/{level}"]
        np.testing.assert_allclose(neck_draws.kept(value), wanted, atol=1e-4 * np.abs(wanted).mean(), rtol=1e-4)


@pytest.mark.parametrize("case", neck_draws.CASES)
def test_gradients_equal_the_authors(case, golden):
    model, maps = drawn(case)
    kept = golden(f"neck_{case}").under("gradients")
    with tf.GradientTape() as tape:
        tape.watch(maps)
        outputs = model(maps, training=False)
        weights = {level: neck_draws.weight_of_output(level, tuple(value.shape)) for level, value in outputs.items()}
        total = tf.add_n([tf.reduce_sum(outputs[level] * weights[level]) for level in outputs])
    watched = dict(maps)
    watched |= {
        f"{layer.name}/{variable.name}": variable for layer in model.layers for variable in layer.trainable_weights
    }
    found = dict(zip(watched, tape.gradient(total, list(watched.values())), strict=True))
    assert set(found) == set(kept)
    for name, gradient in found.items():
        ours, theirs = neck_draws.kept(gradient), kept[name]
        assert np.linalg.norm(ours - theirs) <= 1e-4 * np.linalg.norm(theirs), name


def plain(name, levels, channels_of, **options):
    """A pyramid of four channels whose every convolution is the identity."""
    model = build_pyramid(dict.fromkeys(channels_of, 4), levels, name=name, channels=4, **options)
    for layer in model.layers:
        for variable in layer.weights:
            value = np.zeros(variable.shape)
            if variable.name == "depthwise_kernel":
                value[1, 1] = 1
            elif variable.name.endswith("kernel"):
                value[value.shape[0] // 2, value.shape[1] // 2] = np.eye(4)
            if variable.name != "weights":
                variable.assign(value)
    return model


def of_constants(model, values):
    """`{level: the value in the middle}` of maps that are constant, of an image of 512 x 512."""
    sides = [128 >> number for number in range(len(values))]
    maps = zip(model.input, values, sides, strict=True)
    outputs = model({level: tf.fill([1, side, side, 4], float(value)) for level, value, side in maps})
    return {level: float(x[0, x.shape[1] // 2, x.shape[2] // 2, 0]) for level, x in outputs.items()}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # P2..P5 are 1111, 1110, 1100 and 1000; the last convolutions double. PANet: N3 = 2 (1111 + 1110), and so on.
        ("panet", {"P2": 1111, "P3": 4442, "P4": 11084, "P5": 24168, "P6": 24168}),
        # PAFPN hands on the sums before they are doubled.
        ("pafpn", {"P2": 1111, "P3": 4442, "P4": 6642, "P5": 8642, "P6": 8642}),
    ],
)
def test_what_goes_up_is_the_output_in_panet_and_the_sum_in_pafpn(name, expected):
    model = plain(name, ("P2", "P3", "P4", "P5", "P6"), ("C2", "C3", "C4", "C5"))
    for layer in model.layers:
        if layer.name.startswith("path_output"):
            layer.kernel.assign(2 * layer.kernel)
    assert of_constants(model, (1, 10, 100, 1000)) == expected


def test_a_cell_of_bifpn_by_hand():
    """Inputs 1, 2, 4, 8, 16, no swish: P6' = 24 / 2.0001, P5' = (4 + P6') / 2.0001 ... P7'' = (16 + P6'') / 2.0001."""
    levels = ("P3", "P4", "P5", "P6", "P7")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("keras.layers.Activation", lambda activation, name: keras.layers.Identity(name=name))
        model = plain("bifpn", levels, ("C3", "C4", "C5", "C6", "C7"), norm=None, repeats=1)
    expected = dict(zip(levels, (2.99955, 3.33287, 5.11055, 8.36971, 12.18424), strict=True))
    assert of_constants(model, (1, 2, 4, 8, 16)) == pytest.approx(expected, abs=1e-5)


def test_a_stack_of_nas_fpn_by_hand():
    """Inputs 0.1 to 0.5: cell 5 is 0.4 + 0.2 / (1 + exp(-0.4)), cell 6 that and 0.2, P3 cell 6 and 0.1, and so on."""
    levels = ("P3", "P4", "P5", "P6", "P7")
    model = plain("nas_fpn", levels, ("C3", "C4", "C5", "C6", "C7"), norm=None, repeats=1)
    expected = dict(zip(levels, (0.81974, 1.53948, 2.51444, 6.1329, 3.6803), strict=True))
    assert of_constants(model, (0.1, 0.2, 0.3, 0.4, 0.5)) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("weights", "normalisation", "expected"),
    [
        # (1 * 2 + 1 * 4) / 2.0001; of a weight below 0 nothing is left: 2 * 4 / 2.0001; e^2 / (e^-1 + e^2) = 0.9525741.
        ((1.0, 1.0), "fast", 2.999850),
        ((-1.0, 2.0), "fast", 3.999800),
        ((-1.0, 2.0), "softmax", 2 + 2 * 0.9525741),
    ],
)
def test_weights_of_a_sum(weights, normalisation, expected):
    from keras_fpn.layers.weighted_sum import WeightedSum

    layer = WeightedSum(normalisation)
    maps = [tf.fill([1, 1, 1, 1], 2.0), tf.fill([1, 1, 1, 1], 4.0)]
    layer(maps)
    layer.map_weights.assign(weights)
    assert float(layer(maps)[0, 0, 0, 0]) == pytest.approx(expected, abs=1e-6)


def test_an_unknown_normalisation_of_a_sum_is_refused():
    from keras_fpn.layers.weighted_sum import WeightedSum

    with pytest.raises(ValueError, match="normalisation must be one of fast, softmax, not 'slow'"):
        WeightedSum("slow")
