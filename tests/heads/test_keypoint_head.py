"""The keypoint head against torchvision's KeypointRCNNHeads and KeypointRCNNPredictor (golden/make_keypoints.py)."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_fpn.heads.keypoint_head import KeypointHead

CROPS, CHANNELS, WIDTH, KEYPOINTS = 3, 6, 8, 5


def kernel(draws, name, shape):
    return draws.weight(f"{name}.weight", shape).transpose(2, 3, 1, 0)


def test_equals_torchvision(golden, draws):
    head = KeypointHead(KEYPOINTS, conv_layers=3, channels=WIDTH)
    head.build((None, None, 14, 14, CHANNELS))
    for index, layer in enumerate(head.convolutions):
        name = f"keypoint_head.{2 * index}"
        weights = kernel(draws, name, (WIDTH, WIDTH if index else CHANNELS, 3, 3))
        layer.set_weights([weights, draws.weight(f"{name}.bias", (WIDTH,))])
    name = "keypoint_predictor.kps_score_lowres"
    head.score_lowres.set_weights([
        kernel(draws, name, (WIDTH, KEYPOINTS, 4, 4)), draws.weight(f"{name}.bias", (KEYPOINTS,))
    ])  # fmt: skip
    crops = draws.normal("keypoint_head/crops", (CROPS, CHANNELS, 14, 14)).transpose(0, 2, 3, 1)
    logits = head(tf.constant(crops[None]))
    assert logits.shape == (1, CROPS, 56, 56, KEYPOINTS)
    expected = golden("keypoints")["head_logits"].transpose(0, 2, 3, 1)  # every third row and column
    np.testing.assert_allclose(logits[0, :, ::3, ::3], expected, rtol=1e-4, atol=1e-4)


def test_transposed_convolution_and_upsampling_by_hand():
    """torch.nn.ConvTranspose2d(1, 1, 4, stride=2, padding=1) of ones with the kernel 0..15, and interpolate's x2."""
    head = KeypointHead(1, conv_layers=0)
    head.build((None, None, 2, 2, 1))
    head.score_lowres.set_weights([np.arange(16, dtype=np.float32).reshape(4, 4, 1, 1), np.zeros(1, np.float32)])
    low = head.score_lowres(tf.ones([1, 2, 2, 1]))[0, ..., 0]
    expected = np.array([[5, 10, 12, 6], [10, 20, 24, 12], [18, 36, 40, 20], [9, 18, 20, 10]])
    np.testing.assert_array_equal(low, expected)
    high = head(tf.ones([1, 1, 2, 2, 1]))[0, 0, ..., 0]
    # Half-pixel centres: [a, b] -> a, .75 a + .25 b, .25 a + .75 b, b.
    np.testing.assert_allclose(high[0, :4], [5, 6.25, 8.75, 10.5])
    np.testing.assert_allclose([high[0, 0], high[-1, -1]], [5, 10])


def test_begins_as_torch_does():
    # 59,137,258 frozen weights of torchvision's whole model; its head alone: 8 convolutions, and the transposed one.
    head = KeypointHead()
    head.build((None, None, 14, 14, 256))
    assert head.count_params() == 512 * (256 * 9 + 1) + 7 * 512 * (512 * 9 + 1) + 17 * (512 * 16 + 1)
    # kaiming_normal_(mode="fan_out"): of a transposed convolution torch counts its inputs, 512 * 4 * 4.
    for layer, fan_out in ((head.convolutions[0], 512 * 9), (head.score_lowres, 512 * 16)):
        assert layer.kernel.numpy().std() == pytest.approx((2 / fan_out) ** 0.5, rel=0.01)
        assert not layer.bias.numpy().any()


def test_round_trip_of_its_config():
    head = KeypointHead(3, conv_layers=2, channels=4, name="keypoint_head")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(head))
    assert (again.num_keypoints, again.conv_layers, again.channels) == (3, 2, 4)
    with pytest.raises(ValueError, match="num_keypoints"):
        KeypointHead(0)
