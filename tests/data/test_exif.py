"""Which way up an image is read: as the annotations' width and height say, and else as it is looked at."""

import io
import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from keras_fpn.console.errors import UserError
from keras_fpn.data import decode_image, load_coco, readable_errors
from keras_fpn.data.image_heads import READS_WEBP

KINDS = ("JPEG", "PNG", "WEBP") if READS_WEBP else ("JPEG", "PNG")


@pytest.fixture
def write(tmp_path):
    """`write(kind, orientation, size)` -> path of a picture of noise whose note says so; size is (width, height)."""

    def make(kind, orientation, size=(30, 20)):
        pixels = np.random.default_rng(1).integers(0, 256, (*size[::-1], 3), np.uint8)
        exif = Image.Exif()
        exif[274] = orientation
        content = io.BytesIO()
        options = {"quality": 95} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
        Image.fromarray(pixels).save(content, kind, exif=exif, **options)
        path = tmp_path / f"{kind}{orientation}.image"
        path.write_bytes(content.getvalue())
        return path

    return make


@pytest.fixture(scope="module")
def decode():
    """`decode(path)` or `decode(path, size)`: `decode_image` in two graphs for all, as the pipeline has it in one."""
    alone = tf.function(lambda path: decode_image(path), input_signature=[tf.TensorSpec([], tf.string)])
    sized = tf.function(decode_image, input_signature=[tf.TensorSpec([], tf.string), tf.TensorSpec([2], tf.int32)])

    def read(path, size=None):
        return alone(str(path)) if size is None else sized(str(path), tf.constant(size, tf.int32))

    return read


def stored_and_upright(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")), np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", KINDS)
def test_an_image_is_turned_as_pillow_turns_it(write, decode, kind, orientation):
    path = write(kind, orientation)
    stored, upright = stored_and_upright(path)
    np.testing.assert_array_equal(decode(path), upright)
    np.testing.assert_array_equal(decode(path, upright.shape[:2]), upright)
    assert (orientation == 1) == np.array_equal(stored, upright)
    if orientation >= 5:  # the annotations say which way their boxes were drawn
        np.testing.assert_array_equal(decode(path, stored.shape[:2]), stored)


@pytest.mark.parametrize("orientation", [3, 6])
def test_of_a_square_the_upright_view_counts(write, decode, orientation):
    path = write("JPEG", orientation, (24, 24))
    np.testing.assert_array_equal(decode(path, (24, 24)), stored_and_upright(path)[1])


def test_a_size_that_fits_neither_way_is_told_with_both(write):
    path = write("JPEG", 6)
    with pytest.raises(UserError, match=r"say 31 x 20 pixels \(width x height\), the file has 30 x 20 \(20 x 30 as"):
        with readable_errors():
            decode_image(str(path), (20, 31))


@pytest.mark.parametrize("cache", [False, True])
@pytest.mark.parametrize("size", [(30, 20), (20, 30)])
def test_boxes_and_pixels_of_a_batch_are_of_one_view(write, tmp_path, size, cache):
    path = write("PNG", 6)
    width, height = size
    document = {
        "images": [{"id": 1, "file_name": path.name, "width": width, "height": height}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [2, 3, width - 4, height - 5]}],
        "categories": [{"id": 1, "name": "a"}],
    }
    (tmp_path / "a.json").write_text(json.dumps(document))
    sides = {"min_side": 20, "max_side": 30, "size_divisor": 1, "cache": cache}
    inputs, targets = next(iter(load_coco(tmp_path / "a.json", tmp_path, batch_size=1, **sides)))
    stored, upright = stored_and_upright(path)
    np.testing.assert_array_equal(inputs["images"][0], stored if size == (30, 20) else upright)
    np.testing.assert_array_equal(targets["boxes"][0], [[2, 3, width - 2, height - 2]])
