"""Several annotation files as one data set, and the classes that are chosen, renamed and merged."""

import json
import logging
import re

import numpy as np
import pytest
from PIL import Image

from keras_fpn.commands import arguments
from keras_fpn.config.loading import load_config
from keras_fpn.console.errors import UserError
from keras_fpn.data import load_coco, read_coco
from keras_fpn.evaluation.coco import COCOEvaluator

# Objects of the files: (image, category name); each has a box of its own.
_FIRST = [(1, "car"), (1, "bus"), (2, "cat"), (2, "cat")]
_SECOND = [(1, "bird"), (2, "car"), (2, "bird")]


@pytest.fixture
def data(tmp_path):
    """`data(name, objects, ids)`: an instances file and its folder, `ids` by the name of each category."""

    def write(name, objects, ids):
        folder = tmp_path / name
        folder.mkdir()
        images = [{"id": i, "file_name": f"{i}.png", "width": 40, "height": 30} for i in (1, 2)]
        for image in images:
            Image.new("RGB", (40, 30), (10 * image["id"], len(name), 0)).save(folder / image["file_name"])
        items = [
            {"id": i, "image_id": image, "category_id": ids[label], "bbox": [2 * i, i, 10, 9], "area": 90}
            for i, (image, label) in enumerate(objects, start=1)
        ]
        categories = [{"id": number, "name": label} for label, number in ids.items()]
        file = tmp_path / f"{name}.json"
        file.write_text(json.dumps({"images": images, "annotations": items, "categories": categories}))
        return file, folder

    return write


@pytest.fixture
def two(data):
    """Lists of files and folders of two data sets, which have "car" under different ids."""
    first = data("first", _FIRST, {"car": 3, "bus": 7, "cat": 8})
    second = data("second", _SECOND, {"bird": 1, "car": 2})
    return [list(pair) for pair in zip(first, second, strict=True)]


def _objects(data_set):
    """[(image id, class name, x1)] of all objects."""
    return [
        (record.image_id, data_set.class_names[label], float(box[0]))
        for record in data_set.records
        for label, box in zip(record.classes, record.boxes, strict=True)
    ]


@pytest.mark.parametrize(
    ("classes", "names", "ids", "kept"),
    [
        (None, ("car", "bus", "cat"), (3, 7, 8), ["car", "bus", "cat", "cat"]),
        (["cat", "car"], ("car", "cat"), (3, 8), ["car", "cat", "cat"]),
        ({"car": ["car", "bus"]}, ("car",), (3,), ["car", "car"]),
        ({"vehicle": ["bus", "car"], "cat": "cat"}, ("vehicle", "cat"), (7, 8), ["vehicle", "vehicle", "cat", "cat"]),
        ({"cat": ["bus"], "bus": ["cat"]}, ("cat", "bus"), None, ["cat", "bus", "bus"]),
    ],
)
def test_classes_are_chosen_renamed_and_merged(data, classes, names, ids, kept):
    data_set = read_coco(*data("first", _FIRST, {"car": 3, "bus": 7, "cat": 8}), classes=classes)
    assert sorted(data_set.class_names) == sorted(names) and len(data_set) == 2
    assert ids is None or (data_set.class_names, data_set.category_ids) == (names, ids)
    assert [name for _, name, _ in _objects(data_set)] == kept
    evaluator = COCOEvaluator(data_set.instances())
    assert tuple(evaluator.class_names) == data_set.class_names
    assert sum(len(evaluator.annotations_of(number)) for number in (1, 2)) == len(kept)


def test_several_files_are_one_data_set(two, caplog):
    with caplog.at_level(logging.WARNING):
        data_set = read_coco(*two)
    assert data_set.class_names == ("bird", "car", "bus", "cat") and data_set.category_ids == (1, 3, 7, 8)
    ids = [record.image_id for record in data_set.records]
    assert ids[:2] == [1, 2] and len(set(ids)) == 4
    assert [(name, x) for _, name, x in _objects(data_set)] == [
        ("car", 2.0), ("bus", 4.0), ("cat", 6.0), ("cat", 8.0), ("bird", 2.0), ("car", 4.0), ("bird", 6.0),
    ]  # fmt: skip
    (line,) = (record.getMessage() for record in caplog.records)
    assert line.startswith(str(two[0][1])) and str(two[0][0]) in line
    # Perfect detections have AP 1: the ground truth has the ids and classes of the records.
    evaluator = COCOEvaluator(data_set.instances())
    assert evaluator.image_ids == ids and tuple(evaluator.class_names) == data_set.class_names
    results = [
        {"image_id": record.image_id, "category_id": data_set.category_ids[label], "score": 1.0,
         "bbox": [float(x) for x in (box[0], box[1], box[2] - box[0], box[3] - box[1])]}
        for record in data_set.records for label, box in zip(record.classes, record.boxes, strict=True)
    ]  # fmt: skip
    assert evaluator.average_precision(results)[0][0] == pytest.approx(1.0)


def test_categories_of_a_model_are_joined_by_name(data, caplog):
    """Whatever ids the file gives them; what it does not list is a class without objects."""
    learnt = {"cat": 2, "bus": 5, "car": 9, "dog": 12}
    with caplog.at_level(logging.WARNING):
        data_set = read_coco(*data("first", _FIRST, {"car": 3, "bus": 7, "cat": 8}), categories=learnt)
    (line,) = caplog.messages
    assert "joined by name" in line
    assert (data_set.class_names, data_set.category_ids) == (tuple(learnt), tuple(learnt.values()))
    assert [name for _, name, _ in _objects(data_set)] == ["car", "bus", "cat", "cat"]
    evaluator = COCOEvaluator(data_set.instances())
    assert (tuple(evaluator.class_names), tuple(evaluator.category_ids)) == (tuple(learnt), tuple(learnt.values()))
    numbers = [item["category_id"] for item in data_set.instances().annotations]
    assert [evaluator.category_ids.index(number) for number in numbers] == [2, 1, 0, 0]


@pytest.mark.parametrize("learnt", [{"car": 3, "bus": 7, "cat": 8}, {"car": 1, "bus": 2}, None])
def test_other_categories_stay_as_they_are(data, caplog, learnt):
    """Those that are the model's already, and those of which it has not learnt all: they are refused there."""
    data_set = read_coco(*data("first", _FIRST, {"car": 3, "bus": 7, "cat": 8}), categories=learnt)
    assert (data_set.class_names, data_set.category_ids) == (("car", "bus", "cat"), (3, 7, 8))
    assert not caplog.messages


def test_one_file_is_not_given_twice(two):
    (first, _), (images, _) = two
    with pytest.raises(UserError, match="first.*: is given twice; give a data set once"):
        read_coco([first, first], [images, images])


def test_batches_of_several_files(two):
    batches = list(load_coco(*two, batch_size=4, min_side=30, max_side=40, classes=["car", "bird"]))
    (inputs, targets), *rest = batches
    assert not rest and inputs["images"].shape[0] == 4
    # The second image of the first file has cats alone: it stays, without objects.
    np.testing.assert_array_equal(
        np.sort(targets["classes"].numpy(), axis=1), [[-1, 1], [-1, -1], [-1, 0], [0, 1]]
    )
    assert [int(np.unique(image[..., 1].numpy()[:30, :40])[0]) for image in inputs["images"]] == [5, 5, 6, 6]


def test_equal_lists_keep_their_ids(data):
    ids = {"car": 3, "bus": 7, "cat": 8, "bird": 9}
    pairs = [data("first", _FIRST, ids), data("second", _SECOND, ids)]
    data_set = read_coco(*map(list, zip(*pairs, strict=True)))
    assert data_set.category_ids == (3, 7, 8, 9) and len(data_set) == 4


@pytest.mark.parametrize(
    ("classes", "told"),
    [
        (["buss"], r"data.classes: .*first.json has no class 'buss'; did you mean 'bus'"),
        ({"a": ["car"], "b": ["car", "bus"]}, "'car' is given twice"),
        ([], "names no class"),
        ({"vehicle": []}, "names no class"),
    ],
)
def test_classes_that_there_are_not(data, classes, told):
    with pytest.raises(UserError, match=told):
        read_coco(*data("first", _FIRST, {"car": 3, "bus": 7, "cat": 8}), classes=classes)


@pytest.mark.parametrize("classes", [{"vehicle": ["car", "bus"], "cat": ["cat"]}, {"vehicle": "lorry", "cat": "cat"}])
def test_annotations_that_have_the_chosen_classes_already_stay(data, classes):
    data_set = read_coco(*data("first", [(1, "vehicle"), (2, "cat")], {"cat": 2, "vehicle": 5}), classes=classes)
    assert data_set.class_names == ("cat", "vehicle") and data_set.category_ids == (2, 5)


def test_one_of_several_data_sets_may_lack_what_was_chosen_of_all(data):
    """As a run that learnt several measures on one of them."""
    first, second = data("first", _FIRST, {"car": 3, "bus": 7, "cat": 8}), data("second", [(1, "lorry")], {"lorry": 1})
    classes = {"vehicle": ["car", "bus", "lorry"], "lorry or cat": ["cat"]}
    both = read_coco(*zip(first, second, strict=True), classes=classes)
    learnt = dict(zip(both.class_names, both.category_ids, strict=True))
    for one in (first, second):
        data_set = read_coco(*one, classes=classes, categories=learnt)
        assert (data_set.class_names, data_set.category_ids) == (both.class_names, both.category_ids)
        assert set(data_set.instances().class_names.values()) == set(both.class_names)
    with pytest.raises(UserError, match="has no class 'car'"):
        read_coco(*data("third", [(1, "dog")], {"dog": 1}), classes={"vehicle": ["car"]}, categories=learnt)
    with pytest.raises(UserError, match="has no class 'lorry'"):
        read_coco(*first, classes=classes)  # a misspelt name, for all that is known


def test_the_choice_is_said_in_one_line(two, caplog):
    with caplog.at_level(logging.WARNING):
        read_coco(*two, classes={"vehicle": ["car", "bus"], "bird": "bird"})
    lines = [record.getMessage() for record in caplog.records if "classes of" in record.getMessage()]
    both = " and ".join(map(str, two[0]))
    assert lines == [f"{both}: 2 classes of 4, 5 of 7 objects (vehicle from car, bus)"]
    with pytest.raises(UserError, match=re.escape(f"data.classes: {both} has no class 'brd'")):
        read_coco(*two, classes=["brd"])


def test_two_spellings_of_a_class_are_told(data, caplog):
    pairs = [data("first", _FIRST, {"car": 1, "bus": 2, "cat": 3}), data("second", [(1, "Car")], {"Car": 1})]
    with caplog.at_level(logging.WARNING):
        data_set = read_coco(*map(list, zip(*pairs, strict=True)))
    assert set(data_set.class_names) == {"car", "bus", "cat", "Car"}
    assert any("'car' and 'Car' are two classes" in record.getMessage() for record in caplog.records)


def test_folders_and_annotations_come_in_pairs(two):
    with pytest.raises(UserError, match="2 annotations and 1 image folders"):
        read_coco(two[0], two[1][:1])
    with pytest.raises(UserError, match=r"first.json: nothing tells where its images are; give the image folder"):
        read_coco(two[0][0])


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["cat", "car"], ["cat", "car"]),
        (["cat", "vehicle=car,bus"], {"cat": ["cat"], "vehicle": ["car", "bus"]}),
        (["traffic light=red, green"], {"traffic light": ["red", "green"]}),
    ],
)
def test_classes_on_the_command_line(words, wanted):
    chosen = arguments.class_choice(words)
    assert chosen == wanted
    assert load_config("tiny", [("data.classes", chosen)]).data.classes == wanted


@pytest.mark.parametrize("word", ["=car", "vehicle=", "vehicle=car,,bus", ""])
def test_classes_that_are_written_wrongly(word):
    with pytest.raises(UserError, match="write NAME, or NEW=OLD,OLD"):
        arguments.class_choice([word])


def test_a_mapping_of_a_file_gives_way_to_another(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("data:\n  classes:\n    vehicle: [car, bus]\n")
    assert load_config(file).data.classes == {"vehicle": ["car", "bus"]}
    assert load_config(file, ["data.classes=[car]"]).data.classes == ["car"]
    assert load_config(file, ["data.classes={a: b}"]).data.classes == {"a": "b"}
    assert load_config(file, ["data.classes=null"]).data.classes is None
