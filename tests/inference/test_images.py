"""Image files as every runtime gets them, and detections back in their pixels; none of it needs TensorFlow."""

import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import keras_fpn
from keras_fpn.inference import images, listing, picture_names
from keras_fpn.parts.output_fields import STANDARD

CLASSES = types.SimpleNamespace(class_names=("cat", "dog"), category_ids=(17, 18), output_fields=STANDARD)


def test_no_framework_is_imported():
    code = "import sys; from keras_fpn import images, visualize; print({'tensorflow', 'keras'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


class TestReadImage:
    def test_an_array_is_rounded_and_grey_gets_three_channels(self):
        image, file_name = images.read_image(np.array([[-3.0, 0.6], [254.4, 300.0]]))
        np.testing.assert_array_equal(image, np.array([[[0] * 3, [1] * 3], [[254] * 3, [255] * 3]], np.uint8))
        assert image.dtype == np.uint8 and file_name is None

    def test_an_orientation_that_cannot_be_read_is_none(self, tmp_path):
        Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
        assert images.read_image(tmp_path / "a.jpg")[0].shape == (4, 6, 3)

    def test_an_array_of_no_numbers_is_refused(self):
        for value in (np.nan, np.inf, -np.inf):
            with pytest.raises(keras_fpn.UserError, match="an image array holds NaN or infinity"):
                images.read_image(np.full((3, 4), value))
        for array in (np.full((3, 4), "x"), np.full((3, 4), 1j), np.full((3, 4), None)):
            with pytest.raises(keras_fpn.UserError, match="an image array has dtype"):
                images.read_image(array)

    def test_a_picture_that_is_cut_short(self, tmp_path):
        noise = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / "a.png")
        (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:-3000])
        for image, name in ((tmp_path / "a.png", r"a\.png"), (Image.open(tmp_path / "a.png"), "a picture")):
            with pytest.raises(keras_fpn.UserError, match=rf"{name}: not a readable image .*; re-encode or remove it"):
                images.read_image(image)

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
    (tmp_path / "folder.jpg" / "0.webp").touch()
    assert [path.name for path in images.list_images([tmp_path])] == ["a.png", "b.JPG", "0.webp"]
    found = listing.find_images([tmp_path, tmp_path / "b.JPG"])
    assert found.roots == [tmp_path] * 3 + [None] and (found.others, found.hidden) == (1, 1)
    assert found.skipped().startswith("skipped 1 file that is no picture (.jpg, ")
    assert found.skipped().endswith(") and 1 whose name begins with a dot")
    assert listing.find_images([tmp_path], without=tmp_path / "folder.jpg").files == found.files[:2]


def test_a_folder_that_links_lead_back_to_is_read_once(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").touch()
    (tmp_path / "in" / "again").symlink_to(tmp_path / "in")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    assert [path.name for path in images.list_images([tmp_path])] == ["a.png"]
    assert len(images.list_images([tmp_path / "link"])) == 1


def test_what_is_no_regular_file_is_named(tmp_path):
    os.mkfifo(tmp_path / "fifo.jpg")
    with pytest.raises(keras_fpn.UserError, match=r"fifo\.jpg: no regular file"):
        images.list_images([tmp_path / "fifo.jpg"])
    with pytest.raises(keras_fpn.UserError, match="no images in this folder"):
        images.list_images([tmp_path])


def test_an_enormous_picture_is_refused(tmp_path):
    Image.new("L", (64, 64)).save(tmp_path / "big.png")
    images.check_images([tmp_path / "big.png"], max_pixels=4096)
    for read in (lambda file, limit: images.check_images([file], limit), images.read_image):
        with pytest.raises(keras_fpn.UserError, match=r"big\.png: 64 x 64 pixels, more than the 0\.004095 million"):
            read(tmp_path / "big.png", 4095)


class TestNames:
    def names(self, *given, longest=255):
        files = [Path(file) for file, _ in given]
        roots = [None if root is None else Path(root) for _, root in given]
        return [path.as_posix() for path in picture_names.names_for(listing.Listing(files, roots), longest)]

    def test_the_sources_own(self):
        names = self.names(("in/a.JPG", "in"), ("in/s/b.webp", "in"), ("c.bmp", None), ("in/s/d.gif", "in"))
        assert names == ["a.JPG", "s/b.webp", "c.bmp", "s/d.gif.png"]
        assert self.names(("a.tif", None), ("b.jfif", None), ("c", None)) == ["a.tif.png", "b.jfif.jpg", "c.png"]

    def test_no_two_alike(self):
        given = ["x/a.jpg", "y/a.jpg", "A.jpg", "a-2.jpg", "caf\u00e9.png", "cafe\u0301.png", "a.jpg"]
        names = self.names(*((name, None) for name in given))
        assert names[:4] == ["a.jpg", "a-3.jpg", "A-4.jpg", "a-2.jpg"]
        assert len({picture_names.same_name(Path(name)) for name in names}) == len(given)

    def test_a_file_and_a_folder_alike(self):
        names = self.names(("x/a.jpg", None), ("in/a.jpg/b.jpg", "in"))
        assert names == ["a-2.jpg", "a.jpg/b.jpg"]

    @pytest.mark.parametrize("longest", [143, 255])
    def test_long_names_end_in_a_hash(self, longest):
        given = ["e" * 250 + ".jpg", "e" * 250 + "e.jpg", "\u00e9" * 130 + ".gif", "\U0001f600" * 62 + ".jpeg"]
        names = self.names(*((name, None) for name in given), ("in/" + "d" * 300 + "/a.jpg", "in"), longest=longest)
        assert len(set(names)) == 5
        assert max(len(os.fsencode(part)) for name in names for part in name.split("/")) <= longest
        assert [Path(name).suffix for name in names] == [".jpg", ".jpg", ".png", ".jpeg", ".jpg"]


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

    @pytest.mark.parametrize(
        ("bounding_box_format", "wanted"),
        [
            ("xyxy", [[30, 40, 90, 80], [0, 0, 150, 100]]),
            ("yxyx", [[40, 30, 80, 90], [0, 0, 100, 150]]),
            ("xywh", [[30, 40, 60, 40], [0, 0, 150, 100]]),
            ("center_yxhw", [[60, 60, 40, 60], [50, 75, 100, 150]]),
            ("rel_yxyx", [[0.4, 0.2, 0.8, 0.6], [0, 0, 1, 1]]),
        ],
    )
    def test_the_form_of_keras(self, bounding_box_format, wanted):
        found = self.found(0.5).to_keras(bounding_box_format)
        np.testing.assert_allclose(found["boxes"], np.array(wanted, np.float32), rtol=1e-7)
        assert found["labels"].tolist() == [1, 0] and found["confidences"].tolist() == pytest.approx([0.9, 0.5])
        assert [found[key].dtype for key in ("boxes", "labels", "confidences")] == [np.float32, np.int32, np.float32]
        assert self.found(1.0).to_keras(bounding_box_format)["boxes"].shape == (0, 4)

    def test_a_format_that_keras_does_not_know(self):
        with pytest.raises(keras_fpn.UserError, match="no format 'xxyy'; did you mean 'xyxy'"):
            self.found(0.5).to_keras("xxyy")
