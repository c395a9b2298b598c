"""Annotation files: read as they should be, and every mistake told in one line with place and mend."""

import json

import numpy as np
import pytest
from PIL import Image

from keras_fpn.console.errors import UserError
from keras_fpn.data import find_coco_layout, read_coco


@pytest.fixture
def folder(tmp_path):
    """Two images of 60 x 40 and one of 30 x 30 (width x height), the last without objects; COCO-like ids."""
    for name, size in (("a.jpg", (60, 40)), ("b.jpg", (60, 40)), ("c.jpg", (30, 30))):
        Image.new("RGB", size).save(tmp_path / name)
    return tmp_path


@pytest.fixture
def document():
    return {
        "images": [
            {"id": 397133, "file_name": "a.jpg", "height": 40, "width": 60},
            {"id": 37777, "file_name": "b.jpg", "height": 40, "width": 60},
            {"id": 252219, "file_name": "c.jpg", "height": 30, "width": 30},
        ],
        "annotations": [
            {
                "id": 1,
                "image_id": 37777,
                "category_id": 90,
                "bbox": [10, 5, 20, 30],
                "area": 600,
                "iscrowd": 0,
            },
            {
                "id": 2,
                "image_id": 397133,
                "category_id": 1,
                "bbox": [0.5, 1.25, 2, 3],
                "area": 6,
                "iscrowd": 1,
            },
            {"id": 3, "image_id": 37777, "category_id": 13, "bbox": [50, -5, 20, 30], "area": 600},
        ],
        "categories": [
            {"id": 90, "name": "toothbrush"},
            {"id": 1, "name": "person"},
            {"id": 13, "name": "stop sign"},
        ],
    }


@pytest.fixture
def read(folder, document):
    """`read(**keywords)`: what `read_coco` makes of the document as it stands."""

    def write_and_read(**keywords):
        (folder / "instances.json").write_text(json.dumps(document))
        return read_coco(folder / "instances.json", folder, **keywords)

    return write_and_read


def test_records(read):
    dataset = read()
    assert dataset.category_ids == (1, 13, 90)
    assert dataset.class_names == ("person", "stop sign", "toothbrush")
    assert [record.image_id for record in dataset.records] == [397133, 37777, 252219]
    first, second, empty = dataset.records
    np.testing.assert_array_equal(first.boxes, np.float32([[0.5, 1.25, 2.5, 4.25]]))
    assert (first.classes.tolist(), first.is_crowd.tolist()) == ([0], [1])
    # The second box is cut at the right and the top of an image of 60 x 40.
    np.testing.assert_array_equal(second.boxes, np.float32([[10, 5, 30, 35], [50, 0, 60, 25]]))
    assert second.classes.tolist() == [2, 1]
    assert (empty.boxes.shape, empty.classes.shape) == ((0, 4), (0,))
    assert (empty.height, empty.width, empty.file_name) == (30, 30, "c.jpg")
    assert first.boxes.dtype == np.float32
    assert first.classes.dtype == first.is_crowd.dtype == empty.classes.dtype == np.int32


def test_no_annotation_at_all(read, document):
    document["annotations"] = []
    assert [len(record.boxes) for record in read().records] == [0, 0, 0]


def test_categories_of_a_model(read):
    dataset = read(category_ids=[90, 7, 13, 1])
    assert dataset.category_ids == (90, 7, 13, 1)
    assert dataset.class_names == ("toothbrush", "7", "stop sign", "person")
    assert dataset.records[1].classes.tolist() == [0, 2]
    with pytest.raises(
        UserError, match=r"category 90 \('toothbrush'\) is not one of the model's .*\[1, 13\]"
    ):
        read(category_ids=[1, 13])


def test_two_categories_of_one_name_stay_apart(read, document):
    document["categories"][1]["name"] = "toothbrush"
    assert read().class_names == ("toothbrush (1)", "stop sign", "toothbrush (90)")


def test_invalid_boxes_can_be_dropped(read, document):
    for number, box in enumerate(
        ([1, 1, 5, 0], [1, 1, -2, 5], [float("nan"), 1, 5, 5], [70, 1, 5, 5]), start=10
    ):
        document["annotations"].append({"id": number, "image_id": 252219, "category_id": 1, "bbox": box})
    dataset = read(invalid_boxes="drop")
    assert dataset.dropped == (10, 11, 12, 13)
    assert [len(record.boxes) for record in dataset.records] == [1, 2, 0]
    with pytest.raises(UserError, match=r"annotation 10 .*\(and 3 more of 7 boxes\)"):
        read()


def _set(section, index, **values):
    def change(document):
        document[section][index].update(values)

    return change


def _delete(section, index=None, key=None):
    def change(document):
        if index is None:
            del document[section]
        else:
            del document[section][index][key]

    return change


MISTAKES = {
    "no categories": (_delete("categories"), r'"categories" is missing'),
    "no annotations": (_delete("annotations"), r'"annotations" is missing'),
    "no images": (_delete("images"), r'"images" is missing'),
    "empty images": (lambda d: d["images"].clear(), r'"images" is empty'),
    "empty categories": (lambda d: d["categories"].clear(), r'"categories" is empty'),
    "images not a list": (lambda d: d.update(images={}), r'"images" is not a list'),
    "image not an object": (lambda d: d["images"].append(3), r'entry 3 of "images" is not an object'),
    "image id twice": (_set("images", 1, id=397133), r"image 397133 is listed twice"),
    "image id a word": (_set("images", 1, id="x"), r'entry 1 of "images" has no whole number as "id"'),
    "image without file": (_delete("images", 0, "file_name"), r'image 397133 has no "file_name"'),
    "image without height": (_delete("images", 2, "height"), r'image 252219 has "height" None'),
    "image of width 0": (_set("images", 2, width=0), r'image 252219 has "width" 0'),
    "image of width 3e9": (_set("images", 2, width=3 * 10**9), r'image 252219 has "width" 3000000000'),
    "image of width 1e400": (_set("images", 2, width=10**400), r'image 252219 has "width" 1000'),
    "image of width NaN": (_set("images", 2, width=float("nan")), r'image 252219 has "width" nan'),
    "image absent": (
        _set("images", 1, file_name="no.jpg"),
        r"no\.jpg: image 37777 of .* is not there; check",
    ),
    "folder absent": (_set("images", 1, file_name="no/b.jpg"), r"no/b\.jpg: image 37777 of .* is not there"),
    "category id twice": (_set("categories", 0, id=1), r"category id 1 is given twice"),
    "category without name": (_delete("categories", 0, "name"), r'category 90 has no "name"'),
    "category without id": (_delete("categories", 0, "id"), r'entry 0 of "categories" has no whole number'),
    "unknown category": (
        _set("annotations", 0, category_id=2),
        r"annotation 1 has category_id 2.*\[1, 13, 90\]",
    ),
    "unknown image": (
        _set("annotations", 1, image_id=5),
        r'annotation 2 has image_id 5, which is not in "images"',
    ),
    "annotation without image": (_delete("annotations", 1, "image_id"), r'annotation 2 has "image_id" None'),
    "annotation without id": (_delete("annotations", 1, "id"), r'annotation number 1 has "id" None'),
    "annotation id twice": (_set("annotations", 1, id=1), r"annotation id 1 is given twice"),
    "no box": (_delete("annotations", 1, "bbox"), r'annotation 2 has "bbox" None'),
    "box of three": (
        _set("annotations", 1, bbox=[1, 2, 3]),
        r'annotation 2 has "bbox" \[1, 2, 3\]; write four',
    ),
    "box of words": (
        _set("annotations", 1, bbox=["1", 2, 3, 4]),
        r"annotation 2 has \"bbox\" \['1', 2, 3, 4\]",
    ),
    "box of width 0": (
        _set("annotations", 1, bbox=[1, 2, 0, 4]),
        r"annotation 2 .*a\.jpg.*\[1, 2, 0, 4\] has no pos",
    ),
    "box of height -4": (
        _set("annotations", 1, bbox=[9, 9, 3, -4]),
        r"annotation 2 .*has no positive width and",
    ),
    "box NaN": (
        _set("annotations", 1, bbox=[1, float("nan"), 3, 4]),
        r"annotation 2 .*\[1, nan, 3, 4\] is not finite",
    ),
    "box infinite": (_set("annotations", 1, bbox=[1, 2, float("inf"), 4]), r"annotation 2 .* is not finite"),
    "box outside": (
        _set("annotations", 1, bbox=[61, 2, 9, 4]),
        r"annotation 2 .* outside the image of 60 x 40 pix",
    ),
    "crowd of 2": (_set("annotations", 1, iscrowd=2), r'annotation 2 has "iscrowd" 2; write 0 or 1'),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_told_in_one_line(name, read, document, folder):
    change, wanted = MISTAKES[name]
    change(document)
    with pytest.raises(UserError, match=wanted) as caught:
        read()
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder) in message  # the file
    assert ";" in message  # the mend


@pytest.mark.parametrize(
    "text, wanted",
    [
        ('{"images": [', "not a whole JSON file"),
        ("[]", "holds a list"),
        ("3", '"images" is missing'),
        ('{"images": "\\ud800"}', '"images" is not a list'),
    ],
)
def test_files_that_are_no_annotations(tmp_path, text, wanted):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(UserError, match=wanted):
        read_coco(tmp_path / "x.json", tmp_path)


def test_absent_files(tmp_path, read, folder):
    with pytest.raises(UserError, match=r"no\.json: there is no such annotation file"):
        read_coco(tmp_path / "no.json", tmp_path)
    with pytest.raises(UserError, match="cannot read the annotation file"):
        read_coco(tmp_path, tmp_path)
    read()
    with pytest.raises(UserError, match="nowhere: there is no such image folder"):
        read_coco(folder / "instances.json", folder / "nowhere")


# ------------------------------------------------------------------------------------------------ layouts


def _touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


@pytest.mark.parametrize(
    "files, wanted",
    [
        (
            [
                "annotations/instances_train2017.json",
                "annotations/instances_val2017.json",
                "train2017/a",
                "val2017/a",
            ],
            [
                "annotations/instances_train2017.json",
                "train2017",
                "annotations/instances_val2017.json",
                "val2017",
            ],
        ),
        (
            [
                "annotations/instances_train.json",
                "annotations/instances_val.json",
                "images/train/a",
                "images/val/a",
            ],
            [
                "annotations/instances_train.json",
                "images/train",
                "annotations/instances_val.json",
                "images/val",
            ],
        ),
        (
            [
                "annotations/instances_train.json",
                "annotations/instances_val.json",
                "train2014/a",
                "val2014/a",
            ],
            ["annotations/instances_train.json", "train2014", "annotations/instances_val.json", "val2014"],
        ),
        (
            ["train/_annotations.coco.json", "valid/_annotations.coco.json"],
            ["train/_annotations.coco.json", "train", "valid/_annotations.coco.json", "valid"],
        ),
    ],
)
def test_layouts(tmp_path, files, wanted):
    _touch(tmp_path, *files)
    layout = find_coco_layout(tmp_path)
    found = [layout.train_annotations, layout.train_images, layout.val_annotations, layout.val_images]
    assert found == [str(tmp_path / name) for name in wanted]


@pytest.mark.parametrize(
    "files, wanted",
    [
        (["data.yaml", "images/train/a.jpg"], "no COCO layout found .*looks like a YOLO folder"),
        (["annotations/instances_train.json", "train/a"], r"no instances_val\*\.json"),
        (
            ["annotations/instances_train1.json", "annotations/instances_train2.json"],
            "more than one train file",
        ),
        (
            ["annotations/instances_train.json", "annotations/instances_val.json", "train/a"],
            "no image folder for",
        ),
        (["train/_annotations.coco.json"], "not there; add a validation split"),
    ],
)
def test_layouts_that_are_not_whole(tmp_path, files, wanted):
    _touch(tmp_path, *files)
    with pytest.raises(UserError, match=wanted):
        find_coco_layout(tmp_path)


def test_layout_of_no_folder(tmp_path):
    with pytest.raises(UserError, match="there is no such folder"):
        find_coco_layout(tmp_path / "nowhere")
