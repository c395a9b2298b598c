"""The pyramid against torchvision on odd sizes (golden/make_networks.py), and its two traps by hand."""

import numpy as np
import pytest
import tensorflow as tf

from keras_fpn.pyramid import build_pyramid

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
    with pytest.raises(ValueError, match="P2"):
        build_pyramid(channels, levels=["P2", "P3"])
    with pytest.raises(ValueError, match="neighbours"):
        build_pyramid(channels, levels=["P3", "P5"])
