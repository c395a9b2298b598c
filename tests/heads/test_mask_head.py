"""The mask head against torchvision's MaskRCNNHeads and MaskRCNNPredictor (golden/make_mask_head.py)."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_fpn.console.errors import UserError
from keras_fpn.heads.mask_head import MaskHead
from keras_fpn.parts.checkpoint_names import CONVOLUTION

CROPS, CHANNELS, SIDE, CONV_CHANNELS = 4, 5, 4, 8
# torchvision's rows are the background, classes 1..3, and two that are no class; ours have the background behind them.
ROW_ORDER = [1, 2, 3, 0, 4, 5]
VECTORS = ("weight", "bias", "running_mean", "running_var")


def drawn(draws, name, **settings):
    """A head with the weights that the golden script drew for its head `name`."""
    head = MaskHead(**{"num_classes": 3, "channels": CONV_CHANNELS, "background_masks": 3} | settings)
    head.build((None, None, SIDE, SIDE, CHANNELS))
    inputs = CHANNELS
    for index, convolution in enumerate(head.convolutions):
        prefix = f"{name}_mask_head.{index}"
        kernel = CONVOLUTION.to_ours(draws.weight(f"{prefix}.0.weight", (CONV_CHANNELS, inputs, 3, 3)))
        bias = [] if head.norms else [draws.weight(f"{prefix}.0.bias", (CONV_CHANNELS,))]
        convolution.set_weights([kernel, *bias])
        if head.norms:
            head.norms[index].set_weights([draws.weight(f"{prefix}.1.{each}", (CONV_CHANNELS,)) for each in VECTORS])
        inputs = CONV_CHANNELS
    kernel = draws.weight("mask_predictor.conv5_mask.weight", (CONV_CHANNELS, CONV_CHANNELS, 2, 2))
    bias = draws.weight("mask_predictor.conv5_mask.bias", (CONV_CHANNELS,))
    head.deconv.set_weights([CONVOLUTION.to_ours(kernel), bias])
    kernel = draws.weight("mask_predictor.mask_fcn_logits.weight", (6, CONV_CHANNELS, 1, 1))[ROW_ORDER]
    bias = draws.weight("mask_predictor.mask_fcn_logits.bias", (6,))[ROW_ORDER]
    head.mask_logits.set_weights([CONVOLUTION.to_ours(kernel), bias])
    return head


def crops_of(draws):
    """The golden's crops, `[2, 2, 4, 4, 5]`: two of each image."""
    crops = draws.normal("mask_head/crops", (CROPS, CHANNELS, SIDE, SIDE)).transpose(0, 2, 3, 1)
    return tf.constant(crops.reshape(2, 2, SIDE, SIDE, CHANNELS))


def assert_equals_golden(logits, expected):
    assert logits.shape == (2, 2, 2 * SIDE, 2 * SIDE, 6)
    expected = expected.transpose(0, 2, 3, 1)[..., ROW_ORDER].reshape(logits.shape)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "norm"), [("plain", None), ("normed", "batch_norm"), ("normed", "frozen_batch_norm")]
)
def test_equals_torchvision(golden, draws, name, norm):
    expected = golden("mask_head")[f"{name}/inference/logits_background_first"]
    assert_equals_golden(drawn(draws, name, norm=norm)(crops_of(draws)), expected)


def test_in_training_the_norms_learn_of_the_crops_that_count(golden, draws):
    kept, head = golden("mask_head").under("normed/training"), drawn(draws, "normed", norm="batch_norm")
    crops = tf.concat([crops_of(draws), tf.fill([2, 1, SIDE, SIDE, CHANNELS], 50.0)], axis=1)
    logits = head(crops, training=True, is_valid=tf.constant([[True, True, False]] * 2))
    assert_equals_golden(logits[:, :2], kept["logits_background_first"])
    for norm, expected in zip(head.norms, kept["running_mean"], strict=True):
        np.testing.assert_allclose(norm.moving_mean.numpy(), expected, rtol=1e-4, atol=1e-5)


def test_the_transposed_convolution_is_not_flipped():
    # x = [[1, 2]], kernel [[1, 2], [3, 4]] gives the rows 1 2 2 4 / 3 4 6 8 in torch.
    head = MaskHead(1, conv_layers=0, channels=1)
    head.build((None, None, 1, 2, 1))
    head.deconv.set_weights([CONVOLUTION.to_ours(np.array([[[[1, 2], [3, 4]]]], np.float32)), np.zeros(1)])
    head.mask_logits.set_weights([np.ones((1, 1, 1, 1)), np.zeros(1)])
    logits = head(tf.constant([1.0, 2.0], shape=[1, 1, 1, 2, 1]))
    np.testing.assert_array_equal(logits[0, 0, ..., 0], [[1, 2, 2, 4], [3, 4, 6, 8]])


def test_parameters():
    # torchvision's maskrcnn_resnet50_fpn: 4 x (3 x 3 x 256 + 1) x 256, (2 x 2 x 256 + 1) x 256, 257 x 91.
    head = MaskHead(80, background_masks=11)
    head.build((None, None, 14, 14, 256))
    assert head.count_params() == 4 * (9 * 256 + 1) * 256 + (4 * 256 + 1) * 256 + 257 * 91
    agnostic = MaskHead(80, class_agnostic=True)
    agnostic.build((None, None, 14, 14, 256))
    assert agnostic.count_params() == head.count_params() - 257 * 90 and agnostic.class_rows == {}


def test_initialisation_of_the_profiles():
    # detectron2: c2_msra_fill, kaiming_normal_ by the fan-out, for all but the predictor, N(0, 0.001); biases 0.
    # torchvision: kaiming_normal_ by the fan-out everywhere; the last two biases U(+-1 / sqrt(fan_in)), the others 0.
    detectron2 = MaskHead(40, channels=64, conv_layers=1)
    torchvision = MaskHead(40, channels=64, conv_layers=1, initializer="kaiming_normal")
    for head in (detectron2, torchvision):
        head.build((None, None, 4, 4, 64))
        np.testing.assert_allclose(np.std(head.convolutions[0].kernel), np.sqrt(2 / (9 * 64)), rtol=0.05)
        np.testing.assert_allclose(np.std(head.deconv.kernel), np.sqrt(2 / (4 * 64)), rtol=0.05)
        assert not head.convolutions[0].bias.numpy().any()
    np.testing.assert_allclose(np.std(detectron2.mask_logits.kernel), 0.001, rtol=0.1)
    assert not (detectron2.deconv.bias.numpy().any() or detectron2.mask_logits.bias.numpy().any())
    np.testing.assert_allclose(np.std(torchvision.mask_logits.kernel), np.sqrt(2 / 40), rtol=0.1)
    for layer, fan_in in ((torchvision.deconv, 4 * 64), (torchvision.mask_logits, 64)):
        assert 0.5 * fan_in**-0.5 < np.abs(layer.bias.numpy()).max() <= fan_in**-0.5 * 1.001


# On some processors TensorFlow's oneDNN convolution of nothing gives the shape of its input. Models never ask for it:
# see LeadingRows.
_IS_WRONG = tf.nn.conv2d(tf.zeros([0, 3, 3, 1]), tf.zeros([3, 3, 1, 2]), 1, "SAME").shape[-1] != 2


@pytest.mark.parametrize("count", (pytest.param(0, marks=pytest.mark.skipif(_IS_WRONG, reason="TensorFlow's")), 1, 3))
def test_shapes(count):
    assert MaskHead(4, channels=8)(tf.zeros([2, count, 3, 3, 3])).shape == (2, count, 6, 6, 4)


def test_a_head_survives_a_file(draws, tmp_path):
    crops, head = crops_of(draws), drawn(draws, "normed", norm="batch_norm")
    inputs = keras.Input((None, SIDE, SIDE, CHANNELS))
    keras.Model(inputs, head(inputs)).save(tmp_path / "head.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "head.keras")(crops), head(crops))


@pytest.mark.parametrize(
    "wrong",
    [
        {"initializer": "he"},
        {"conv_layers": -1},
        {"background_masks": -1},
        {"class_agnostic": True, "background_masks": 1},
    ],
)
def test_wrong_arguments_are_refused(wrong):
    with pytest.raises(ValueError, match="initializer|background_masks"):
        MaskHead(4, **wrong)
    with pytest.raises(UserError, match=r"mask_head\.norm"):
        MaskHead(4, norm="instance_norm")
