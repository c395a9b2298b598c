"""The same pixels as by TensorFlow, whose own tests hold those against Pillow and torchvision."""

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies
from PIL import Image

import keras_fpn
from keras_fpn.data import pillow_resize
from keras_fpn.export import preprocessing
from keras_fpn.export.description import describe
from keras_fpn.inference import detecting

# The graphs once, for all sizes: eager calls of every example would take a minute.
SIGNATURE = [tf.TensorSpec([None, None, 3], tf.uint8), *[tf.TensorSpec([], tf.int32)] * 2]
PILLOW = tf.function(pillow_resize.resize_pillow, input_signature=SIGNATURE)
BILINEAR = tf.function(pillow_resize.resize_bilinear, input_signature=SIGNATURE)


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_a_misspelt_interpolation_is_refused():
    with pytest.raises(keras_fpn.UserError, match='interpolation must be "pillow" or "bilinear", not \'cubic\''):
        preprocessing.resize(np.zeros((2, 2, 3), np.uint8), (4, 4), "cubic")


class TestPixels:
    """Odd sizes, single pixels, enlargements, 2:1 and stronger shrinks: the strategy reaches all of them."""

    SMALL = strategies.integers(1, 70)

    @hypothesis.given(SMALL, SMALL, SMALL, SMALL, strategies.integers(0, 9))
    @hypothesis.example(1, 1, 1, 1, 0)
    @hypothesis.example(1, 1, 7, 5, 0)
    @hypothesis.example(64, 48, 32, 24, 0)  # 2:1
    @hypothesis.example(61, 70, 1, 1, 0)
    @hypothesis.example(13, 40, 13, 20, 0)  # one axis only
    def test_pillows_filter_bit_for_bit(self, height, width, new_height, new_width, seed):
        image = noise(height, width, seed)
        expected = PILLOW(image, new_height, new_width).numpy()
        np.testing.assert_array_equal(preprocessing.resize(image, (new_height, new_width), "pillow"), expected)

    @hypothesis.given(SMALL, SMALL, SMALL, SMALL, strategies.integers(0, 9))
    @hypothesis.example(1, 1, 7, 5, 0)
    @hypothesis.example(64, 48, 32, 24, 0)
    @hypothesis.example(61, 70, 1, 1, 0)
    def test_bilinear_to_float_rounding(self, height, width, new_height, new_width, seed):
        image = noise(height, width, seed)
        resized = preprocessing.resize(image, (new_height, new_width), "bilinear")
        assert resized.dtype == np.float32
        expected = BILINEAR(image, new_height, new_width).numpy()
        np.testing.assert_allclose(resized, expected, atol=3e-5)  # two roundings of numbers up to 255

    def test_a_photograph_both_ways(self):
        # Sizes for which Pillow 13 itself would shrink vertically first, and get other values.
        image = noise(601, 1203)
        np.testing.assert_array_equal(
            preprocessing.resize(image, (127, 640), "pillow"), PILLOW(image, 127, 640).numpy()
        )
        expected = BILINEAR(image, 127, 640).numpy()
        np.testing.assert_allclose(preprocessing.resize(image, (127, 640), "bilinear"), expected, atol=3e-5)

    def test_bytes_are_rounded_half_up_and_clipped(self):
        pixels = np.array([-0.6, 0.49, 0.5, 1.5, 254.5, 255.7], np.float32)
        np.testing.assert_array_equal(preprocessing.as_input_type(pixels, "uint8"), [0, 0, 1, 2, 255, 255])


class TestBatches:
    IMAGES = [noise(37, 90), noise(200, 41), noise(1, 1)]

    @pytest.mark.parametrize("interpolation", ["pillow", "bilinear"])
    def test_a_batch_is_that_of_detect(self, interpolation):
        rule = {"min_side": 50, "max_side": 120, "rounding": "floor", "size_divisor": 32}
        rule["interpolation"] = interpolation
        ours = preprocessing.batch(self.IMAGES, rule, "float32")
        expected = detecting.batch(self.IMAGES, rule)
        np.testing.assert_array_equal(ours["image_sizes"], expected["image_sizes"])
        assert ours["images"].dtype == np.float32 and ours["image_sizes"].dtype == np.int32
        np.testing.assert_allclose(ours["images"], expected["images"], atol=3e-5)

    def test_a_letterbox_is_filled_from_the_top_left(self):
        # 37 x 90 into 64 x 100: the width binds, 100 / 90 * 37 = 41.1; 200 x 41: 64 / 200 * 41 = 13.1.
        rule = {"interpolation": "pillow", "rounding": "half_up"}
        boxed = preprocessing.letterbox(self.IMAGES, (64, 100), rule, "uint8")
        assert boxed["images"].shape == (3, 64, 100, 3) and boxed["images"].dtype == np.uint8
        np.testing.assert_array_equal(boxed["image_sizes"], [[41, 100], [64, 13], [64, 64]])
        resized = Image.fromarray(self.IMAGES[1]).resize((13, 200), Image.Resampling.BILINEAR)
        resized = np.asarray(resized.resize((13, 64), Image.Resampling.BILINEAR))
        np.testing.assert_array_equal(boxed["images"][1, :, :13], resized)
        assert not boxed["images"][1, :, 13:].any() and not boxed["images"][0, 41:].any()

    def test_where_the_rule_fits_the_frame_it_is_the_rule(self):
        # 480 x 640 to 320: 426.7 wide, which torchvision floors.
        rule = {"min_side": 320, "max_side": 640, "rounding": "floor", "interpolation": "bilinear", "size_divisor": 32}
        picture = [np.zeros((480, 640, 3), np.uint8)]
        boxed = preprocessing.letterbox(picture, (320, 640), rule, "float32")
        np.testing.assert_array_equal(boxed["image_sizes"], [[320, 426]])
        np.testing.assert_array_equal(preprocessing.batch(picture, rule, "float32")["image_sizes"], [[320, 426]])

    def test_a_description_says_which(self, tiny_model):
        framed = preprocessing.prepare(self.IMAGES, describe(tiny_model, input_type="float32", frame=(64, 96)))
        assert framed["images"].shape == (3, 64, 96, 3) and framed["images"].dtype == np.float32
        free = preprocessing.prepare(self.IMAGES[:1], describe(tiny_model, input_type="uint8"))
        assert free["images"].dtype == np.uint8
        # 37 x 90 by 800 / 1333: the longer side binds, 1333 / 90 * 37 = 548.01.
        np.testing.assert_array_equal(free["image_sizes"], [[548, 1333]])
        assert free["images"].shape == (1, 576, 1344, 3)
