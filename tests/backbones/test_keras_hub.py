"""Backbones of KerasHub, from the folder of a preset; without KerasHub, what is told."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_fpn
from keras_fpn.config.loading import load_config
from keras_fpn.console import extras

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


@pytest.fixture(scope="module")
def hub():
    return pytest.importorskip("keras_hub", reason="the extra hub is not installed")


@pytest.fixture(scope="module")
def preset(hub, tmp_path_factory):
    """The folder of a small ResNet with its weights and the pixels that it expects."""
    folder = tmp_path_factory.mktemp("hub") / "small"
    backbone = hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 64, 64, 64],
        stackwise_num_blocks=[1, 1, 1, 1],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="basic_block",
    )
    backbone.save_to_preset(folder)
    scale, offset = [1 / std for std in STD], [-mean / std for mean, std in zip(MEAN, STD, strict=True)]
    hub.layers.ResNetImageConverter(image_size=(64, 64), scale=scale, offset=offset).save_to_preset(folder)
    return folder, backbone


def test_pixels_strides_and_channels_are_the_presets(preset):
    folder, backbone = preset
    config = load_config("tiny", [f"model.backbone.name=keras_hub:{folder}"])
    pixels = config.model.groups()["pixels"]
    assert pixels["channel_order"] == "RGB"
    np.testing.assert_allclose([pixels["mean"], pixels["std"]], [MEAN, STD], rtol=1e-5)
    model = keras_fpn.RPN(backbone={"name": f"keras_hub:{folder}", "weights": "preset"}, pyramid={"channels": 8})
    assert model.backbone.strides == {"C2": 4, "C3": 8, "C4": 16, "C5": 32}
    images = tf.random.stateless_normal([1, 64, 96, 3], [1, 2])
    maps, theirs = model.backbone(images), backbone.pyramid_outputs
    expected = keras_maps(backbone, theirs, images)
    assert maps.keys() == expected.keys()
    for level, each in maps.items():
        np.testing.assert_allclose(each, expected[level], atol=1e-5)


def keras_maps(backbone, outputs, images):
    network = keras.Model(backbone.input, outputs)
    return {f"C{level[1:]}": each for level, each in network(images, training=False).items()}


def test_it_learns_and_survives_a_file(preset, tmp_path):
    folder, _ = preset
    model = keras_fpn.RPN(backbone={"name": f"keras_hub:{folder}", "freeze_at": 3}, pyramid={"channels": 8})
    trained = {variable.path.partition("/")[0] for variable in model.backbone.trainable_variables}
    assert trained and not any(name.startswith(("conv1", "stack0", "stack1")) for name in trained)
    inputs = {"images": tf.zeros([1, 64, 64, 3]), "image_sizes": tf.constant([[64, 64]])}
    found = model(inputs)
    model.save(tmp_path / "model.keras")
    again = keras_fpn.load_model(tmp_path / "model.keras")(inputs)
    for name, value in found.items():
        np.testing.assert_allclose(again[name], value, atol=1e-5)


@pytest.mark.parametrize("name", ("no_such_preset", "resnet_18_imagnet"))
def test_a_preset_that_is_not_there_is_one_line(hub, name):
    with pytest.raises(keras_fpn.UserError, match=rf"backbone.name: keras_hub:{name} cannot be had \("):
        keras_fpn.RPN(backbone={"name": f"keras_hub:{name}"})


def test_one_without_pyramid_outputs_is_refused(hub, tmp_path):
    vit = hub.models.ViTBackbone(
        image_shape=(32, 32, 3), patch_size=16, num_layers=1, num_heads=1, hidden_dim=8, mlp_dim=8
    )
    vit.save_to_preset(tmp_path / "vit")
    with pytest.raises(keras_fpn.UserError, match="is a ViTBackbone, which has no pyramid outputs; choose another"):
        keras_fpn.RPN(backbone={"name": f"keras_hub:{tmp_path / 'vit'}"})


def test_without_kerashub_its_extra_is_named(monkeypatch):
    find = extras.importlib.util.find_spec
    monkeypatch.setattr(extras.importlib.util, "find_spec", lambda name: None if name == "keras_hub" else find(name))
    with pytest.raises(keras_fpn.UserError, match=r'keras-hub is not installed; pip install "keras-fpn\[hub\]"'):
        load_config("tiny", ["model.backbone.name=keras_hub:resnet_18_imagenet"])


@pytest.mark.parametrize("name", ("keras_hub:", "keras_hub", "kerashub:resnet_18_imagenet"))
def test_a_name_without_a_preset_is_unknown(name):
    with pytest.raises(keras_fpn.UserError, match="backbone"):
        load_config("tiny", [f"model.backbone.name={name}"])
