"""Annotation files: read as they should be, and every mistake told in one line with place and mend."""

import json

import numpy as np
import pytest
from PIL import Image

from keras_fpn.console.errors import UserError
from keras_fpn.data import read_coco


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
    "image id a word": (
        _set("images", 1, id="x"), r'entry 1 of "images" has the string .x. as "id", and ids are whole',
    ),
    "image id a half": (_set("images", 1, id=1.5), r'entry 1 of "images" has 1.5 as "id", and ids are whole numbers'),
    "image id too large": (_set("images", 1, id="9" * 19 + "9"), r'entry 1 of "images" has the string \'9+\' as "id"'),
    "image id null": (_set("images", 1, id=None), r'entry 1 of "images" has no whole number as "id"; add it'),
    "image id true": (_set("images", 1, id=True), r'entry 1 of "images" has True as "id", and ids are whole numbers'),
    "image id twice in two forms": (_set("images", 1, id="0397133"), "image 397133 is listed twice"),
    "image id of two lines": (_set("images", 1, id="x\ny\x1b"), r"has the string 'x\\ny\\x1b' as"),
    "category id a word": (_set("categories", 1, id="cat"), r'entry 1 of "categories" has the string \'cat\' as "id"'),
    "annotation id a word": (
        _set("annotations", 1, id="a\nb"), r"annotation 'a\\nb' has the string 'a\\nb' as ",
    ),
    "image_id a stem": (_set("annotations", 1, image_id="a"), r'annotation 2 has the string .a. as "image_id"; write'),
    "category_id a name": (
        _set("annotations", 1, category_id="person"), r'annotation 2 has the string \'person\' as "category_id"; write',
    ),
    "category name a list": (_set("categories", 0, name=["a"]), r'category 90 has no "name"'),
    "category name true": (_set("categories", 0, name=True), r'category 90 has no "name"'),
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
    "crowd of -1": (_set("annotations", 1, iscrowd=-1), r'annotation 2 has "iscrowd" -1; write 0 or 1'),
    "crowd of a half": (_set("annotations", 1, iscrowd=0.5), r'annotation 2 has "iscrowd" 0.5; write 0 or 1'),
    "crowd NaN": (_set("annotations", 1, iscrowd=float("nan")), r'annotation 2 has "iscrowd" nan; write 0 or 1'),
    "crowd a word": (_set("annotations", 1, iscrowd="no\n"), r'annotation 2 has "iscrowd" \'no\\n\'; write 0 or 1'),
    "crowd a list": (_set("annotations", 1, iscrowd=[0]), r'annotation 2 has "iscrowd" \[0\]; write 0 or 1'),
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


# --------------------------------------------------------------- other types, where what they mean is clear

OTHER_FORMS = {"strings": str, "floats": float, "strings of floats": lambda number: f"{number}.0",
               "padded": lambda number: f"{number:012}"}  # fmt: skip


@pytest.mark.parametrize("section", ["images", "annotations", "categories", "references", "all"])
@pytest.mark.parametrize("form", OTHER_FORMS)
def test_ids_in_another_form_are_whole_numbers(read, document, form, section):
    expected = read()
    keys = {"images": ["id"], "annotations": ["id"], "categories": ["id"]}
    if section == "references":
        keys = {"annotations": ["image_id", "category_id"]}
    elif section == "all":
        keys["annotations"] += ["image_id", "category_id"]
    else:
        keys = {section: keys[section]}
    for name, own in keys.items():
        for entry in document[name]:
            entry.update({key: OTHER_FORMS[form](entry[key]) for key in own})
    found = read()
    assert found.category_ids == expected.category_ids and found.class_names == expected.class_names
    for record, wanted in zip(found.records, expected.records, strict=True):
        assert record.image_id == wanted.image_id and type(record.image_id) is int
        assert record.classes.tolist() == wanted.classes.tolist()
        np.testing.assert_array_equal(record.boxes, wanted.boxes)


def test_an_evaluator_knows_the_same_ids(read, document, folder):
    from keras_fpn.evaluation.coco import COCOEvaluator

    for entry in document["annotations"]:
        entry.update(image_id=str(entry["image_id"]), category_id=float(entry["category_id"]), iscrowd=None)
    for entry in document["images"] + document["categories"]:
        entry["id"] = str(entry["id"])
    data_set = read()
    for evaluator in map(COCOEvaluator, (data_set.annotations, data_set.instances(), document)):
        assert evaluator.image_ids == [397133, 37777, 252219] and evaluator.category_ids == [1, 13, 90]
        boxes, classes, crowd = evaluator.ground_truth_of(37777)
        assert classes.tolist() == [2, 1] and crowd.tolist() == [0, 0]
    assert document["images"][0]["id"] == "397133" and document["annotations"][0]["iscrowd"] is None  # as it was


@pytest.mark.parametrize(
    ("value", "wanted"), [(None, 0), (False, 0), (True, 1), (0.0, 0), (1.0, 1), (0, 0), (1, 1), ("absent", 0)]
)
def test_iscrowd_in_another_form(read, document, value, wanted):
    document["annotations"][0]["iscrowd"] = value
    if value == "absent":
        del document["annotations"][0]["iscrowd"]
    assert read().records[1].is_crowd.tolist() == [wanted, 0]


def test_category_names_that_are_numbers_are_text(read, document):
    for entry, name in zip(document["categories"], (2, 1, 1.5), strict=True):
        entry["name"] = name
    assert read().class_names == ("1", "1.5", "2")
