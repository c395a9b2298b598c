"""Swin and ConvNeXt against torchvision (golden/make_backbones.py), by files of its classifiers; and by hand."""

import importlib
import json
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_fpn.backbones.build import build_backbone
from keras_fpn.checkpoints import torchvision
from keras_fpn.checkpoints.conversion import convert
from keras_fpn.layers.patch_merging import PatchMerging
from keras_fpn.layers.stochastic_depth import StochasticDepth
from keras_fpn.layers.window_attention import WindowAttention, relative_positions
from tests.backbones import kept_gradients
from tests.conftest import GOLDEN

sys.path.insert(0, str(GOLDEN))
backbone_draws = importlib.import_module("backbone_draws")
sys.path.remove(str(GOLDEN))

NAMES = ("swin_t", "convnext_tiny")
# Of torchvision's models, less the classifier's end (1000 x 769 weights and a norm of 768), and four norms of the taps.
WEIGHTS = {"swin_t": 28_288_354 - 770_536 + 2_880, "convnext_tiny": 28_589_128 - 770_536 + 2_880}


@pytest.fixture(scope="module", params=NAMES)
def converted(request, golden, tmp_path_factory):
    """`(name, what was kept, the Conversion of a file of torchvision's tensors)`."""
    kept = golden(f"backbone_{request.param}").arrays
    shapes = json.loads(str(kept["tensors"]))
    tensors = {name: backbone_draws.weight(name, tuple(shape)) for name, shape in shapes.items()}
    file = tmp_path_factory.mktemp("backbone") / "classifier.npz"
    np.savez(file, **tensors)
    return request.param, kept, convert(file)


def test_a_file_of_torchvisions_is_recognised(converted):
    name, _, conversion = converted
    assert conversion.identity.settings == {"model.backbone.name": name}
    layers = [layer for layer in conversion.model.layers if not isinstance(layer, StochasticDepth)]
    assert sum(layer.count_params() for layer in layers) == WEIGHTS[name]


def test_taps_and_gradients_equal_torchvision(converted):
    name, kept, conversion = converted
    model = conversion.model
    images = tf.constant(backbone_draws.images().transpose(0, 2, 3, 1))
    with tf.GradientTape() as tape:
        tape.watch(images)
        taps = model(images, training=False)
        weights = {level: backbone_draws.weight_of_tap(level, tuple(tap.shape)) for level, tap in taps.items()}
        total = tf.add_n([tf.reduce_sum(taps[level] * weights[level]) for level in taps])
    for level, tap in taps.items():
        assert tuple(tap.shape) == tuple(kept[f"shapes/{level}"])
        np.testing.assert_allclose(backbone_draws.kept(tap), kept[f"taps/{level}"], atol=1e-4, rtol=1e-4)
    entries = {entry.name: entry for entry in torchvision.backbone_entries(model)}
    watched = kept_gradients.watched(kept)
    assert len(watched) == 6
    found = tape.gradient(total, [images, *(entries[key].variable for key in watched)])
    kept_gradients.assert_same(kept, backbone_draws.kept, entries, watched, found)


def test_tensors_go_back_bit_for_bit(converted):
    name, kept, conversion = converted
    shapes = json.loads(str(kept["tensors"]))
    entries = {entry.name: entry for entry in torchvision.backbone_entries(conversion.model)}
    assert set(entries) == {key for key in shapes if not torchvision.is_ignored(key)}
    for key, entry in entries.items():
        tensor = entry.transform.to_source(entry.variable.numpy())
        np.testing.assert_array_equal(tensor, backbone_draws.weight(key, tuple(shapes[key])), err_msg=key)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_frozen_is_not_trained(name):
    model = build_backbone({"name": name, "freeze_at": 3})
    trained = {layer.name.split("_")[0] for layer in model.layers if layer.trainable_weights}
    assert trained == {"res4", "res5", "norm"}


@pytest.mark.parametrize("name", NAMES)
def test_branches_are_left_out_in_training_alone(name):
    keras.utils.set_random_seed(1)
    model = build_backbone({"name": name, "drop_path": 0.5})
    rates = [layer.rate for layer in model.layers if isinstance(layer, StochasticDepth)]
    depth = 12 if name == "swin_t" else 18
    branches = 2 if name == "swin_t" else 1
    np.testing.assert_allclose(rates[::branches], np.linspace(0, 0.5, depth)[1:])
    images = tf.random.stateless_normal([2, 64, 64, 3], [1, 2])
    first, second = (model(images, training=False)["C5"] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    first, second = (model(images, training=True)["C5"] for _ in range(2))
    assert np.abs(first - second).max() > 0.01


def test_what_is_left_out_goes_on_from_a_file(tmp_path):
    """A run that is resumed after two steps draws in the third what it would have drawn."""
    first = keras.Sequential([keras.Input((2, 2, 1)), StochasticDepth(0.5, name="drop")])
    maps = tf.ones([64, 2, 2, 1])
    drawn = [first(maps, training=True).numpy() for _ in range(2)]
    first.save(tmp_path / "model.keras")
    third = first(maps, training=True).numpy()
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(maps, training=True), third)
    assert not np.array_equal(drawn[0], drawn[1]) and not np.array_equal(drawn[1], third)
    assert set(np.unique(third)) == {0.0, 2.0} and abs(third.mean() - 1.0) < 0.5


def test_relative_positions_by_hand():
    # Of a window of 7, whose table has 13 rows a side: 6 * 13 + 6 = 84 for a cell and itself.
    places = relative_positions(7)
    assert [places[0, 0], places[0, 1], places[0, 7], places[0, 48], places[48, 0]] == [84, 83, 71, 0, 168]


@pytest.mark.parametrize(("side", "cell", "expected"), [(4, (0, 0), [0, 4, 1, 5]), (5, (2, 2), [24, 0, 0, 0])])
def test_merging_goes_down_the_columns_and_pads_with_zeros(side, cell, expected):
    maps = tf.reshape(tf.range(float(side * side)), [1, side, side, 1])
    assert PatchMerging()(maps)[0, cell[0], cell[1]].numpy().tolist() == expected


@pytest.mark.parametrize("sides", [(14, 21), (13, 9), (5, 20), (7, 7)])
@pytest.mark.parametrize("shift", [0, 3])
def test_attention_of_unknown_sides_is_that_of_known_ones(sides, shift):
    layer = WindowAttention(2, 7, shift)
    maps = tf.random.stateless_normal([2, *sides, 8], [1, 2])
    expected = layer(maps)
    graph = tf.function(layer, input_signature=[tf.TensorSpec([None, None, None, 8])])
    np.testing.assert_allclose(graph(maps), expected, atol=1e-6)


def test_windows_that_come_round_are_kept_apart():
    """A map of two windows a side, one cell of which changes: only cells of its own region hear it."""
    layer = WindowAttention(1, 7, 3)
    maps = tf.random.stateless_normal([1, 14, 14, 4], [1, 2])
    changed = tf.tensor_scatter_nd_add(maps, [[0, 0, 0, 1]], [50.0])
    heard = np.abs(layer(changed) - layer(maps))[0].max(-1) > 1e-4
    # Rolled by 3, rows and columns 0 to 2 are the last of the last window, apart from what stood at the end.
    expected = np.zeros((14, 14), bool)
    expected[:3, :3] = True
    np.testing.assert_array_equal(heard, expected)
