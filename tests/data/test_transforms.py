"""Images and boxes change together, by the rules of the reference implementations."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as some
from PIL import Image

from keras_fpn.console.errors import UserError
from keras_fpn.data import transforms
from keras_fpn.data.fields import OBJECT_FIELDS

BOXES, CLASSES = OBJECT_FIELDS["boxes"], OBJECT_FIELDS["classes"]


def _size(*arguments):
    return tuple(int(side) for side in transforms.resize_size(*arguments))


@pytest.mark.parametrize(
    "size, half_up, floor",
    [
        (
            (480, 640),
            (800, 1067),
            (800, 1066),
        ),  # detectron2's and torchvision's answers for COCO's usual size
        ((640, 480), (1067, 800), (1066, 800)),
        ((427, 640), (800, 1199), (800, 1199)),
        ((333, 500), (800, 1201), (800, 1201)),
        ((200, 640), (417, 1333), (416, 1333)),  # the longer side decides
        ((800, 1333), (800, 1333), (800, 1333)),
        ((612, 612), (800, 800), (800, 800)),
        ((1, 5000), (1, 1333), (1, 1333)),  # never less than a pixel
    ],
)
def test_resize_size(size, half_up, floor):
    assert _size(*size, 800, 1333) == half_up
    assert _size(*size, 800, 1333, "floor") == floor


side = some.integers(16, 4000)


@given(side, side, some.sampled_from([(800, 1333), (640, 1333), (600, 1000), (320, 640), (256, 256)]))
def test_resize_size_is_the_rule_in_python_floats(height, width, limits):
    min_side, max_side = limits
    scale = min(min_side / min(height, width), max_side / max(height, width))
    assert _size(height, width, *limits, "floor") == (int(height * scale), int(width * scale))
    scale = min_side / min(height, width)
    sides = (min_side, scale * width) if height < width else (scale * height, min_side)
    if max(sides) > max_side:
        sides = tuple(length * (max_side / max(sides)) for length in sides)
    assert _size(height, width, *limits) == tuple(int(length + 0.5) for length in sides)


def test_unknown_rounding():
    with pytest.raises(UserError, match="rounding must be .*, not 'up'"):
        transforms.resize_size(480, 640, 800, 1333, "up")


@given(side, side, side, side)
def test_fit_size(height, width, frame_height, frame_width):
    new_height, new_width = (
        int(length) for length in transforms.fit_size(height, width, frame_height, frame_width)
    )
    assert 1 <= new_height <= frame_height and 1 <= new_width <= frame_width
    assert new_height == frame_height or new_width == frame_width


def _resized_by_pillow(pixels, height, width):
    """Horizontally, then vertically. Pillow 13 in one call may take the other order where the height shrinks."""
    wide = Image.fromarray(pixels).resize((width, pixels.shape[0]), Image.Resampling.BILINEAR)
    return np.asarray(wide.resize((width, height), Image.Resampling.BILINEAR))


def _random_pixels(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


length = some.integers(1, 90)


@given(length, length, length, length, some.integers(0, 99))
def test_pillow_resize_equals_pillows_to_the_bit(height, width, new_height, new_width, seed):
    pixels = _random_pixels(height, width, seed)
    resized = transforms.resize_image(tf.constant(pixels), new_height, new_width, "pillow").numpy()
    assert resized.dtype == np.uint8
    np.testing.assert_array_equal(resized, _resized_by_pillow(pixels, new_height, new_width))


@given(some.integers(20, 300), some.integers(20, 300), some.sampled_from([300, 337, 400]))
def test_pillow_resize_that_enlarges_is_one_call_of_pillows(height, width, min_side):
    pixels = _random_pixels(height, width)
    new_height, new_width = _size(height, width, min_side, 9999)
    wanted = Image.fromarray(pixels).resize((new_width, new_height), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(transforms.resize_image(tf.constant(pixels), new_height, new_width), wanted)


@pytest.mark.slow
def test_pillow_resize_of_thousands_of_taps():
    """2000 pixels into one: the float64 sum of the weights depends on the order in which they are added."""
    pixels = _random_pixels(2000, 3)
    resized = transforms.resize_image(tf.constant(pixels), 1, 2).numpy()
    np.testing.assert_array_equal(resized, _resized_by_pillow(pixels, 1, 2))


def test_pillow_resize_of_the_extremes_stays_within_eight_bits():
    for value in (0, 255):
        pixels = np.full((301, 199, 3), value, np.uint8)
        assert np.unique(transforms.resize_image(tf.constant(pixels), 97, 401)).tolist() == [value]


def test_bilinear_resize_takes_two_pixels_and_rounds_nothing():
    row = np.zeros((1, 8, 3), np.uint8)
    row[:, 3] = 255  # between the samples at 1.5 and 5.5: a filter as wide as the shrinking would see it
    assert not transforms.resize_image(tf.constant(row), 1, 2, "bilinear").numpy().any()
    assert transforms.resize_image(tf.constant(row), 1, 2, "pillow").numpy().max() == 46  # 255 * 0.625 / 3.5
    pair = tf.constant([[[0, 0, 0], [255, 1, 100]]], tf.uint8)
    resized = transforms.resize_image(pair, 1, 4, "bilinear")
    assert resized.dtype == tf.float32
    # Samples at -0.25, 0.25, 0.75 and 1.25 of two pixels; those outside take the border's.
    assert resized.numpy()[0, :, 0].tolist() == [0.0, 63.75, 191.25, 255.0]
    assert resized.numpy()[0, :, 1].tolist() == [0.0, 0.25, 0.75, 1.0]


@given(length, length, length, length)
def test_bilinear_resize_equals_tensorflows_but_for_rounding(height, width, new_height, new_width):
    pixels = tf.constant(_random_pixels(height, width))
    resized = transforms.resize_image(pixels, new_height, new_width, "bilinear")
    # TensorFlow rounds coordinates once more than torch does: 2e-5 of a pixel here, between values 255 apart.
    np.testing.assert_allclose(resized, tf.image.resize(pixels, (new_height, new_width)), atol=5e-3)


@pytest.mark.parametrize("interpolation", ["pillow", "bilinear"])
def test_resize_to_the_same_size_changes_nothing(interpolation):
    pixels = _random_pixels(20, 30)
    np.testing.assert_array_equal(transforms.resize_image(tf.constant(pixels), 20, 30, interpolation), pixels)


@pytest.mark.parametrize("interpolation", ["pillow", "bilinear"])
def test_resize_in_a_graph_of_any_size_is_the_same(interpolation):
    @tf.function(input_signature=[tf.TensorSpec([None, None, 3], tf.uint8), tf.TensorSpec([2], tf.int32)])
    def resize(image, size):
        return transforms.resize_image(image, size[0], size[1], interpolation)

    for size in ((31, 47), (90, 61), (60, 61), (59, 80)):
        pixels = tf.constant(_random_pixels(60, 80))
        eager = transforms.resize_image(pixels, *size, interpolation)
        np.testing.assert_array_equal(resize(pixels, tf.constant(size)), eager)


def test_unknown_interpolation():
    with pytest.raises(UserError, match='interpolation must be "pillow" or "bilinear", not \'area\''):
        transforms.resize_image(tf.zeros([4, 4, 3], tf.uint8), 8, 8, "area")


def test_boxes_scale_by_the_ratio_of_each_axis():
    image = tf.zeros([480, 640, 3], tf.uint8)
    resized, rows = transforms.resize(image, {BOXES: tf.constant([[64.0, 48, 640, 480]])}, (800, 1067))
    assert resized.shape == (800, 1067, 3)
    # 1067 / 640, not 800 / 480: the box still ends where the image ends.
    np.testing.assert_allclose(rows[BOXES], [[106.7, 80, 1067, 800]], rtol=1e-6)


def _marked(box, height=24, width=36):
    """An image whose only lit pixels are those of an integer box."""
    image = np.zeros((height, width, 3), np.uint8)
    x1, y1, x2, y2 = box
    image[y1:y2, x1:x2] = 255
    return tf.constant(image), tf.constant([box], tf.float32)


def _lit(image):
    rows, columns = np.nonzero(np.asarray(image)[..., 0])
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_flip_moves_boxes_with_their_pixels():
    image, boxes = _marked([3, 5, 10, 20])
    flipped, flipped_rows = transforms.flip_horizontal(image, {BOXES: boxes})
    assert flipped_rows[BOXES].numpy().tolist() == [[26, 5, 33, 20]] == [_lit(flipped)]
    again, again_rows = transforms.flip_horizontal(flipped, flipped_rows)
    np.testing.assert_array_equal(again, image)
    np.testing.assert_array_equal(again_rows[BOXES], boxes)


def test_crop_moves_and_clips_boxes_with_their_pixels():
    image, boxes = _marked([3, 5, 10, 20])
    cut, rows = transforms.crop(image, {BOXES: boxes}, 8, 6, 10, 12)
    assert cut.shape == (10, 12, 3)
    assert rows[BOXES].numpy().tolist() == [[0, 0, 4, 10]] == [_lit(cut)]


def test_crop_beyond_the_image_and_objects_it_loses():
    image, boxes = _marked([3, 5, 10, 20])
    rows = {BOXES: tf.concat([boxes, [[0.0, 0, 5, 5], [30, 5, 34.5, 20]]], 0), CLASSES: tf.constant([7, 8, 9])}
    cut, left = transforms.crop(image, rows, 4, 4, 100, 30)
    assert cut.shape == (20, 30, 3)  # what there is
    assert left[CLASSES].numpy().tolist() == [7, 8, 9]
    _, left = transforms.crop(image, rows, 6, 4, 100, 30)
    assert left[CLASSES].numpy().tolist() == [7, 9] and len(left[BOXES]) == 2
    _, left = transforms.crop(image, {BOXES: tf.zeros([0, 4])}, 6, 4, 100, 30)
    assert left[BOXES].shape == (0, 4)


def test_padding_is_zeros_at_the_bottom_and_the_right():
    image = tf.ones([3, 5, 3], tf.uint8)
    padded = transforms.pad_image(image, transforms.padded_side(3, 4), transforms.padded_side(5, 4))
    assert padded.shape == (4, 8, 3)
    assert int(tf.reduce_sum(padded)) == int(tf.reduce_sum(padded[:3, :5])) == 3 * 5 * 3
    assert [transforms.padded_side(length, 32) for length in (1, 32, 33, 1333)] == [32, 32, 64, 1344]
