"""Targets of a mask head: torchvision's by a golden, detectron2's by its rules with torchvision and pycocotools."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf
from pycocotools import mask as coco_mask

from keras_fpn.console.errors import UserError
from keras_fpn.stages.mask_targets import bitmap_targets, polygon_targets

SIDE = 28
# In graphs: TensorFlow's optimiser may round otherwise than its single operations.
from_bitmaps = tf.function(bitmap_targets)
from_polygons = tf.function(polygon_targets, reduce_retracing=True)


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(pathlib.Path(__file__).parents[1] / "golden" / "masks.npz"))


@pytest.fixture(scope="module")
def given(golden):
    """Bitmaps, sizes, boxes and objects; what lies beyond the second image must not matter."""
    bitmaps = np.unpackbits(golden["bitmaps"], axis=-1)
    for image, (height, width) in enumerate(golden["sizes"]):
        assert not bitmaps[image, :, height:].any() and not bitmaps[image, :, :, width:].any()
        bitmaps[image, :, height:], bitmaps[image, :, :, width:] = 1, 1
    return bitmaps, golden["sizes"], golden["boxes"], golden["objects"]


def test_soft_targets_are_torchvision_s(golden, given):
    np.testing.assert_allclose(from_bitmaps(*given), golden["soft"], atol=1e-5)
    np.testing.assert_allclose(bitmap_targets(*given), golden["soft"], atol=1e-5)


def test_targets_of_bitmaps_are_detectron2_s(golden, given):
    expected = np.unpackbits(golden["bitmask"], axis=-1, count=SIDE)
    np.testing.assert_array_equal(from_bitmaps(*given, rule="bitmask"), expected)
    assert 0.1 < expected.mean() < 0.9


def _square():
    """A square at [10, 10, 20, 20], and three RoIs on it."""
    bitmaps = np.zeros((1, 1, 40, 40), np.uint8)
    bitmaps[0, 0, 10:20, 10:20] = 1
    points = [[10, 10, 0], [20, 10, 0], [20, 20, 0], [10, 20, 0]]
    boxes = np.array([[[10, 10, 20, 20], [5, 5, 15, 15], [10.3, 9.7, 20.9, 20.1]]], np.float32)
    return bitmaps, np.array([[[*points, [-1] * 3]]], np.float32), boxes, np.zeros((1, 3), np.int32)


def test_a_square_gives_the_sums_of_the_three_rules():
    """The sums that torchvision's and detectron2's own code gives; torchvision's is shifted by half a pixel."""
    bitmaps, polygons, boxes, objects = _square()
    soft = from_bitmaps(bitmaps, [[40, 40]], boxes, objects)
    np.testing.assert_allclose(tf.reduce_sum(soft, [2, 3])[0], [707.94, 236.94, 637.39], atol=0.006)
    np.testing.assert_allclose(soft[0, 0, -1, -3:], [0.1594, 0.0957, 0.0319], atol=6e-5)
    bitmask = from_bitmaps(bitmaps, [[40, 40]], boxes, objects, rule="bitmask")
    assert tf.reduce_sum(bitmask, [2, 3])[0].numpy().tolist() == [780, 195, 700]
    drawn = from_polygons(polygons, boxes, objects)
    assert tf.reduce_sum(drawn, [2, 3])[0].numpy().tolist() == [784, 196, 702]


def test_a_roi_without_an_object_has_no_target():
    bitmaps, polygons, boxes, objects = _square()
    some = np.array([[-1, 0, -1]], np.int32)
    for side in (SIDE, 14):
        of_bitmaps = bitmap_targets(bitmaps, [[40, 40]], boxes, some, side=side)
        for targets in (of_bitmaps, polygon_targets(polygons, boxes, some, side=side)):
            assert targets.shape == (1, 3, side, side)
            assert tf.reduce_any(targets > 0, [2, 3])[0].numpy().tolist() == [False, True, False]
    assert not bitmap_targets(bitmaps[:, :0], [[40, 40]], boxes, objects - 1).numpy().any()
    assert not polygon_targets(polygons[:, :, :0], boxes, objects - 1).numpy().any()
    assert not polygon_targets(polygons[:, :, :0], boxes, objects).numpy().any()  # a crowd has no points
    with pytest.raises(UserError, match='rule must be "soft" or "bitmask", not \'polygon\''):
        bitmap_targets(bitmaps, [[40, 40]], boxes, objects, rule="polygon")


def _drawn(polygons, box):
    """detectron2's `rasterize_polygons_within_box`, by pycocotools."""
    scale = SIDE / np.maximum(box[2:] - box[:2], np.float32(0.1)).astype(np.float64)
    parts = [((points.astype(np.float64) - box[:2]) * scale).ravel().tolist() for points in polygons]
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(parts, SIDE, SIDE)))


def _polygons(rng):
    """Parts of an object: many points or few, crossing themselves, on whole pixels or not."""
    parts = []
    for _ in range(rng.integers(1, 4)):
        points = rng.uniform(0, 200, 2) + rng.normal(0, np.exp(rng.uniform(0, 4)), (rng.integers(3, 30), 2))
        grid = rng.choice([0, 0, 1, 5])
        parts.append((np.round(points / grid) * grid if grid else points).astype(np.float32))
    return parts


def test_targets_of_polygons_are_pycocotools_cell_for_cell():
    rng = np.random.default_rng(11)
    images, objects, rois = 3, 8, 60
    outlines = [[_polygons(rng) for _ in range(objects)] for _ in range(images)]
    polygons = np.full((images, objects, 90, 3), -1, np.float32)
    own = rng.integers(0, objects, (images, rois))
    boxes = np.zeros((images, rois, 4), np.float32)
    for image in range(images):
        for index, parts in enumerate(outlines[image]):
            points = np.concatenate([np.insert(part, 2, number, axis=1) for number, part in enumerate(parts)])
            polygons[image, index, : len(points)] = points
        for roi, index in enumerate(own[image]):
            points = np.concatenate(outlines[image][index])
            box = np.concatenate([points.min(0), points.max(0)])
            box += rng.normal(0, 1, 4) * (box[2:] - box[:2]).mean() * rng.choice([0, 0.1, 0.4])
            box = np.round(box) if roi % 3 == 0 else box
            boxes[image, roi] = [*box[:2], *np.maximum(box[2:], box[:2] + rng.choice([0, 0.05, 1]))]
    found = from_polygons(polygons, boxes, own).numpy()
    expected = [
        [_drawn(outlines[image][own[image, roi]], boxes[image, roi]) for roi in range(rois)] for image in range(images)
    ]
    np.testing.assert_array_equal(found, expected)
    assert 0.1 < found.mean() < 0.9
