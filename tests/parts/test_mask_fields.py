"""The output field of instance masks: pasted by its rule, told, drawn under boxes, and its truth of every kind."""

from types import SimpleNamespace

import numpy as np
import pytest

from keras_fpn.console.errors import UserError
from keras_fpn.inference.images import in_original_pixels
from keras_fpn.inference.results import detections_to_results
from keras_fpn.ops import mask_pasting, masks
from keras_fpn.parts.mask_fields import InstanceMasks
from keras_fpn.parts.output_fields import STANDARD, Place, rebuilt, showing
from keras_fpn.reporting import visualize

KNOWN = SimpleNamespace(class_names=("cup", "plate"), category_ids=(3, 9))


def disc(side=28, radius=0.4):
    """Probabilities of a disc, soft at its border."""
    y, x = (np.mgrid[:side, :side] + 0.5) / side - 0.5
    return (1 / (1 + np.exp((np.hypot(x, y) - radius) * 2 * side))).astype(np.float32)


def found(**more):
    return {
        "boxes": np.array([[10, 10, 60, 50], [0, 0, 30, 30], [0, 0, 0, 0]], np.float32),
        "scores": np.array([0.9, 0.6, 0], np.float32),
        "classes": np.array([1, 0, -1]),
        "masks": np.stack([disc(), np.ones((28, 28), np.float32), np.zeros((28, 28), np.float32)]),
        "num_detections": np.array(2),
    } | more


@pytest.mark.parametrize("rule", list(mask_pasting.RULES))
def test_masks_are_pasted_at_the_scale_of_the_file_and_the_box_stays_that_of_the_detection(rule):
    """Each axis by its own ratio, as 480 x 640 is not 800 x 1066 by one factor."""
    fields = (*STANDARD, InstanceMasks(rule=rule))
    detections = {name: value[None] for name, value in found().items()}
    results = detections_to_results(detections, [4], [(50, 60)], [(101, 180)], KNOWN, fields)
    boxes = np.array([[30, 20.2, 180, 101], [0, 0, 90, 60.6]], np.float32)
    expected = mask_pasting.paste_all(detections["masks"][0, :2], boxes, 101, 180, rule)
    assert [result["segmentation"] for result in results] == expected
    x1, y1, x2, y2 = boxes[0].tolist()
    assert results[0]["bbox"] == pytest.approx([x1, y1, x2 - x1, y2 - y1], abs=1e-4)
    assert masks.bounding_boxes(expected)[0, 2] < 130, "the disc does not fill its box"
    model = SimpleNamespace(output_fields=fields, **vars(KNOWN))
    of_file = in_original_pixels(found(), np.zeros((101, 180, 3), np.uint8), "a.png", (50, 60), 0.5, model)
    assert [result["segmentation"] for result in of_file.to_results(4)] == expected


def test_an_exported_detector_makes_the_field_again():
    field = InstanceMasks(14, "torchvision")
    told = field.describe((None, 100))
    assert told["shape"] == [None, 100, 14, 14] and told["kind"] == "instance_masks"
    assert "torchvision" in told["meaning"]
    (made,) = rebuilt({"masks": told})
    assert type(made) is InstanceMasks and made.arguments == {"side": 14, "rule": "torchvision"}
    assert made.shape == (14, 14) and made.bound == 1e-3
    with pytest.raises(UserError, match="unknown rule 'torchvison'; did you mean 'torchvision'"):
        InstanceMasks(rule="torchvison")


def test_the_truth_is_shown_from_each_kind_of_target():
    """A triangle in an image of 60 x 40, shown at thrice its size with a border of 20 and 10 pixels."""
    corners = np.array([[6.0, 4], [46, 4], [6, 34]])
    polygons = np.full((2, 7, 3), -1.0)
    polygons[1, :3] = np.concatenate([corners, [[0]] * 3], axis=1)
    polygons[1, 3:6] = [[50, 30, 1], [56, 30, 1], [56, 38, 1]]  # a second part
    outlines = [corners.ravel().tolist(), [50, 30, 56, 30, 56, 38]]
    bitmap = masks.decode(masks.from_annotation(outlines, 40, 60))
    bitmaps = np.zeros((2, 64, 64), np.uint8)  # as a batch has them, padded
    bitmaps[1, :40, :60] = bitmap
    size, place_of = (200, 280), {"ratio": np.array([3.0, 4.0]), "offset": (20, 10)}
    moved = [[p * f + o for p, f, o in zip(line, [3, 4] * 3, [20, 10] * 3, strict=True)] for line in outlines]
    expected = masks.from_annotation(moved, *size)
    place = Place(size, boxes=np.zeros((1, 4)), **place_of)
    field, rows = InstanceMasks(), np.array([1])
    (of_polygons,) = field.of_truth({"polygons": polygons}, rows, place)
    (of_bitmaps,) = field.of_truth({"bitmaps": bitmaps}, rows, place)
    assert of_polygons == expected
    enlarged = np.zeros(size, bool)
    enlarged[10:170, 20:200] = np.repeat(np.repeat(bitmap, 4, axis=0), 3, axis=1)
    np.testing.assert_array_equal(masks.decode(of_bitmaps), enlarged)
    assert field.of_truth({}, rows, place) is None
    (nothing,) = field.of_truth({"polygons": polygons}, np.array([0]), place)
    assert masks.areas([nothing])[0] == 0
    boxed = Place(size, boxes=np.array([[38, 26, 158, 146]]), **place_of)
    grids = np.tril(np.ones((56, 56), np.uint8))[None, ::-1].repeat(2, axis=0)
    (of_grids,) = field.of_truth({"masks": grids}, rows, boxed)
    assert masks.bounding_boxes([of_grids])[0].tolist() == [38, 26, 120, 120]


def test_pictures_of_the_data_show_masks_by_any_target():
    assert type(showing("bitmaps")) is type(showing("polygons")) is InstanceMasks
    assert showing("masks").kind == "masks", "grids that segment proposals learn from, in the place of boxes"


def test_masks_are_tinted_under_the_outlines_of_boxes():
    image = np.full((600, 800, 3), 200, np.uint8)
    detections = {
        "boxes": np.array([[100, 100, 500, 500.0]]),
        "scores": np.array([0.9]),
        "classes": np.array([0]),
        "masks": disc()[None],
        "num_detections": 1,
    }
    fields = (*STANDARD, InstanceMasks())
    picture = np.asarray(visualize.draw_detections(image, detections, ["cup", "plate"], fields=fields))
    color = np.array(visualize.class_color(0))
    np.testing.assert_array_equal(picture[300, 300], np.rint(200 + 0.4 * (color - 200)))
    np.testing.assert_array_equal(picture[300, 98], color)  # the outline of the box
    assert (picture[490, 490] == 200).all(), "a corner of the box, outside of the disc"
    rim = picture[300, 100:300]
    assert (rim == color).all(axis=1).any(), "the disc has an outline, too"
