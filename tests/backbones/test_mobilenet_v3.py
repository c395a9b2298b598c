"""MobileNetV3-Large against torchvision (golden/make_mobilenet.py), its padding by hand, and a detector on it."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_fpn
from keras_fpn.backbones.build import build_backbone
from keras_fpn.checkpoints.weighted_layers import layers_of, own_weights

LEVELS = ("C2", "C3", "C4", "C5", "C6")
STRIDES = {"C2": 4, "C3": 8, "C4": 16, "C5": 32, "C6": 32}
# The last element of torchvision's names for the four vectors of a batch norm.
STATISTICS = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def build(**changes):
    return build_backbone({"name": "mobilenet_v3_large"} | changes)


def torch_name(layer, has_expand, has_squeeze):
    """torchvision's name of a layer, such as "features.4.block.2.fc1" of "block4_squeeze_fc1"."""
    if layer.startswith(("stem_", "last_")):
        index = 0 if layer.startswith("stem_") else 16
        return f"features.{index}.{'0' if layer.endswith('conv') else '1'}"
    number, part, kind = re.fullmatch(r"block(\d+)_(expand|depthwise|squeeze|project)_(\w+)", layer).groups()
    parts = ["expand"] * has_expand + ["depthwise"] + ["squeeze"] * has_squeeze + ["project"]
    kind = {"conv": "0", "norm": "1"}.get(kind, kind)
    return f"features.{number}.block.{parts.index(part)}.{kind}"


def drawn_value(draws, name, layer, variable):
    shape = tuple(variable.shape)
    if variable.name in STATISTICS:
        return draws.weight(f"{name}.{STATISTICS[variable.name]}", shape)
    if variable.name == "bias":
        return draws.weight(f"{name}.bias", shape)
    height, width, inputs, outputs = shape
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return draws.weight(f"{name}.weight", (inputs, 1, height, width)).transpose(2, 3, 0, 1)
    return draws.weight(f"{name}.weight", (outputs, inputs, height, width)).transpose(2, 3, 1, 0)


def give_drawn_weights(model, draws):
    names = {layer.name for layer in model.layers}
    for layer in layers_of(model):
        block = layer.name.split("_")[0]
        has = [f"{block}_expand_conv" in names, f"{block}_squeeze_fc1" in names]
        for variable in own_weights(layer):
            variable.assign(drawn_value(draws, torch_name(layer.name, *has), layer, variable))
    return model


def noise(height=64, width=96, scale=1.0):
    """Images with structure over many pixels: white noise would average out in the first layers."""
    coarse = tf.random.stateless_normal([2, 5, 7, 3], [1, 2])
    images = tf.image.resize(coarse, (height, width), "bicubic")
    return images / tf.math.reduce_std(images) * scale


@pytest.mark.parametrize(
    ("norm", "epsilon"), [("frozen_batch_norm", 1e-5), ("frozen_batch_norm", 1e-3), ("batch_norm", 1e-5)]
)
def test_taps_equal_torchvision(golden, draws, norm, epsilon):
    kept = golden("mobilenet").under("backbone")
    images = draws.normal("mobilenet/images", tuple(map(int, kept["shape"])))
    np.testing.assert_array_equal(images[0, 0, 0, :8], kept["fingerprint"])
    model = give_drawn_weights(build(norm=norm, norm_epsilon=epsilon), draws)
    taps = model(tf.constant(images.transpose(0, 2, 3, 1)), training=False)
    for level in LEVELS:
        mean = float(kept[f"{epsilon:g}/{level}/mean"])
        value = taps[level].numpy()
        # |ours - theirs| <= 1e-4 (|theirs| + mean |theirs|), cell by cell.
        np.testing.assert_allclose(
            value[:, ::3, ::2, ::5], kept[f"{epsilon:g}/{level}"], rtol=1e-4, atol=1e-4 * mean
        )
        np.testing.assert_allclose(np.abs(value).mean(), mean, rtol=1e-5)


def test_number_of_parameters():
    # torchvision's model page (num_params), less the two linear layers of the classifier.
    model = build()
    statistics = sum(
        int(np.prod(variable.shape))
        for layer in model.layers
        for variable in layer.variables
        if variable.name.startswith("moving_")
    )
    assert model.count_params() - statistics == 5_483_032 - (960 * 1280 + 1280 + 1280 * 1000 + 1000)


@pytest.mark.parametrize("size", [(64, 96), (65, 97), (33, 50), (31, 127), (1, 2)])
def test_taps_have_the_declared_strides_rounded_up(size):
    model = build()
    assert dict(model.strides) == STRIDES
    taps = model(tf.zeros([1, *size, 3]))
    assert list(taps) == list(LEVELS)
    for (level, stride), channels in zip(STRIDES.items(), (24, 40, 80, 160, 960), strict=True):
        assert taps[level].shape == (1, -(-size[0] // stride), -(-size[1] // stride), channels)


# arange(36) as 6 x 6 under ones at stride 2. A 3 x 3 padded by 1 gives 0 + 1 + 6 + 7 = 14 at the origin (TensorFlow's
# SAME 63), a 5 x 5 padded by 2 the sum of the first 3 x 3 cells, 63 (SAME: of 4 x 4 cells, 168).
@pytest.mark.parametrize(
    ("block", "before", "origin"), [(2, "expand_norm_relu", 14), (4, "expand_norm_relu", 63)]
)
def test_padding_is_symmetric_at_stride_2(block, before, origin):
    model = build()
    convolution = model.get_layer(f"block{block}_depthwise_conv")
    before = model.get_layer(f"block{block}_{before}").output
    convolution.kernel.assign(np.ones(convolution.kernel.shape))  # the statistics are 0 and 1
    six = tf.reshape(tf.range(36.0), [1, 6, 6, 1]) * tf.ones([1, 1, 1, before.shape[-1]])
    outputs = keras.Model(before, convolution.output)(six)
    np.testing.assert_allclose(outputs[0, 0, 0], np.full(before.shape[-1], origin), rtol=1e-5)


def test_random_weights_keep_the_scale_of_the_image():
    # Statistics are 0 and 1 and normalise nothing: doubled in every residual sum, C5 would have 50 to 80.
    keras.utils.set_random_seed(0)
    for level, feature in build()(noise(160, 224)).items():
        assert 0.1 < float(tf.sqrt(tf.reduce_mean(feature**2))) < 10, level


# --- What is trained


@pytest.mark.parametrize(
    ("freeze_at", "first"),
    [
        (0, "stem_conv"),
        (1, "block2_expand_conv"),
        (2, "block4_expand_conv"),
        (3, "block7_expand_conv"),
        (4, "block13_expand_conv"),
        (5, None),
    ],
)
def test_freeze_at(freeze_at, first):
    # torchvision's trainable_layers 6, 5, 4, 3 and 2 hold nothing, features[:2], [:4], [:7] and [:13].
    model = build(freeze_at=freeze_at)
    convolutions = [
        layer.name for layer in model.layers if layer.name.endswith("_conv") or "squeeze_fc" in layer.name
    ]
    trained = [name for name in convolutions if model.get_layer(name).trainable_variables]
    assert trained == (convolutions[convolutions.index(first) :] if first else [])


def test_gradients_reach_all_that_is_trained():
    keras.utils.set_random_seed(0)
    model = build(freeze_at=3)
    with tf.GradientTape() as tape:
        taps = model(noise(), training=True)
        loss = tf.add_n([tf.reduce_mean(feature**2) for feature in taps.values()])
    gradients = tape.gradient(loss, model.trainable_variables)
    still = [
        variable.path
        for variable, gradient in zip(model.trainable_variables, gradients, strict=True)
        if gradient is None or not np.abs(gradient).max() > 0
    ]
    assert still == []
    # Kernels only, from block7 on: 8 expands, 9 depthwise, 5 pairs of squeezes with biases, 9 projections, the last.
    assert len(gradients) == 9 + 9 + 5 * 4 + 9 + 1


def test_live_normalisation_trains_where_it_is_not_frozen():
    keras.utils.set_random_seed(0)
    model = build(norm="batch_norm", freeze_at=2, norm_epsilon=1e-3)
    held, learning = model.get_layer("block3_project_norm"), model.get_layer("block4_project_norm")
    assert learning.epsilon == 1e-3
    before = [[value.numpy() for value in layer.variables] for layer in (held, learning)]
    taps = model(noise(scale=5.0) + 3.0, training=True)
    assert all(np.isfinite(feature).all() for feature in taps.values())
    for value, old in zip(held.variables, before[0], strict=True):
        np.testing.assert_array_equal(value, old)
    assert (learning.moving_mean.numpy() != before[1][2]).any()
    assert not held.trainable_variables and len(learning.trainable_variables) == 2


# --- In a detector


def detector():
    sizes = dict.fromkeys(("P5", "P6", "P7"), [16.0, 32.0])
    return keras_fpn.FasterRCNN(
        2,
        {"name": "mobilenet_v3_large", "freeze_at": 1, "norm_epsilon": 1e-4},
        profile="torchvision",
        pyramid={"levels": ["P5", "P6", "P7"], "channels": 8},
        anchors={"sizes": sizes},
        rpn={"channels": 8},
        proposals={"post_nms_top_k_test": 8},
        roi_pooling={"levels": ["P5"]},
        box_head={"units": 8},
        detections={"score_threshold": 0.0},
    )


@pytest.mark.slow
def test_a_detector_on_it_has_its_strides_and_survives_saving(tmp_path):
    keras.utils.set_random_seed(0)
    model = detector()
    assert dict(model.anchors.strides) == {"P5": 32, "P6": 32, "P7": 64}
    images = noise(96, 128, scale=50.0) + 120.0
    before = model(images)
    assert (before["num_detections"].numpy() > 0).all()
    model.save(tmp_path / "model.keras")
    loaded = keras_fpn.load_model(tmp_path / "model.keras")
    assert loaded.get_config() == model.get_config()
    assert {layer.epsilon for layer in loaded.backbone.layers if hasattr(layer, "epsilon")} == {1e-4}
    trained = [len(each.backbone.trainable_variables) for each in (model, loaded)]
    assert trained[0] == trained[1]
    for key, value in before.items():
        np.testing.assert_array_equal(loaded(images)[key], value)
