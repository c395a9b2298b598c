"""Keypoints of detections: in the image itself, in results, in descriptions of exports, in pictures."""

import numpy as np
import pytest
from PIL import Image

from keras_fpn.data.fields.keypoints import Keypoints
from keras_fpn.data.keypoint_lists import KeypointList
from keras_fpn.parts import output_fields
from keras_fpn.parts.classes import Classes
from keras_fpn.parts.keypoint_fields import KeypointPlaces
from keras_fpn.parts.output_fields import STANDARD, in_original, rebuilt, to_result
from keras_fpn.reporting import visualize

NAMES = ("top", "left", "right")
CLASSES = Classes(("one", "other"), (3, 5))


def _found(*keypoints, classes=(0,)):
    """Detections of an image of 40 x 20 pixels (width x height), as the detector saw it."""
    number = len(keypoints)
    boxes = np.tile(np.array([[2.0, 2, 30, 18]], np.float32), (number, 1))
    return {
        "boxes": boxes, "scores": np.full(number, 0.9, np.float32), "classes": np.array(classes, np.int32),
        "keypoints": np.array(keypoints, np.float32), "num_detections": number,
    }  # fmt: skip


def _results(field, found, ratio=(2.0, 0.5)):
    fields = (*STANDARD, field)
    values = in_original(found, slice(None), fields, (10, 80), np.array(ratio))
    rows = range(len(found["scores"]))
    return [to_result(values, row, int(found["classes"][row]), fields, CLASSES) for row in rows]


def test_places_go_to_the_image_itself_each_axis_by_its_ratio_and_into_results():
    found = _found([[4, 6, 0.5], [0, 3, -1.25], [30, 19, 2]])
    (result,) = _results(KeypointPlaces(NAMES), found)
    assert result["keypoints"] == [8, 3, 0.5, 0, 1.5, -1.25, 60, 9.5, 2]
    assert (result["category_id"], result["score"]) == (3, pytest.approx(0.9))


def test_the_offset_is_taken_off_in_the_image_itself():
    (result,) = _results(KeypointPlaces(NAMES, offset=0.5), _found([[4, 6, 0.5], [0, 0, 0], [30, 19, 2]]))
    assert result["keypoints"] == [7.5, 2.5, 0.5, 0, 0, 0, 59.5, 9, 2]  # detectron2: x - 0.5 when results are written


def test_a_class_has_its_own_keypoints_alone():
    rows = [[4, 6, 1], [8, 8, 1], [30, 19, 1]]
    field = KeypointPlaces(NAMES, of_classes=[[0, 2], [1]])
    one, other = _results(field, _found(rows, rows, classes=(0, 1)), (1.0, 1.0))
    assert one["keypoints"] == [4, 6, 1, 0, 0, 0, 30, 19, 1]
    assert other["keypoints"] == [0, 0, 0, 8, 8, 1, 0, 0, 0]


@pytest.mark.parametrize(
    ("of_classes", "skeletons"), [(None, None), (((0, 1), (2,)), None), (None, [[[0, 1]], [[0, 2], [1, 2]]])]
)
def test_an_exported_detector_describes_it(of_classes, skeletons):
    field = KeypointPlaces(NAMES, [(0, 1), (0, 2)], 0.5, of_classes, skeletons)
    described = field.describe((None, 100))
    assert (described["shape"], described["kind"]) == ([None, 100, 3, 3], "keypoint_places")
    (again,) = rebuilt({"keypoints": described})
    assert isinstance(again, KeypointPlaces) and again.arguments == field.arguments
    assert again.skeleton == ((0, 1), (0, 2)) and again.skeletons == field.skeletons


def test_pictures_of_the_data_show_keypoints_by_the_names_and_skeleton_of_the_data_set():
    known = KeypointList(NAMES, ((0, 1),), ((0, 1, 2),))
    field = Keypoints(offset=0.5, known=known).shown_by()
    assert (field.names, field.skeleton, field.offset) == (NAMES, ((0, 1),), 0.5)
    assert output_fields.truth_keys([field]) == ("keypoints",)


def _picture(keypoints, **options):
    """A black picture of 600 pixels with the truth of one object, whose colour is (0, 114, 178)."""
    truth = {
        "boxes": np.array([[100.0, 100, 500, 500], [0, 0, 0, 0]]), "classes": np.array([0, -1]),
        "keypoints": np.array([keypoints, np.zeros((3, 3))]),
    }  # fmt: skip
    field = KeypointPlaces(NAMES, [(0, 1), (1, 2)], 0.5)
    image = Image.new("RGB", (600, 600))
    return np.asarray(visualize.draw_ground_truth(image, truth, ["one"], (*STANDARD, field), **options)).astype(int)


def test_pictures_show_points_and_the_skeleton_and_hollow_what_is_hidden():
    blue, white, black = (0, 114, 178), (255, 255, 255), (0, 0, 0)
    pixels = _picture([[200, 200, 2], [400, 200, 1], [0, 0, 0]])
    assert tuple(pixels[200, 200]) == blue and tuple(pixels[200, 400]) == white
    assert tuple(pixels[200, 300]) == blue  # the limb between them
    assert tuple(pixels[190, 300]) == black
    assert tuple(pixels[98, 200]) == blue and not pixels[:90, :90].any()  # no box, nothing at 0, 0
    assert (pixels[210:490, 110:490] == 0).all()  # no limb to what is not labelled


def test_a_sheet_shows_them_where_the_image_lies_on_it():
    pixels = _picture([[200, 200, 2], [0, 0, 0], [0, 0, 0]], ratio=(0.5, 1.0), offset=(60, 20))
    assert tuple(pixels[220, 160]) == (0, 114, 178)
    assert not pixels[:60, :90].any()  # what is not labelled is not at the corner of the image


def test_detections_are_drawn_without_what_their_class_has_not():
    found = _found([[100, 100, 0.2], [200, 100, -3], [100, 200, 0.9]])
    found["boxes"] = np.array([[50.0, 50, 300, 300]])
    field = KeypointPlaces(NAMES, [(0, 1), (0, 2)], of_classes=[[0, 2], []])
    image = Image.new("RGB", (600, 600))
    picture = visualize.draw_detections(image, found, ["one", "other"], 0.5, (*STANDARD, field))
    pixels = np.asarray(picture)
    assert pixels[100, 100].any() and pixels[150, 100].any() and pixels[200, 100].any()
    assert not pixels[95:106, 120:220].any()


def test_each_class_is_drawn_with_its_own_skeleton():
    """Two objects of one width, the second 300 pixels lower and of the second class, whose points are joined alike."""
    places = np.array([[100, 100], [300, 100], [300, 200]], float)
    found = _found(*[np.insert(places + [0, down], 2, 0.9, axis=1) for down in (0, 300)], classes=(0, 1))
    found["boxes"] = np.array([[50.0, 50, 400, 250], [50, 350, 400, 550]])
    field = KeypointPlaces(NAMES, [(0, 1), (1, 2), (0, 2)], skeletons=[[(0, 1), (1, 2)], [(0, 2)]])
    picture = visualize.draw_detections(Image.new("RGB", (600, 600)), found, ["one", "other"], 0.5, (*STANDARD, field))
    pixels = np.asarray(picture)
    middles = [(100, 200), (150, 300), (150, 200)]  # of 0-1, 1-2 and 0-2
    assert [bool(pixels[y, x].any()) for y, x in middles] == [True, True, False]
    assert [bool(pixels[y + 300, x].any()) for y, x in middles] == [False, False, True]
