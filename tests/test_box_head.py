"""The box head against torchvision's TwoMLPHead and FastRCNNPredictor (golden/make_networks.py)."""

import numpy as np
import pytest
import tensorflow as tf

from keras_fpn.box_head import BoxHead

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
