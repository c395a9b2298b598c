"""Image files as every runtime gets them, and detections back in their pixels; none of it needs TensorFlow."""

import subprocess
import sys
import types

import numpy as np
import pytest
from PIL import Image

import keras_fpn
from keras_fpn.inference import images
from keras_fpn.parts.output_fields import STANDARD

CLASSES = types.SimpleNamespace(class_names=("cat", "dog"), category_ids=(17, 18), output_fields=STANDARD)


def test_no_framework_is_imported():
    code = "import sys; from keras_fpn import images, visualize; print({'tensorflow', 'keras'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


class TestReadImage:
    def test_a_file_is_upright(self, tmp_path):
        pixels = np.random.default_rng(2).integers(0, 255, (40, 60, 3), np.uint8)
        exif = Image.Exif()
        exif[0x0112] = 6  # the camera was held so that the picture is to be turned clockwise by a quarter
        Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
        image, file_name = images.read_image(tmp_path / "turned.png")
        np.testing.assert_array_equal(image, np.rot90(pixels, -1))
        assert file_name == str(tmp_path / "turned.png")

    @pytest.mark.parametrize("big", [False, True])
    def test_sixteen_bits_keep_their_shades(self, big, tmp_path):
        shades = np.arange(65536, dtype=np.uint16).reshape(256, 256)
        Image.fromarray(shades.astype(">u2") if big else shades).save(tmp_path / "deep.png")
        image, _ = images.read_image(tmp_path / "deep.png")
        np.testing.assert_array_equal(image[..., 1], shades >> 8)

    def test_an_array_is_rounded_and_grey_gets_three_channels(self):
        image, file_name = images.read_image(np.array([[-3.0, 0.6], [254.4, 300.0]]))
        np.testing.assert_array_equal(image, np.array([[[0] * 3, [1] * 3], [[254] * 3, [255] * 3]], np.uint8))
        assert image.dtype == np.uint8 and file_name is None

    def test_what_is_no_image_is_named(self, tmp_path):
        (tmp_path / "text.jpg").write_text("no picture")
        with pytest.raises(keras_fpn.UserError, match=r"text\.jpg: not a readable image .*; re-encode or remove it"):
            images.read_image(tmp_path / "text.jpg")
        with pytest.raises(keras_fpn.UserError, match=r"absent\.jpg: no such image file"):
            images.read_image("absent.jpg")
        with pytest.raises(keras_fpn.UserError, match=r"shape \(3, 40, 40\)"):
            images.read_image(np.zeros((3, 40, 40), np.uint8))


def test_a_folder_gives_its_pictures(tmp_path):
    for name in ("b.JPG", "a.png", "._a.png", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "folder.jpg").mkdir()
    assert [path.name for path in images.list_images([tmp_path])] == ["a.png", "b.JPG"]


def test_an_enormous_picture_is_refused(tmp_path, monkeypatch):
    Image.new("L", (64, 64)).save(tmp_path / "big.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(keras_fpn.UserError, match=r"big\.png: not a readable image \(Image size"):
        images.check_images([tmp_path / "big.png"])


class TestInOriginalPixels:
    FOUND = {
        "boxes": np.array([[10, 20, 30, 40], [0, 0, 52, 50], [1, 1, 2, 2], [0, 0, 0, 0]], np.float32),
        "scores": np.array([0.9, 0.5, 0.4, 0.0], np.float32),
        "classes": np.array([1, 0, 1, -1], np.int32),
        "num_detections": np.int32(3),
    }

    def found(self, threshold, found=None):
        image = np.zeros((100, 150, 3), np.uint8)  # the detector saw it 50 high and 50 wide: twice and three times
        return images.in_original_pixels(found or self.FOUND, image, "street.jpg", (50, 50), threshold, CLASSES)

    def test_each_axis_by_its_own_ratio_and_clipped(self):
        one = self.found(0.5)
        np.testing.assert_array_equal(one.boxes, [[30, 40, 90, 80], [0, 0, 150, 100]])
        assert one.names == ["dog", "cat"] and one.category_ids == [18, 17]

    def test_padding_is_never_returned(self):
        assert len(self.found(0.0).boxes) == 3
        assert len(self.found(1.0).boxes) == 0

    def test_a_detector_without_classes_finds_the_first(self):
        bare = {name: value for name, value in self.FOUND.items() if name != "classes"}
        assert self.found(0.0, bare).names == ["cat"] * 3

    def test_coco_results(self):
        result = self.found(0.6).to_results(image_id=4)
        assert result == [
            {
                "file_name": "street.jpg",
                "image_id": 4,
                "category_id": 18,
                "category": "dog",
                "bbox": [30, 40, 60, 40],
                "score": pytest.approx(0.9),
            }
        ]
