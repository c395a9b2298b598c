"""Detections as files for other programs: read back by the readers of this package."""

import json
from pathlib import Path, PurePath
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from keras_fpn.console.errors import UserError
from keras_fpn.data.formats.labelme import Labelme
from keras_fpn.data.formats.yolo import Yolo
from keras_fpn.inference.images import ImageDetections
from keras_fpn.inference.label_folder import LabelFolder
from keras_fpn.inference.result_forms import PRE_LABELS, RESULT_FORMS
from keras_fpn.ops import masks
from keras_fpn.parts.mask_fields import InstanceMasks
from keras_fpn.parts.output_fields import STANDARD

HEIGHT, WIDTH = 80, 120
KNOWN = SimpleNamespace(class_names=("cup", "plate"), category_ids=(3, 9))


def disc(x, y, radius, hole=0):
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    distance = np.hypot(columns - x, rows - y)
    return (distance < radius) & (distance >= hole)


MASKS = [disc(30, 30, 20), disc(70, 40, 12) | disc(100, 40, 8), disc(60, 40, 30, hole=10)]
BOXES = [[10, 10, 50, 50], [58, 28, 108, 52], [30, 10, 90, 70]]


def found(file_name, with_masks=True, count=3):
    further = {"masks": [masks.encode(mask) for mask in MASKS[:count]]} if with_masks else {}
    labels = np.array([1, 0, 1][:count], np.int32)
    return ImageDetections(
        boxes=np.array(BOXES[:count], np.float32).reshape(-1, 4),
        scores=np.array([0.9, 0.8, 0.7][:count], np.float32),
        classes=labels,
        names=[KNOWN.class_names[label] for label in labels],
        category_ids=[KNOWN.category_ids[label] for label in labels],
        image=np.zeros((HEIGHT, WIDTH, 3), np.uint8),
        file_name=str(file_name),
        further=further,
        fields=(*STANDARD, InstanceMasks()) if with_masks else STANDARD,
        known=KNOWN,
    )


@pytest.fixture
def pictures(tmp_path):
    files = [tmp_path / "pictures" / name for name in ("a.png", "b/c.png", "none.jpg")]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (WIDTH, HEIGHT)).save(file)
    return files


def written(kind, out, pictures, with_masks=True):
    drawn = [PurePath(file.relative_to(pictures[0].parent)) for file in pictures]
    folder = LabelFolder(kind, str(out), pictures, drawn)
    for number, count in enumerate((3, 1, 0)):
        folder.add(found(pictures[number], with_masks, count), number)
    return folder


@pytest.mark.parametrize(("kind", "reader"), [("labelme", Labelme()), ("yolo", Yolo())])
def test_masks_come_back_from_what_a_labelling_program_opens(kind, reader, pictures, tmp_path):
    folder = written(kind, tmp_path / "labels", pictures)
    assert folder.count == 3 and folder.note() == "note: 1 mask has a hole, which polygons fill"
    content = reader.read(str(tmp_path / "labels"), str(tmp_path / "pictures"))
    assert {image["file_name"] for image in content["images"]} == {"a.png", "b/c.png", "none.jpg"}
    names = {category["id"]: category["name"] for category in content["categories"]}
    ids = {image["file_name"]: image["id"] for image in content["images"]}
    read = [item for item in content["annotations"] if item["image_id"] == ids["a.png"]]
    assert [names[item["category_id"]] for item in read] == ["plate", "cup", "plate"]
    segments = [masks.from_annotation(item["segmentation"], HEIGHT, WIDTH) for item in read]
    filled = [*MASKS[:2], disc(60, 40, 30)]
    for segment, mask in zip(segments, filled, strict=True):
        assert masks.overlaps([segment], [masks.encode(mask)])[0, 0] > 0.97
    assert len(content["annotations"]) == 4


@pytest.mark.parametrize(("kind", "reader"), [("labelme", Labelme()), ("yolo", Yolo())])
def test_boxes_come_back_where_there_are_no_masks(kind, reader, pictures, tmp_path):
    folder = written(kind, tmp_path / "labels", pictures, with_masks=False)
    assert folder.note() == ""
    content = reader.read(str(tmp_path / "labels"), str(tmp_path / "pictures"))
    x1, y1, x2, y2 = np.array(BOXES).T
    expected = np.stack([x1, y1, x2 - x1, y2 - y1], axis=1)
    ids = {image["file_name"]: image["id"] for image in content["images"]}
    boxes = [item["bbox"] for item in content["annotations"] if item["image_id"] == ids["a.png"]]
    np.testing.assert_allclose(boxes, expected, atol=1e-3)


def test_a_file_of_labelme_says_which_picture_and_score(pictures, tmp_path):
    written("labelme", tmp_path / "labels", pictures)
    content = json.loads((tmp_path / "labels" / "b" / "c.json").read_text())
    assert content["imagePath"] == "../../pictures/b/c.png" and content["imageHeight"] == HEIGHT
    (shape,) = content["shapes"]
    assert shape["shape_type"] == "polygon" and shape["description"] == "score 0.900" and shape["label"] == "plate"
    groups = [each["group_id"] for each in json.loads((tmp_path / "labels" / "a.json").read_text())["shapes"]]
    assert groups == [None, 1, 1, None]


def test_no_label_is_overwritten_or_shared(pictures, tmp_path):
    written("yolo", tmp_path / "labels", pictures)
    with pytest.raises(UserError, match="labels: is not empty"):
        LabelFolder("yolo", str(tmp_path / "labels"), [], [])
    with pytest.raises(UserError, match=r"x/a.png, x/a.jpg: both would be .*new/a.txt; rename one"):
        LabelFolder("yolo", str(tmp_path / "new"), [Path("x/a.png"), Path("x/a.jpg")], [Path("a.png"), Path("a.jpg")])
    with pytest.raises(UserError, match="--pre-labels: unknown format of pre-labels 'labelm'; did you mean 'labelme'"):
        LabelFolder("labelm", str(tmp_path / "new"), [], [])
    assert PRE_LABELS.names() == ["labelme", "yolo"]


def test_results_may_have_polygons():
    form = RESULT_FORMS["polygons"].load()()
    results = [form.change(result) for result in found("a.png").to_results(1)]
    assert [len(result["segmentation"]) for result in results] == [1, 2, 1] and results[0]["bbox"] == [10, 10, 40, 40]
    for result, mask in zip(results[:2], MASKS, strict=False):
        segment = masks.from_annotation(json.loads(json.dumps(result["segmentation"])), HEIGHT, WIDTH)
        assert masks.overlaps([segment], [masks.encode(mask)])[0, 0] > 0.98
    assert form.note() == "note: 1 mask has a hole, which polygons fill"
    boxes = found("a.png", with_masks=False).to_results(1)
    assert [form.change(result) for result in boxes] == boxes
