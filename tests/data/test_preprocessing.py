"""From a JPEG to the network's input, and boxes back: equal to torchvision's and detectron2's own transforms."""

import functools
import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_fpn.data import decode_image, load_coco
from keras_fpn.inference.results import detections_to_results
from keras_fpn.layers.pixels import PixelNormalization
from keras_fpn.models.settings import resolve
from keras_fpn.parts.classes import numbered

SIZES = ((480, 640), (427, 640), (333, 500), (800, 1333), (797, 601))
MIXED = (0, 2, 4)
BATCHES = {**{f"{height}x{width}": (index,) for index, (height, width) in enumerate(SIZES)}, "mixed": MIXED}
LIMITS = ((800, 1333), (320, 640))
# Of a landscape, of one that is as large as it may be, and of all in one batch; the others in the slow part.
QUICK = ("427x640", "800x1333", "mixed")
EVERY_BATCH = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in BATCHES]


@pytest.fixture(scope="module")
def recorded(golden):
    return golden("preprocessing")


@pytest.fixture(scope="module")
def picture(request):
    """The pixels of preprocessing.jpg, read as `load_coco` reads them."""
    return decode_image(str(request.config.rootpath / "tests" / "golden" / "preprocessing.jpg")).numpy()


@pytest.fixture(scope="module")
def folder(picture, tmp_path_factory):
    """Its upper left corners in the recorded sizes, as PNG files, which keep the JPEG's pixels."""
    folder = tmp_path_factory.mktemp("corners")
    for index, (height, width) in enumerate(SIZES):
        Image.fromarray(picture[:height, :width]).save(folder / f"{index}.png")
    return folder


def _spread(array):
    height, width = array.shape[-3:-1]
    rows, columns = (np.linspace(0, side - 1, 16).round().astype(int) for side in (height, width))
    return array[..., rows[:, None], columns, :]


@functools.cache
def _batch(folder, indices, profile, limits):
    """The batch that `load_coco` makes of some of the images under a profile, and the profile's settings."""
    images = [
        {"id": index, "file_name": f"{index}.png", "height": SIZES[index][0], "width": SIZES[index][1]}
        for index in indices
    ]
    document = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "thing"}]}
    (folder / "instances.json").write_text(json.dumps(document))
    settings = resolve("faster_rcnn", profile, {"resize": {"min_side": limits[0], "max_side": limits[1]}})
    dataset = load_coco(folder / "instances.json", folder, batch_size=len(indices), **settings["resize"])
    ((inputs, _),) = list(dataset)
    return inputs, settings


def test_the_jpeg_is_read_as_pillow_reads_it(picture, recorded):
    np.testing.assert_array_equal(_spread(picture), recorded["picture"])


@pytest.mark.parametrize("limits", LIMITS, ids=str)
@pytest.mark.parametrize("name", EVERY_BATCH)
@pytest.mark.parametrize("profile", ["torchvision", "detectron2"])
def test_batches_equal_the_references(folder, recorded, profile, name, limits):
    inputs, settings = _batch(folder, BATCHES[name], profile, limits)
    wanted = recorded.under(f"{profile}/{limits[0]}/{name}")
    np.testing.assert_array_equal(inputs["image_sizes"], wanted["sizes"])
    values = PixelNormalization(**settings["pixels"])(inputs["images"], inputs["image_sizes"]).numpy()
    np.testing.assert_array_equal(values.shape, wanted["shape"])
    np.testing.assert_allclose(_spread(values), wanted["values"], rtol=0, atol=1e-5)
    for image, (height, width) in zip(values, wanted["sizes"], strict=True):
        assert not image[height:].any() and not image[:, width:].any()
        assert image[:height, :width].any(axis=(1, 2)).all()


@pytest.mark.parametrize("limits", LIMITS, ids=str)
@pytest.mark.parametrize("name", EVERY_BATCH)
def test_pixels_equal_detectron2s_before_normalisation(folder, recorded, name, limits):
    inputs, _ = _batch(folder, BATCHES[name], "detectron2", limits)
    assert inputs["images"].dtype == tf.uint8
    for number, (height, width) in enumerate(inputs["image_sizes"].numpy()):
        pixels = inputs["images"][number, :height, :width, ::-1].numpy()  # detectron2 keeps BGR
        wanted = recorded[f"detectron2/{limits[0]}/{name}/pixels/{number}"]
        np.testing.assert_array_equal(_spread(pixels), wanted)


@pytest.mark.parametrize("reference", ["torchvision", "detectron2"])
def test_boxes_return_to_the_files_pixels_as_the_references(recorded, reference):
    boxes = recorded["boxes/resized"]
    found = {
        "boxes": boxes[None],
        "scores": np.ones((1, len(boxes)), np.float32),
        "classes": np.zeros((1, len(boxes)), np.int32),
        "num_detections": [len(boxes)],
    }
    resized_size = recorded["detectron2/800/427x640/sizes"]
    results = detections_to_results(found, [1], resized_size, np.array([[427, 640]]), numbered(1))
    corners = np.array([result["bbox"] for result in results])
    corners[:, 2:] += corners[:, :2]
    np.testing.assert_allclose(corners, recorded[f"boxes/{reference}"], atol=1e-4)
