"""The box head against torchvision's TwoMLPHead and FastRCNNPredictor (golden/make_networks.py) and its
FastRCNNConvFCHead (golden/make_heads.py)."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_fpn.console.errors import UserError
from keras_fpn.heads.box_head import BoxHead

CLASSES, UNITS, CHANNELS = 5, 32, 6


def channels_first_rows(weight, channels=CHANNELS, side=7):
    """Kernel on a channel-last flatten of a layer on a channel-first one: `[out, C*s*s] -> [s*s*C, out]`."""
    return weight.reshape(-1, channels, side, side).transpose(2, 3, 1, 0).reshape(-1, len(weight))


def background_last(values):
    return np.roll(values, -1, axis=0)


def test_equals_torchvision(golden, draws):
    kept = golden("networks").under("box_head")
    crops = draws.normal("box_head/crops", (3, CHANNELS, 7, 7)).transpose(0, 2, 3, 1)[None]
    head = BoxHead(CLASSES, units=UNITS)
    head(tf.constant(crops))
    fc6 = draws.weight("box_head.fc6.weight", (UNITS, CHANNELS * 49))
    head.fc1.set_weights([channels_first_rows(fc6), draws.weight("box_head.fc6.bias", (UNITS,))])
    fc7 = draws.weight("box_head.fc7.weight", (UNITS, UNITS))
    head.fc2.set_weights([fc7.T, draws.weight("box_head.fc7.bias", (UNITS,))])
    rows = draws.weight("box_predictor.cls_score.weight", (CLASSES + 1, UNITS))
    bias = draws.weight("box_predictor.cls_score.bias", (CLASSES + 1,))
    head.class_logits.set_weights([background_last(rows).T, background_last(bias)])
    rows = draws.weight("box_predictor.bbox_pred.weight", (4 * (CLASSES + 1), UNITS))
    bias = draws.weight("box_predictor.bbox_pred.bias", (4 * (CLASSES + 1),))
    head.box_deltas.set_weights([rows[4:].T, bias[4:]])  # no box for the background
    logits, deltas = head(tf.constant(crops))
    expected = np.roll(kept["class_logits_background_first"], -1, axis=1)
    np.testing.assert_allclose(logits[0], expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(deltas[0], kept["deltas_background_first"][:, 1:], rtol=1e-4, atol=1e-4)


def test_flattening_channel_last_needs_the_permutation():
    rng = np.random.default_rng(0)
    weight, crops = rng.normal(size=(5, 12)), rng.normal(size=(4, 3, 2, 2))
    first = crops.reshape(4, -1) @ weight.T
    last = crops.transpose(0, 2, 3, 1).reshape(4, -1)
    np.testing.assert_allclose(last @ channels_first_rows(weight, 3, 2), first, atol=1e-6)
    assert np.abs(last @ weight.T - first).max() > 0.1


def test_parameters():
    # fc6 and fc7 of torchvision: 12545 * 1024 + 1025 * 1024; predictors of 80 classes: 1025 * (81 + 320).
    head = BoxHead(80)
    head.build((None, None, 7, 7, 256))
    assert head.count_params() == 12545 * 1024 + 1025 * 1024 + 1025 * (81 + 320)


def test_initialisation_of_the_profiles():
    # Detectron and detectron2: XavierFill U(+-sqrt(3 / fan_in)), N(0, .01) and N(0, .001), biases 0.
    # torchvision: nn.Linear's default U(+-1 / sqrt(fan_in)), biases too.
    xavier, torch = BoxHead(20, units=128), BoxHead(20, units=128, initializer="torch_linear")
    for head in (xavier, torch):
        head.build((None, None, 7, 7, 16))
    np.testing.assert_allclose(np.abs(xavier.fc1.get_weights()[0]).max(), np.sqrt(3 / 784), rtol=1e-2)
    np.testing.assert_allclose(xavier.class_logits.get_weights()[0].std(), 0.01, rtol=0.1)
    np.testing.assert_allclose(xavier.box_deltas.get_weights()[0].std(), 0.001, rtol=0.1)
    assert not any(
        layer.get_weights()[1].any() for layer in (xavier.fc1, xavier.class_logits, xavier.box_deltas)
    )
    for layer, fan_in in (
        (torch.fc1, 784),
        (torch.fc2, 128),
        (torch.class_logits, 128),
        (torch.box_deltas, 128),
    ):
        kernel, bias = layer.get_weights()
        np.testing.assert_allclose(np.abs(kernel).max(), fan_in**-0.5, rtol=2e-2)
        assert 0.5 * fan_in**-0.5 < np.abs(bias).max() <= fan_in**-0.5 * 1.001


@pytest.mark.parametrize("count", (0, 3))
def test_shapes(count):
    logits, deltas = BoxHead(4, units=8)(tf.zeros([2, count, 7, 7, 3]))
    assert logits.shape == (2, count, 5) and deltas.shape == (2, count, 4, 4)


# torchvision's rows are the background, classes 1..3, and two that are no class; ours have the background behind them.
ROW_ORDER = [1, 2, 3, 0, 4, 5]
CROPS, CROP_CHANNELS, CONV_CHANNELS, CONV_UNITS = 6, 5, 8, 24


def conv_head(draws, **settings):
    """A head of four convolutions and one layer, with the weights that the golden script drew."""
    head = BoxHead(
        **{"num_classes": 3, "units": CONV_UNITS, "conv_layers": 4, "conv_channels": CONV_CHANNELS, "fc_layers": 1}
        | {"norm": "batch_norm", "background_logits": 3, "background_boxes": 3}
        | settings
    )
    head.build((None, None, 7, 7, CROP_CHANNELS))
    inputs = CROP_CHANNELS
    for index, (convolution, norm) in enumerate(zip(head.convolutions, head.norms, strict=True)):
        kernel = draws.weight(f"conv_head.{index}.0.weight", (CONV_CHANNELS, inputs, 3, 3))
        convolution.set_weights([kernel.transpose(2, 3, 1, 0)])
        vectors = ("weight", "bias", "running_mean", "running_var")
        norm.set_weights([draws.weight(f"conv_head.{index}.1.{name}", (CONV_CHANNELS,)) for name in vectors])
        inputs = CONV_CHANNELS
    fc = draws.weight("conv_head.5.weight", (CONV_UNITS, CONV_CHANNELS * 49))
    bias = draws.weight("conv_head.5.bias", (CONV_UNITS,))
    head.fc1.set_weights([channels_first_rows(fc, CONV_CHANNELS), bias])
    for name, layer, width in (("cls_score", head.class_logits, 1), ("bbox_pred", head.box_deltas, 4)):
        rows = draws.weight(f"conv_predictor.{name}.weight", (6 * width, CONV_UNITS))
        bias = draws.weight(f"conv_predictor.{name}.bias", (6 * width,))
        rows, bias = rows.reshape(6, width, -1)[ROW_ORDER], bias.reshape(6, width)[ROW_ORDER]
        layer.set_weights([rows.reshape(6 * width, -1).T, bias.reshape(-1)])
    return head


def conv_crops(draws):
    """The golden's crops, `[1, 6, 7, 7, 5]`."""
    crops = draws.normal("conv_head/crops", (CROPS, CROP_CHANNELS, 7, 7))
    return tf.constant(crops.transpose(0, 2, 3, 1)[None])


def assert_equals_golden(outputs, kept):
    logits, deltas = outputs
    expected = kept["class_logits_background_first"][:, ROW_ORDER]
    np.testing.assert_allclose(logits[0, :CROPS], expected, rtol=1e-4, atol=1e-4)
    assert deltas.shape[2] == 3  # the background's box and the two unused are read by nobody
    expected = kept["deltas_background_first"][:, ROW_ORDER[:3]]
    np.testing.assert_allclose(deltas[0, :CROPS], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("norm", ("batch_norm", "frozen_batch_norm"))
def test_convolutions_equal_torchvision(golden, draws, norm):
    assert_equals_golden(conv_head(draws, norm=norm)(conv_crops(draws)), golden("heads").under("inference"))


def test_in_training_the_norms_learn_as_in_torchvision(golden, draws):
    kept, head = golden("heads").under("training"), conv_head(draws)
    assert_equals_golden(head(conv_crops(draws), training=True), kept)
    for norm, expected in zip(head.norms, kept["running_mean"], strict=True):
        np.testing.assert_allclose(norm.moving_mean.numpy(), expected, rtol=1e-4, atol=1e-5)


def test_crops_that_only_pad_stay_out_of_the_statistics(golden, draws):
    kept, head = golden("heads").under("training"), conv_head(draws)
    crops = tf.concat([conv_crops(draws), tf.fill([1, 3, 7, 7, CROP_CHANNELS], 50.0)], axis=1)
    is_valid = tf.constant([[True] * CROPS + [False] * 3])
    assert_equals_golden(head(crops, training=True, is_valid=is_valid), kept)
    np.testing.assert_allclose(head.norms[0].moving_mean.numpy(), kept["running_mean"][0], rtol=1e-4, atol=1e-5)
    unmasked = conv_head(draws)
    unmasked(crops, training=True)
    assert np.abs(unmasked.norms[0].moving_mean.numpy() - kept["running_mean"][0]).max() > 0.1


def test_frozen_statistics_do_not_move_in_training(draws):
    head = conv_head(draws, norm="frozen_batch_norm")
    plain = head(conv_crops(draws))[0]
    trained = head(conv_crops(draws), training=True, is_valid=tf.fill([1, CROPS], True))[0]
    np.testing.assert_array_equal(plain, trained)
    assert not any("norm" in weight.path for weight in head.trainable_weights)


def test_parameters_of_the_convolutional_head():
    # torchvision's v2: four 3x3 convolutions 256 -> 256 without bias and a batch norm each, 12545 * 1024, 91 rows.
    head = BoxHead(
        80, conv_layers=4, fc_layers=1, norm="batch_norm", background_logits=11, background_boxes=11
    )
    head.build((None, None, 7, 7, 256))
    assert head.count_params() == 4 * (9 * 256 * 256 + 4 * 256) + 12545 * 1024 + 1025 * 91 * 5
    assert not any(layer.use_bias for layer in head.convolutions)
    assert all(layer.use_bias for layer in BoxHead(80, conv_layers=2).convolutions)


def test_initialisation_of_the_convolutions():
    # kaiming_normal_(mode="fan_out", nonlinearity="relu"): a standard deviation of sqrt(2 / (9 * channels)).
    head = BoxHead(3, units=8, conv_layers=2, conv_channels=64, norm="batch_norm")
    head.build((None, None, 7, 7, 16))
    for layer in head.convolutions:
        kernel = layer.get_weights()[0]
        np.testing.assert_allclose(kernel.std(), np.sqrt(2 / (9 * 64)), rtol=0.05)
        assert np.abs(kernel).max() > 3 * np.sqrt(2 / (9 * 64))  # not cut off at two


def test_a_head_survives_a_file(draws, tmp_path):
    crops, head = conv_crops(draws), conv_head(draws)
    inputs = keras.Input((None, 7, 7, CROP_CHANNELS))
    model = keras.Model(inputs, head(inputs))
    model.save(tmp_path / "head.keras")
    again = keras.models.load_model(tmp_path / "head.keras")
    for ours, theirs in zip(again(crops), head(crops), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    names = {layer.name for layer in again.layers[-1]._flatten_layers(include_self=False)}
    assert {"conv_0", "conv_3", "norm_0", "norm_3", "fc1", "class_logits", "box_deltas"} == names - {
        "conv_1", "conv_2", "norm_1", "norm_2"
    }  # fmt: skip


@pytest.mark.parametrize(
    "wrong", [{"initializer": "he"}, {"fc_layers": 3}, {"background_logits": 0}, {"conv_layers": -1}]
)
def test_wrong_arguments_are_refused(wrong):
    with pytest.raises(ValueError, match="initializer|fc_layers|background_logits"):
        BoxHead(4, **wrong)


@pytest.mark.parametrize("wrong", [{"norm": "instance_norm"}, {"norm": "batch_norm", "norm_epsilon": 0.0}])
def test_a_wrong_norm_is_told_with_its_key(wrong):
    with pytest.raises(UserError, match=r"box_head\.norm"):
        BoxHead(4, conv_layers=1, **wrong)


def test_one_box_for_all_classes():
    head = BoxHead(4, units=8, class_agnostic_boxes=True)
    logits, deltas = head(tf.zeros([2, 3, 7, 7, 3]))
    assert logits.shape == (2, 3, 5) and deltas.shape == (2, 3, 1, 4)
    assert set(head.class_rows) == {"class_logits"}
    with pytest.raises(ValueError, match="background_boxes 0 or more, 0 if class_agnostic_boxes"):
        BoxHead(4, background_boxes=1, class_agnostic_boxes=True)
