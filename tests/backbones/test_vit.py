"""ViT and the simple pyramid against detectron2's ViTDet (golden/make_vit.py), by its names of tensors; and by hand."""

import importlib
import json
import sys

import numpy as np
import pytest
import tensorflow as tf

import keras_fpn
from keras_fpn.checkpoints.entries import entries
from keras_fpn.layers.decomposed_attention import DecomposedAttention
from keras_fpn.layers.position_embedding import PositionEmbedding
from keras_fpn.ops.interpolation import cubic_weights, linear_weights
from tests.backbones import kept_gradients
from tests.conftest import GOLDEN

sys.path.insert(0, str(GOLDEN))
backbone_draws = importlib.import_module("backbone_draws")
sys.path.remove(str(GOLDEN))

PREFIX = "backbone."


@pytest.fixture(scope="module")
def filled(golden):
    """`(what was kept, detector, {detectron2's name: Entry})`."""
    kept = golden("vit_b").arrays
    model = keras_fpn.RPN(backbone={"name": "vit_b", "drop_path": 0.1}, pyramid={"name": "simple_pyramid"})
    shapes = json.loads(str(kept["tensors"]))
    found = {}
    for entry in entries(model, "detectron2"):
        if entry.name.startswith(PREFIX):
            name = entry.name.removeprefix(PREFIX)
            entry.variable.assign(entry.transform.to_ours(backbone_draws.weight(name, tuple(shapes[name]))))
            found[name] = entry
    return kept, model, found


def test_every_tensor_is_a_variable(filled):
    kept, model, found = filled
    shapes = json.loads(str(kept["tensors"]))
    assert {name: list(entry.shape) for name, entry in found.items()} == shapes
    for name, entry in found.items():
        back = entry.transform.to_source(entry.variable.numpy())
        np.testing.assert_array_equal(back, backbone_draws.weight(name, tuple(shapes[name])), err_msg=name)


def test_levels_and_gradients_equal_detectron2(filled):
    kept, model, found = filled
    images = tf.constant(backbone_draws.images(backbone_draws.VIT_IMAGES).transpose(0, 2, 3, 1))
    watched = kept_gradients.watched(kept)
    assert len(watched) == 13
    with tf.GradientTape() as tape:
        tape.watch(images)
        levels = model.pyramid(model.backbone(images, training=False), training=False)
        weights = {level: backbone_draws.weight_of_tap(level, tuple(maps.shape)) for level, maps in levels.items()}
        total = tf.add_n([tf.reduce_sum(levels[level] * weights[level]) for level in levels])
    for level, maps in levels.items():
        assert tuple(maps.shape) == tuple(kept[f"shapes/{level}"])
        np.testing.assert_allclose(backbone_draws.kept(maps), kept[f"levels/{level}"], atol=1e-4, rtol=1e-4)
    gradients = tape.gradient(total, [images, *(found[key].variable for key in watched)])
    kept_gradients.assert_same(kept, backbone_draws.kept, found, watched, gradients)


def test_a_map_of_the_tables_own_side_reads_them_as_they_are():
    """By the formula, q k / sqrt(d) + q R_h[row] + q R_w[column], cell by cell; one head of two channels, 2 x 3."""
    layer = DecomposedAttention(1, 0, side=2)
    layer.build((None, None, None, 2))
    random = np.random.default_rng(0)
    for variable in layer.weights:
        variable.assign(random.normal(size=variable.shape))
    maps = random.normal(size=(1, 2, 2, 2)).astype(np.float32)
    query, key, value = np.split(maps.reshape(4, 2) @ layer.qkv.kernel.numpy() + layer.qkv.bias.numpy(), 3, -1)
    rows, columns = layer.rows_table.numpy(), layer.columns_table.numpy()
    said = query @ key.T / np.sqrt(2)
    for i in range(4):
        for j in range(4):
            said[i, j] += query[i] @ (rows[i // 2 - j // 2 + 1] + columns[i % 2 - j % 2 + 1])
    said = np.exp(said) / np.exp(said).sum(-1, keepdims=True)
    expected = said @ value @ layer.projection.kernel.numpy() + layer.projection.bias.numpy()
    np.testing.assert_allclose(layer(maps).numpy().reshape(4, 2), expected, atol=1e-5)


@pytest.mark.parametrize(
    "kind, arguments", ((DecomposedAttention, (2, 3)), (DecomposedAttention, (2, 0, 4)), (PositionEmbedding, (3,)))
)
@pytest.mark.parametrize("sides", ((3, 3), (4, 4), (5, 2)))
def test_graphs_of_any_size_give_what_those_of_one_size_give(kind, arguments, sides):
    layer, random = kind(*arguments), np.random.default_rng(0)
    maps = random.normal(size=(2, *sides, 4)).astype(np.float32)
    layer.build((None, None, None, 4))
    for variable in layer.weights:
        variable.assign(random.normal(size=variable.shape))
    of_any = tf.function(layer.call, input_signature=[tf.TensorSpec([None, None, None, 4])])
    np.testing.assert_allclose(of_any(maps), layer(maps), atol=1e-5)


def test_lengths_are_changed_as_torch_does():
    """`torch.nn.functional.interpolate(..., align_corners=False)`, linear and bicubic, noted from torch 2.14.1."""
    np.testing.assert_allclose(linear_weights(2, 3) @ [[0.0], [1.0]], [[0.0], [0.5], [1.0]], atol=1e-6)
    rows = cubic_weights(2, 3) @ [[0.0, 1.0], [2.0, 3.0]] @ tf.transpose(cubic_weights(2, 3))
    np.testing.assert_allclose(rows[0], [-0.2604, 0.3264, 0.9132], atol=1e-4)
    np.testing.assert_allclose(cubic_weights(5, 5), np.eye(5), atol=1e-6)
    np.testing.assert_allclose(linear_weights(5, 5), np.eye(5), atol=1e-6)


def test_a_map_alone_has_no_fpn():
    with pytest.raises(keras_fpn.UserError, match=r"the backbone gives C4 alone; .*pyramid.name=simple_pyramid"):
        keras_fpn.RPN(backbone={"name": "vit_b"})
    with pytest.raises(keras_fpn.UserError, match="simple_pyramid begins at P5 or finer; not at P6"):
        pyramid = {"name": "simple_pyramid", "levels": ["P6", "P7"]}
        keras_fpn.RPN(backbone={"name": "vit_b"}, pyramid=pyramid, anchors={"sizes": {"P6": [256], "P7": [512]}})
