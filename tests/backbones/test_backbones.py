"""ResNets against torchvision (golden/make_networks.py), and the taps of keras.applications."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_fpn.backbones.build import build_backbone
from keras_fpn.console.errors import UserError
from keras_fpn.layers.normalization import FrozenBatchNormalization

LEVELS = ("C2", "C3", "C4", "C5")
PARTS = {"conv": "conv", "norm": "bn", "shortcut_conv": "downsample.0", "shortcut_norm": "downsample.1"}
STATISTICS = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def settings(name, **changes):
    plain = {
        "name": name,
        "stride_in": "3x3",
        "norm": "frozen_batch_norm",
        "norm_epsilon": 1e-5,
        "freeze_at": 2,
    }
    return plain | {"width": 64, "weights": None} | changes


def torch_name(layer):
    """torchvision's name of a layer, such as "layer2.0.conv2" of "res3_0_conv2"."""
    if layer.startswith("stem_"):
        return {"stem_conv": "conv1", "stem_norm": "bn1"}[layer]
    pattern = r"res(\d)_(\d+)_(conv|norm|shortcut_conv|shortcut_norm)(\d?)"
    stage, block, part, number = re.fullmatch(pattern, layer).groups()
    return f"layer{int(stage) - 1}.{block}.{PARTS[part]}{number}"


def give_drawn_weights(model, draws, prefix):
    for layer in model.layers:
        for variable in layer.variables:
            name = prefix + torch_name(layer.name)
            if isinstance(layer, keras.layers.Conv2D):
                kh, kw, inputs, outputs = variable.shape
                value = draws.weight(f"{name}.weight", (outputs, inputs, kh, kw)).transpose(2, 3, 1, 0)
            else:
                value = draws.weight(f"{name}.{STATISTICS[variable.name]}", tuple(variable.shape))
            variable.assign(value)
    return model


def drawn_images(golden, draws):
    images = draws.normal("backbone/images", tuple(map(int, golden("networks")["backbone/shape"])))
    np.testing.assert_array_equal(images[0, 0, 0, :8], golden("networks")["backbone/fingerprint"])
    return tf.constant(images.transpose(0, 2, 3, 1))


def check_taps(taps, golden, name, stride_in):
    for level in LEVELS:
        kept = golden("networks")[f"backbone/{name}/{stride_in}/{level}"]
        mean = golden("networks")[f"backbone/{name}/{stride_in}/{level}/mean"]
        value = taps[level].numpy()
        np.testing.assert_allclose(value[:, ::3, ::2, ::7], kept, rtol=1e-4, atol=1e-4 * float(mean))
        np.testing.assert_allclose(np.abs(value).mean(), mean, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "stride_in"), [("resnet50", "3x3"), ("resnet50", "first_1x1"), ("resnet18", "3x3")]
)
def test_frozen_taps_equal_torchvision(golden, draws, name, stride_in):
    model = give_drawn_weights(build_backbone(settings(name, stride_in=stride_in)), draws, f"{name}.")
    check_taps(model(drawn_images(golden, draws)), golden, name, stride_in)


def test_live_normalisation_has_the_same_weights_and_inference(golden, draws):
    model = give_drawn_weights(build_backbone(settings("resnet18", norm="batch_norm")), draws, "resnet18.")
    check_taps(model(drawn_images(golden, draws), training=False), golden, "resnet18", "3x3")


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        # torchvision's model pages (num_params), less the final layer of 1000 classes.
        ("resnet18", 11_176_512),
        ("resnet34", 21_284_672),
        ("resnet50", 23_508_032),
        pytest.param("resnet101", 42_500_160, marks=pytest.mark.slow),
        pytest.param("resnet152", 58_143_808, marks=pytest.mark.slow),
        ("resnext50_32x4d", 22_979_904),
        pytest.param("resnext101_32x8d", 86_742_336, marks=pytest.mark.slow),
        pytest.param("resnext101_64x4d", 81_406_272, marks=pytest.mark.slow),
    ],
)
def test_number_of_parameters(name, parameters):
    model = build_backbone(settings(name))
    statistics = sum(
        int(np.prod(v.shape))
        for layer in model.layers
        for v in layer.variables
        if v.name.startswith("moving_")
    )
    assert model.count_params() - statistics == parameters


@pytest.mark.parametrize("size", ((64, 96), (65, 97), (33, 50)))
def test_taps_have_strides_4_to_32_rounded_up(size):
    taps = build_backbone(settings("resnet18", width=4))(tf.zeros([1, *size, 3]))
    assert list(taps) == list(LEVELS)
    for level, stride in zip(LEVELS, (4, 8, 16, 32), strict=True):
        assert taps[level].shape[1:3] == (-(-size[0] // stride), -(-size[1] // stride))


def test_strides_are_declared():
    assert build_backbone(settings("resnet18", width=4)).strides == {"C2": 4, "C3": 8, "C4": 16, "C5": 32}


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnext50_32x4d"])
def test_a_dilated_res5_has_the_stride_of_c4_in_every_block(name):
    """detectron2's DC5 (modeling/backbone/resnet.py): dilation 2 in all blocks of res5, the first has no stride."""
    plain, dilated = (build_backbone(settings(name, width=16, res5_dilation=number)) for number in (1, 2))
    assert dilated.strides == {"C2": 4, "C3": 8, "C4": 16, "C5": 16}
    taps = dilated(tf.zeros([1, 65, 97, 3]))
    assert taps["C5"].shape[1:3] == taps["C4"].shape[1:3] == (5, 7)
    rates = {
        layer.name: layer.dilation_rate[0]
        for layer in dilated.layers
        if isinstance(layer, keras.layers.Conv2D) and layer.kernel_size == (3, 3)
    }
    assert {rate for name, rate in rates.items() if name.startswith("res5_")} == {2}
    assert {rate for name, rate in rates.items() if not name.startswith("res5_")} == {1}
    assert [each.shape for each in plain.weights] == [each.shape for each in dilated.weights]


# --- by hand: TensorFlow's padding, Keras' batch normalisation


def test_padding_is_symmetric_at_stride_2():
    # arange(36) as 6 x 6, a 3 x 3 of ones at stride 2: torch's padding of 1 gives 0 + 1 + 6 + 7 = 14 at the
    # origin, TensorFlow's SAME 63.
    model = build_backbone(settings("resnet18", width=1))
    convolution = model.get_layer("res3_0_conv1")
    part = keras.Model(model.output["C2"], convolution.output)
    convolution.set_weights([np.ones_like(convolution.get_weights()[0])])
    six = tf.reshape(tf.range(36.0), [1, 6, 6, 1])
    assert part(six)[0, 0, 0, 0] == 14


def test_max_pooling_is_padded_symmetrically():
    model = build_backbone(settings("resnet18", width=1))
    pool = next(layer for layer in model.layers if isinstance(layer, keras.layers.MaxPooling2D))
    after_stem = next(layer for layer in model.layers if layer.name == "stem_norm_relu")
    part = keras.Model(after_stem.output, pool.output)
    assert part(tf.reshape(tf.range(36.0), [1, 6, 6, 1]))[0, 0, 0, 0] == 7  # SAME: 14


def scaled_ones(epsilon, variance):
    layer = FrozenBatchNormalization(epsilon=epsilon)
    layer.build((None, 1))
    layer.moving_variance.assign([variance])
    return float(layer(tf.ones([1, 1]))[0, 0])


def test_epsilon_of_the_statistics():
    # Keras' default 1e-3 instead of 1e-5 at variance 1e-3: sqrt(.00101 / .002) = .7106.
    # 1e-5 instead of the 0 of torchvision's COCO_V1 weights: x .995 at variance 1e-3, x .707 at 1e-5.
    np.testing.assert_allclose(scaled_ones(1e-3, 1e-3) / scaled_ones(1e-5, 1e-3), 0.7106, atol=1e-4)
    np.testing.assert_allclose(scaled_ones(1e-5, 1e-3) / scaled_ones(0.0, 1e-3), 0.995, atol=1e-3)
    np.testing.assert_allclose(scaled_ones(1e-5, 1e-5) / scaled_ones(0.0, 1e-5), 0.7071, atol=1e-4)
    norms = [
        layer for layer in build_backbone(settings("resnet18", width=4)).layers if hasattr(layer, "epsilon")
    ]
    assert len(norms) == 20 and {layer.epsilon for layer in norms} == {1e-5}


def test_frozen_means_constants_in_training_too():
    model = build_backbone(settings("resnet18", width=4, freeze_at=0))
    images = tf.random.stateless_normal([2, 64, 64, 3], [1, 2]) * 5 + 3
    norms = [layer for layer in model.layers if isinstance(layer, FrozenBatchNormalization)]
    before = [[v.numpy() for v in layer.variables] for layer in norms]
    optimizer = keras.optimizers.SGD(0.1)
    with tf.GradientTape() as tape:
        taps = model(images, training=True)
        loss = tf.reduce_sum(taps["C5"])
    optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
    assert not any(layer.trainable_variables for layer in norms)
    for layer, old in zip(norms, before, strict=True):
        for variable, value in zip(layer.variables, old, strict=True):
            np.testing.assert_array_equal(variable, value)
    training, inference = model(images, training=True), model(images, training=False)
    np.testing.assert_array_equal(training["C5"], inference["C5"])


def test_live_normalisation_learns_its_statistics():
    model = build_backbone(settings("resnet18", width=4, norm="batch_norm", freeze_at=0))
    norm = model.get_layer("res5_1_norm2")
    before = norm.moving_mean.numpy()
    model(tf.random.stateless_normal([2, 64, 64, 3], [1, 2]) * 5 + 3, training=True)
    assert (norm.moving_mean.numpy() != before).any()
    assert norm.trainable_variables


@pytest.mark.parametrize(
    ("freeze_at", "first"), [(0, "stem_conv"), (1, "res2_0_conv1"), (2, "res3_0_conv1"), (4, "res5_0_conv1")]
)
def test_freeze_at(freeze_at, first):
    model = build_backbone(settings("resnet18", width=4, freeze_at=freeze_at))
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    trained = [layer.name for layer in convolutions if layer.trainable_variables]
    assert first in trained
    frozen = ["stem", "res2", "res3", "res4", "res5"][:freeze_at]
    assert not [name for name in trained if name.startswith(tuple(frozen))] if frozen else len(trained) == 20


def test_a_frozen_stage_of_live_normalisation_stays_as_it_is():
    model = build_backbone(settings("resnet18", width=4, norm="batch_norm", freeze_at=2))
    norm = model.get_layer("res2_1_norm2")
    before = [v.numpy() for v in norm.variables]
    model(tf.random.stateless_normal([2, 64, 64, 3], [1, 2]) * 5 + 3, training=True)
    for variable, value in zip(norm.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


@pytest.mark.parametrize(
    "name",
    [
        "MobileNetV2",
        "MobileNetV3Small",
        pytest.param("ResNet50", marks=pytest.mark.slow),
        pytest.param("EfficientNetV2B0", marks=pytest.mark.slow),
        pytest.param("VGG16", marks=pytest.mark.slow),
        pytest.param("DenseNet121", marks=pytest.mark.slow),
        pytest.param("ConvNeXtTiny", marks=pytest.mark.slow),
    ],
)
def test_applications_are_tapped_by_stride(name):
    model = build_backbone({"name": name, "norm": "frozen_batch_norm", "freeze_at": 2, "weights": None})
    taps = model(tf.random.stateless_uniform([1, 96, 128, 3], [1, 2]) * 255)
    assert list(taps) == list(LEVELS)
    assert model.strides == {"C2": 4, "C3": 8, "C4": 16, "C5": 32}
    for level, stride in zip(LEVELS, (4, 8, 16, 32), strict=True):
        assert taps[level].shape[1:3] == (96 // stride, 128 // stride)
        assert np.isfinite(taps[level]).all()
        assert model.output[level].shape[-1] == taps[level].shape[-1]
    assert not any(
        layer.trainable_variables
        for layer in model.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    )


def test_unknown_names_and_missing_weights_are_told_in_one_line(monkeypatch, tmp_path):
    for name in ("resnet5O", "mobilenet_v3_larg"):
        with pytest.raises(UserError, match="did you mean"):
            build_backbone(settings(name))
    with pytest.raises(UserError, match="weights") as absent:
        build_backbone({"name": "MobileNetV2", "weights": str(tmp_path / "none.weights.h5")})
    assert "\n" not in str(absent.value)


@pytest.mark.parametrize(
    ("difference", "message"),
    [
        # NASNet decides on its paddings for one size of image when it is built.
        ({"name": "NASNetMobile"}, "backbone.name: NASNetMobile does not take images of every size"),
        ({"name": "MobileNetV2", "norm": "frozen"}, "backbone.norm: .*frozen_batch_norm"),
        ({"name": "resnet18", "norm": "batch_norm", "norm_epsilon": 0.0}, "backbone.norm_epsilon: 0 .* 1e-5"),
        ({"name": "resnet50", "weights": "imagenet"}, "resnet50 takes none; .* train --weights resnet50,"),
        ({"name": "mobilenet_v3_large", "weights": "imagenet"}, "weights: .* train --weights mobilenet_v3_large,"),
        ({"name": "resnext101_32x8d", "width": 12}, "backbone.width: 12 .* 32 groups .* give a multiple of 8"),
        ({"name": "MobileNetV2", "freeze_at": 6}, "backbone.freeze_at: 6"),
        ({"name": "resnet18", "freeze_at": -1}, "backbone.freeze_at: -1"),
    ],
)
def test_settings_that_cannot_be_are_told_in_one_line(difference, message):
    with pytest.raises(UserError, match=message) as caught:
        build_backbone(difference)
    assert "\n" not in str(caught.value)


def test_no_network_is_told_in_one_line(monkeypatch):
    def refuse(*_, **__):
        raise OSError("URL fetch failure: no route to host")

    from keras.src.utils import file_utils

    monkeypatch.setattr(file_utils, "get_file", refuse)
    with pytest.raises(UserError, match="imagenet") as failure:
        build_backbone({"name": "MobileNetV2", "weights": "imagenet"})
    assert "no route to host" in str(failure.value) and "\n" not in str(failure.value)
