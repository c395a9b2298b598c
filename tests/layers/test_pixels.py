"""Pixel normalisation: channel order, statistics, and padding that stays zero."""

import numpy as np
import pytest
import tensorflow as tf

from keras_fpn.data.image_settings import PixelSettings
from keras_fpn.layers.pixels import PixelNormalization

SIZES = tf.constant([[4, 5], [3, 2]])


def images(dtype=np.uint8):
    return np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3)).astype(dtype)


@pytest.mark.parametrize("dtype", (np.uint8, np.float32))
def test_torchvision(dtype):
    # torchvision's transform: RGB / 255, ImageNet mean and standard deviation in 0..1.
    rgb = images(dtype)
    expected = (rgb / 255.0 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    ours = PixelNormalization(**PixelSettings.defaults("torchvision"))(rgb, SIZES)
    np.testing.assert_allclose(ours[0], expected[0], atol=1e-5)
    np.testing.assert_allclose(ours[1, :3, :2], expected[1, :3, :2], atol=1e-5)


@pytest.mark.parametrize(
    ("profile", "mean"),
    [("detectron2", [103.53, 116.28, 123.675]), ("paper", [102.9801, 115.9465, 122.7717])],
)
def test_caffe_models_take_bgr_without_a_standard_deviation(profile, mean):
    rgb = images()
    ours = PixelNormalization(**PixelSettings.defaults(profile))(rgb, SIZES)
    np.testing.assert_allclose(ours[0], rgb[0, :, :, ::-1].astype(float) - mean, atol=1e-4)


def test_padding_is_zero_whatever_it_held():
    padded = images(np.float32)
    padded[1, 3:], padded[1, :, 2:] = np.nan, np.inf
    ours = PixelNormalization("BGR", mean=[100, 100, 100])(padded, SIZES).numpy()
    assert (ours[1, 3:] == 0).all() and (ours[1, :, 2:] == 0).all()
    assert (ours[1, :3, :2] != 0).any()


def test_an_unknown_channel_order_is_refused():
    with pytest.raises(ValueError, match="channel_order"):
        PixelNormalization("GRB")
