"""The pyramid against torchvision on odd sizes (golden/make_networks.py, with batch normalisation
golden/make_mobilenet.py), and its two traps by hand."""

import numpy as np
import pytest
import tensorflow as tf

from keras_fpn.errors import UserError
from keras_fpn.pyramids import build_pyramid, pyramid_strides

LEVELS = ("P2", "P3", "P4", "P5", "P6")


def with_kernels(model, lateral, output):
    """Give every lateral and every output convolution the same kernel, biases 0."""
    for layer in model.layers:
        if layer.name.startswith(("lateral_", "output_")):
            kernel = lateral if layer.name.startswith("lateral_") else output
            layer.set_weights([kernel, np.zeros(kernel.shape[-1])])
    return model


def averaging(channels=4, doubling=2.0):
    """Laterals take the mean over the channels, the 3x3 are `doubling` times the identity."""
    three = np.zeros((3, 3, channels, channels), np.float32)
    three[1, 1] = np.eye(channels) * doubling
    model = build_pyramid(dict.fromkeys(("C2", "C3", "C4", "C5"), channels), channels=channels)
    return with_kernels(model, np.full((1, 1, channels, channels), 1 / channels, np.float32), three)


def constants(values, sides=(16, 8, 4, 2), channels=4):
    return {
        f"C{k}": tf.fill([1, side, side, channels], float(value))
        for k, value, side in zip((2, 3, 4, 5), values, sides, strict=True)
    }


def test_equals_torchvision_on_odd_sizes(golden, draws):
    kept = golden("networks").under("pyramid")
    channels = [int(value) for value in kept["channels"]]
    names = ("C2", "C3", "C4", "C5")
    model = build_pyramid(dict(zip(names, channels, strict=True)), channels=16)
    features = {}
    for index, (name, shape) in enumerate(zip(names, kept["shapes"], strict=True)):
        for ours, theirs, kernel in (("lateral_C", "inner", (1, 1)), ("output_P", "layer", (3, 3))):
            inputs = channels[index] if theirs == "inner" else 16
            prefix = f"pyramid.{theirs}_blocks.{index}.0."
            weight = draws.weight(prefix + "weight", (16, inputs, *kernel)).transpose(2, 3, 1, 0)
            model.get_layer(f"{ours}{index + 2}").set_weights([weight, draws.weight(prefix + "bias", (16,))])
        drawn = draws.normal(f"pyramid/{name}", (1, channels[index], *map(int, shape)))
        features[name] = tf.constant(drawn.transpose(0, 2, 3, 1))
    outputs = model(features)
    assert list(outputs) == list(LEVELS)
    for level in LEVELS:
        assert tuple(outputs[level].shape[1:3]) == tuple(kept[f"{level}/shape"])
        np.testing.assert_allclose(outputs[level][:, ::2, ::2, ::2], kept[level], rtol=1e-4, atol=1e-4)


def test_trap_12_the_sums_go_down_not_the_outputs():
    # By hand: the laterals are the constants, the outputs twice the sums; P5 fed down would give P4 = 4200.
    outputs = averaging()(constants((1, 10, 100, 1000)))
    assert [float(outputs[level][0, 0, 0, 0]) for level in ("P5", "P4", "P3", "P2")] == [
        2000,
        2200,
        2220,
        2222,
    ]
    for level in LEVELS:
        np.testing.assert_array_equal(
            outputs[level], tf.fill(outputs[level].shape, outputs[level][0, 0, 0, 0])
        )


def test_trap_12_no_non_linearity():
    outputs = averaging()(constants((0, 0, 0, -1)))
    for level in LEVELS:
        assert (outputs[level].numpy() == -2).all()


def test_trap_12_upsampling_is_nearest():
    features = constants((0, 0, 0, 0))
    features["C5"] = tf.reshape(tf.range(4.0), [1, 2, 2, 1]) * tf.ones([1, 1, 1, 4])
    p4 = averaging(doubling=1.0)(features)["P4"][0, :, :, 0]
    np.testing.assert_array_equal(p4, [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]])


def test_trap_13_p6_takes_every_second_cell():
    features = constants((0, 0, 0, 0), sides=(40, 20, 10, 5))
    features["C5"] = tf.reshape(tf.range(25.0), [1, 5, 5, 1]) * tf.ones([1, 1, 1, 4])
    p6 = averaging(doubling=1.0)(features)["P6"][0, :, :, 0]
    # A 2x2 max pooling would give [[6, 8], [16, 18]].
    np.testing.assert_array_equal(p6, [[0, 2, 4], [10, 12, 14], [20, 22, 24]])


def test_p6_of_negative_features_is_not_cut_at_zero():
    outputs = averaging()(constants((0, 0, 0, -1), sides=(24, 12, 6, 3)))
    np.testing.assert_array_equal(outputs["P6"], tf.fill([1, 2, 2, 4], -2.0))


def test_parameters_of_the_paper_and_its_initialisation():
    # torchvision's pyramid has 3,344,384; detectron2's c2_xavier is U(+-sqrt(3 / fan_in)).
    model = build_pyramid({"C2": 256, "C3": 512, "C4": 1024, "C5": 2048})
    assert model.count_params() == 3_344_384
    kernel, bias = model.get_layer("lateral_C5").get_weights()
    np.testing.assert_allclose(np.abs(kernel).max(), np.sqrt(3 / 2048), rtol=1e-3)  # .03827
    assert (bias == 0).all()


@pytest.mark.parametrize(
    "levels", (["P3", "P4", "P5"], ["P2", "P3", "P4"], ["P3", "P4", "P5", "P6", "P7"], ["P2"])
)
def test_levels_can_be_chosen(levels):
    model = build_pyramid(dict.fromkeys(("C2", "C3", "C4", "C5"), 8), channels=4, levels=levels)
    features = constants((1, 1, 1, 1), sides=(32, 16, 8, 4), channels=8)
    outputs = model({name: value for name, value in features.items() if name in model.input})
    assert list(outputs) == levels
    for level in levels:
        assert outputs[level].shape[1] == max(1, 128 // 2 ** int(level[1]))


def test_levels_that_cannot_be_made_are_refused():
    channels = dict.fromkeys(("C3", "C4", "C5"), 8)
    with pytest.raises(UserError, match="P2"):
        build_pyramid(channels, levels=["P2", "P3"])
    with pytest.raises(UserError, match="neighbours"):
        build_pyramid(channels, levels=["P3", "P5"])


# --- With batch normalisation (torchvision's version 2)

STATISTICS = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


def normed(kept, draws, norm):
    channels = [int(value) for value in kept["channels"]]
    model = build_pyramid(
        dict(zip(("C4", "C5", "C6"), channels, strict=True)), channels=8, levels=["P4", "P5", "P6", "P7"], norm=norm
    )
    for index, inputs in enumerate(channels):
        for ours, theirs, shape in (
            (f"lateral_C{index + 4}", f"normed_pyramid.inner_blocks.{index}", (8, inputs, 1, 1)),
            (f"output_P{index + 4}", f"normed_pyramid.layer_blocks.{index}", (8, 8, 3, 3)),
        ):
            (kernel,) = model.get_layer(ours).weights  # no bias: the normalisation has one
            kernel.assign(draws.weight(f"{theirs}.0.weight", shape).transpose(2, 3, 1, 0))
            for variable in model.get_layer(f"{ours}_norm").weights:
                variable.assign(draws.weight(f"{theirs}.1.{STATISTICS[variable.name]}", (8,)))
    features = {
        f"C{k}": tf.constant(draws.normal(f"normed_pyramid/C{k}", (1, inputs, *map(int, shape))).transpose(0, 2, 3, 1))
        for k, inputs, shape in zip((4, 5, 6), channels, kept["shapes"], strict=True)
    }
    return model, features


@pytest.mark.parametrize("norm", ["batch_norm", "frozen_batch_norm"])
def test_normalised_equals_torchvision(golden, draws, norm):
    kept = golden("mobilenet").under("pyramid")
    model, features = normed(kept, draws, norm)
    outputs = model(features, training=False)
    assert list(outputs) == ["P4", "P5", "P6", "P7"]
    for level, value in outputs.items():
        np.testing.assert_allclose(value, kept[level], rtol=1e-4, atol=1e-5)


def test_live_normalisation_learns_in_training_only(golden, draws):
    model, features = normed(golden("mobilenet").under("pyramid"), draws, "batch_norm")
    norm = model.get_layer("lateral_C5_norm")
    before = norm.moving_mean.numpy()
    model(features, training=False)
    np.testing.assert_array_equal(norm.moving_mean, before)
    model(features, training=True)
    # One tenth of the new: torch's momentum of 0.1.
    new = model.get_layer("lateral_C5")(features["C5"])
    np.testing.assert_allclose(norm.moving_mean, 0.9 * before + 0.1 * np.mean(new, axis=(0, 1, 2)), atol=1e-5)


def test_an_unknown_normalisation_is_told_by_its_setting():
    with pytest.raises(UserError, match="pyramid.norm: unknown value 'layer_norm'"):
        build_pyramid({"C4": 8}, levels=["P4"], norm="layer_norm")
    with pytest.raises(UserError, match="pyramid.norm_epsilon: 0"):
        build_pyramid({"C4": 8}, levels=["P4"], norm="batch_norm", norm_epsilon=0.0)


# --- Strides: a level has its map's, and twice the one below above the backbone


@pytest.mark.parametrize(
    ("backbone", "levels", "strides"),
    [
        ({"C2": 4, "C3": 8, "C4": 16, "C5": 32}, ["P2", "P3", "P4", "P5", "P6"], [4, 8, 16, 32, 64]),
        ({"C2": 4, "C3": 8, "C4": 16, "C5": 32}, ["P4", "P5", "P6", "P7"], [16, 32, 64, 128]),
        # MobileNetV3 in torchvision: two maps of stride 32.
        ({"C2": 4, "C3": 8, "C4": 16, "C5": 32, "C6": 32}, ["P5", "P6", "P7"], [32, 32, 64]),
    ],
)
def test_strides_follow_the_backbone(backbone, levels, strides):
    assert pyramid_strides(backbone, levels) == dict(zip(levels, strides, strict=True))
