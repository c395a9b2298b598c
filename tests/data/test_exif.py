"""Which way up an image is read: as the annotations' width and height say, and else as it is looked at.

Each form of picture with each orientation: test_picture_formats.py.
"""

import json

import numpy as np
import pytest
from PIL import Image, ImageOps

from keras_fpn.console.errors import UserError
from keras_fpn.data import decode_image, load_coco, readable_errors


@pytest.fixture
def write(tmp_path):
    """`write(orientation, size)` -> path of a PNG of noise whose note says so; size is (width, height)."""

    def make(orientation, size=(30, 20)):
        pixels = np.random.default_rng(1).integers(0, 256, (*size[::-1], 3), np.uint8)
        exif = Image.Exif()
        exif[274] = orientation
        path = tmp_path / f"{orientation}.png"
        Image.fromarray(pixels).save(path, exif=exif)
        return path

    return make


def stored_and_upright(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")), np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))


@pytest.mark.parametrize("orientation", [3, 6])
def test_of_a_square_the_upright_view_counts(write, orientation):
    path = write(orientation, (24, 24))
    np.testing.assert_array_equal(decode_image(str(path), (24, 24)), stored_and_upright(path)[1])


def test_a_size_that_fits_neither_way_is_told_with_both(write):
    path = write(6)
    with pytest.raises(UserError, match=r"say 31 x 20 pixels \(width x height\), the file has 30 x 20 \(20 x 30 as"):
        with readable_errors():
            decode_image(str(path), (20, 31))


@pytest.mark.parametrize("cache", [False, True])
@pytest.mark.parametrize("size", [(30, 20), (20, 30)])
def test_boxes_and_pixels_of_a_batch_are_of_one_view(write, tmp_path, size, cache):
    path = write(6)
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
