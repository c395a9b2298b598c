"""Annotation files that can be read and yet are wrong: recognised over the whole file, and no false alarms."""

import json
import logging

import numpy as np
import pytest
from PIL import Image

from keras_fpn.config.loading import load_config
from keras_fpn.console.errors import UserError
from keras_fpn.data import cached_files, load_coco, read_coco
from keras_fpn.data.box_forms import FORMS
from keras_fpn.evaluation.coco import COCOEvaluator
from keras_fpn.training.datasets import read_data


def _boxes(number, width, height, seed=0, smallest=0.1, largest=0.35):
    """Boxes x, y, width, height that lie anywhere in an image."""
    draw = np.random.default_rng(seed).uniform(size=(number, 4))
    extents = np.round((smallest + draw[:, 2:] * (largest - smallest)) * [width, height], 1)
    return np.concatenate([np.round(draw[:, :2] * (np.array([width, height]) - extents), 1), extents], 1)


def _written(boxes, width, height, form):
    """Boxes x, y, width, height as a program writes them in a form."""
    first, second = boxes[:, :2], boxes[:, 2:]
    if FORMS[form].corners == "xyxy":
        second = first + second
    elif FORMS[form].corners == "cxcywh":
        first = first + second / 2
    boxes = np.concatenate([first, second], 1)
    return boxes / [width, height, width, height] if FORMS[form].is_share else boxes


@pytest.fixture
def read(tmp_path):
    """`read(boxes, ...)`: the data set of objects spread over images of one size; `masks` have their outlines."""

    def write_and_read(boxes, /, size=(100, 80), per_image=2, masks=None, extra=None, **keywords):
        count = -(-len(boxes) // per_image)
        Image.new("RGB", size).save(tmp_path / "a.png")
        images = [{"id": i, "file_name": "a.png", "width": size[0], "height": size[1]} for i in range(count)]
        items = [
            {"id": i, "image_id": i // per_image, "category_id": 1, "bbox": list(map(float, box)), **(extra or {})}
            for i, box in enumerate(boxes)
        ]
        for item, (x, y, w, h) in zip(items, [] if masks is None else masks.tolist(), strict=masks is not None):
            item["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
        document = {"images": images, "annotations": items, "categories": [{"id": 1, "name": "one"}]}
        (tmp_path / "x.json").write_text(json.dumps(document))
        return read_coco(tmp_path / "x.json", tmp_path, **keywords)

    return write_and_read


def _all_boxes(data_set):
    return np.concatenate([record.boxes for record in data_set.records])


OTHERS = [form for form in FORMS if form != "xywh"]


# Few boxes of the middle and the size are not told from some over the border.
@pytest.mark.parametrize(
    ("form", "number"),
    [(form, number) for form in OTHERS for number in (5, 12, 40, 300) if (form, number) != ("cxcywh", 5)],
)
def test_another_form_is_recognised_and_then_read(read, form, number):
    width, height = 100, 80
    boxes = _boxes(number, width, height, seed=3)
    given = _written(boxes, width, height, form)
    with pytest.raises(UserError) as caught:
        read(given)
    message = str(caught.value)
    assert f'--set data.boxes={form} (from Python boxes="{form}")' in message or f"data.boxes={form}," in message
    assert "x.json: annotation 0 of image 0 (a.png): box [" in message and "\n" not in message
    assert f"(and those of {number - 1} more objects) seems to be" in message
    data_set = read(given, boxes=form)
    expected = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)
    np.testing.assert_allclose(_all_boxes(data_set), expected, atol=1e-3)


@pytest.mark.parametrize("form", OTHERS)
@pytest.mark.parametrize("number", [1, 3])
def test_outlines_tell_the_form_of_a_few_boxes(read, form, number):
    boxes = np.array([[30.0, 25, 20, 15], [10, 40, 30, 20], [50, 5, 12, 24]])[:number]
    with pytest.raises(UserError, match=f"--set data.boxes={form} "):
        read(_written(boxes, 100, 80, form), masks=boxes)
    assert len(_all_boxes(read(boxes, masks=boxes))) == number


@pytest.mark.parametrize("form", OTHERS)
def test_the_evaluator_measures_in_the_form_that_was_read(read, form):
    boxes = _boxes(12, 100, 80)
    data_set = read(_written(boxes, 100, 80, form), boxes=form, extra={"area": 0.01})
    evaluator = COCOEvaluator(data_set.instances(), leave_out=data_set.dropped)
    assert evaluator.source == data_set.annotations
    for record in data_set.records:
        truth = evaluator.ground_truth_of(record.image_id)[0]
        np.testing.assert_allclose(truth, record.boxes, atol=1e-3)
        for item, box in zip(evaluator.annotations_of(record.image_id), truth, strict=True):
            assert "area" not in item and item["bbox"][2] == pytest.approx(box[2] - box[0])


def test_batches_are_read_in_a_form(read, tmp_path):
    boxes = _boxes(2, 100, 80)
    read(boxes)
    document = json.loads((tmp_path / "x.json").read_text())
    for item, box in zip(document["annotations"], _written(boxes, 100, 80, "cxcywh_shares"), strict=True):
        item["bbox"] = box.tolist()
    (tmp_path / "x.json").write_text(json.dumps(document))
    ((_, targets),) = load_coco(
        tmp_path / "x.json", tmp_path, min_side=80, max_side=100, batch_size=1, boxes="cxcywh_shares"
    )
    expected = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)
    np.testing.assert_allclose(targets["boxes"][0], expected, atol=1e-3)


def test_an_unknown_form_is_refused(read):
    with pytest.raises(UserError, match='boxes must be "xywh" or "xyxy" or .*, not .yxyx.'):
        read(_boxes(3, 100, 80), boxes="yxyx")


@pytest.mark.parametrize("form", ["xyxy", "shares", "cxcywh_shares"])
def test_a_form_that_the_boxes_do_not_have_is_refused(read, form):
    boxes = _boxes(20, 100, 80, largest=0.15) + [30, 20, 0, 0]
    with pytest.raises(UserError, match=rf"annotation \d+ and most others have no .* correct data.boxes={form}"):
        read(boxes, boxes=form, invalid_boxes="drop")


def test_three_numbers_are_told_in_the_words_of_the_form(read):
    with pytest.raises(UserError, match="write four numbers x1, y1, x2, y2 in pixels"):
        read([[1, 2, 3]], boxes="xyxy")


@pytest.mark.parametrize("factors", [(2, 2), (4, 4), (1.5, 1.5), (2.5, 1), (640 / 100, 480 / 80)])
@pytest.mark.parametrize("number", [10, 200])
def test_boxes_of_larger_pictures_are_refused(read, factors, number):
    boxes = _boxes(number, 100, 80, seed=1) * [*factors, *factors]
    with pytest.raises(UserError, match=r"resized after they were annotated: multiply the boxes by") as caught:
        read(boxes, invalid_boxes="drop")
    assert "\n" not in str(caught.value) and "leaves its image, as" in str(caught.value)


def test_boxes_of_smaller_pictures_are_told(read, caplog):
    read(_boxes(80, 50, 40))
    (record,) = caplog.records
    assert "no box reaches beyond 0.49 of the width" in record.getMessage() and "enlarged" in record.getMessage()


# -------------------------------------------------------------------------------------------- no false alarms


def _never_clipped(number):
    """Large boxes whose middles lie anywhere in an image."""
    extents = _boxes(number, 100, 80, 4, 0.3, 0.9)[:, 2:]
    middles = np.random.default_rng(5).uniform(size=(number, 2)) * [100, 80]
    return np.concatenate([middles - extents / 2, extents], 1)


SOUND = {
    "anywhere": _boxes(60, 100, 80),
    "small": _boxes(60, 100, 80, smallest=0.01, largest=0.03),
    "large": _boxes(60, 100, 80, smallest=0.8, largest=1),
    "all of the image": np.tile([0, 0, 100, 80], (10, 1)),
    "almost all of it": np.tile([2, 3, 97, 76], (10, 1)),
    "all of it and a little more": np.tile([2, 3, 100, 80], (10, 1)),
    "one": [[30, 20, 40, 30]],
    "one over the border": [[60, 50, 80, 60]],
    "one full over the border": [[5, 5, 99, 79]],
    "two over the border": [[60, 50, 60, 50], [10, 10, 99, 79]],
    "one pixel": [[40, 30, 1, 1]],
    "a pixel in the corner": [[0, 0, 1, 1]],
    "some over the border": np.concatenate([_boxes(18, 100, 80), [[90, 30, 20, 20], [60, 70, 20, 20]]]),
    "some over every border": np.concatenate(
        [_boxes(30, 100, 80), [[90, 30, 20, 20], [60, 70, 20, 20], [-5, 3, 20, 20], [92, 70, 20, 20], [30, -8, 16, 20],
                               [88, 0, 20, 20], [40, 66, 20, 20]]]
    ),
    "few, some over the border": [[10, 5, 20, 30], [85, 30, 30, 20], [50, -5, 20, 30]],
    "the middle, some over the border": np.concatenate(
        [_boxes(20, 40, 30) + [30, 25, 0, 0], [[90, 30, 20, 20], [60, 70, 20, 20]]]
    ),
    "the upper left": _boxes(20, 40, 30),
    "the lower right": _boxes(60, 20, 20) + [80, 60, 0, 0],
    "never clipped": _never_clipped(60),
    "very small among others": np.concatenate([_boxes(20, 100, 80), np.tile([0.5, 0.5, 0.9, 0.9], (3, 1))]),
}  # fmt: skip


@pytest.mark.parametrize("name", SOUND)
def test_sound_boxes_are_read(read, caplog, name):
    assert len(_all_boxes(read(SOUND[name]))) == len(SOUND[name])
    assert not caplog.records


@pytest.mark.parametrize("seed", range(30))
def test_sound_boxes_are_read_whatever_their_places(read, seed):
    rng = np.random.default_rng(seed)
    number, largest = int(rng.integers(1, 40)), float(rng.uniform(0.05, 1))
    assert len(_all_boxes(read(_boxes(number, 100, 80, seed, smallest=0.02, largest=largest)))) == number


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (4, 3), (7, 7)])
def test_tiny_images_may_have_tiny_boxes(read, size):
    boxes = np.tile([0, 0, min(1, size[0]), min(1, size[1])], (6, 1))
    assert len(_all_boxes(read(boxes, size=size))) == 6


def test_outlines_that_are_none_are_no_evidence(read):
    for segmentation in ([], [[]], [[1, 2, 3]], {"size": [80, 100], "counts": [8000]}, "x", None, [["a", "b"]], 3):
        assert len(_all_boxes(read(_boxes(8, 100, 80), extra={"segmentation": segmentation}))) == 8


def test_no_objects_at_all(read, tmp_path):
    read([[1, 1, 2, 2]])
    document = json.loads((tmp_path / "x.json").read_text())
    document["annotations"] = []
    (tmp_path / "x.json").write_text(json.dumps(document))
    for form in FORMS:
        assert len(_all_boxes(read_coco(tmp_path / "x.json", tmp_path, boxes=form))) == 0
    assert logging.getLogger("keras_fpn").level == logging.NOTSET


# ------------------------------------------------------------------------------------- classes and both halves


@pytest.fixture
def halves(tmp_path):
    """`halves(train, val)`: what training reads where these are changes of the documents of two sound halves."""
    documents = {}
    for half, number in (("train", 4), ("val", 3)):
        (tmp_path / half).mkdir()
        for index in range(number):
            Image.new("RGB", (100, 80), (9, 9, 9)).save(tmp_path / half / f"{half}{index}.png")
        documents[half] = {
            "images": [{"id": i, "file_name": f"{half}{i}.png", "width": 100, "height": 80} for i in range(number)],
            "annotations": [
                {"id": i, "image_id": i % number, "category_id": 1 + i % 3, "bbox": [30, 20, 20, 20], "iscrowd": 0}
                for i in range(9)
            ],
            "categories": [{"id": i, "name": name} for i, name in enumerate(("dog", "cat", "fox"), 1)],
        }

    def read(train=None, val=None, *overrides, images=("train", "val")):
        for change, half in ((train, "train"), (val, "val")):
            if change is not None:
                change(documents[half])
            (tmp_path / f"{half}.json").write_text(json.dumps(documents[half]))
        named = [f"data.{half}.annotations={tmp_path / half}.json" for half in documents]
        named += [f"data.{half}.images={tmp_path / own}" for half, own in zip(documents, images, strict=True)]
        return read_data(load_config("tiny", [*named, *overrides]))

    return read


def _crowds(document, *category_ids):
    for item in document["annotations"]:
        item["iscrowd"] = int(item["category_id"] in category_ids)


def _without(document, *category_ids):
    document["annotations"] = [item for item in document["annotations"] if item["category_id"] not in category_ids]


def _told(caplog):
    messages = [record.getMessage() for record in caplog.records if record.name.startswith("keras_fpn")]
    assert all(message.isprintable() for message in messages)
    return messages


def test_two_sound_halves_are_read_without_a_word(halves, caplog):
    train_set, val_set, evaluator = halves()
    assert (len(train_set), len(val_set), evaluator.class_names) == (4, 3, ["dog", "cat", "fox"])
    assert not _told(caplog)


@pytest.mark.parametrize(("half", "what"), [("train", "learn"), ("val", "measure")])
def test_objects_that_are_all_crowds_are_refused(halves, half, what):
    changes = {half: lambda document: _crowds(document, 1, 2, 3)}
    told = rf'{half}.json: "iscrowd" is 1 for all 9 objects, .* nothing to {what} \(CVAT.*--set data.crowds=objects'
    with pytest.raises(UserError, match=told):
        halves(**changes)


def test_crowds_may_be_read_as_objects(halves, caplog):
    change = lambda document: _crowds(document, 1, 2, 3)  # noqa: E731
    train_set, val_set, evaluator = halves(change, change, "data.crowds=objects")
    assert not any(record.is_crowd.any() for record in (*train_set.records, *val_set.records))
    assert not any(evaluator.ground_truth_of(image_id)[2].any() for image_id in evaluator.image_ids)
    assert not _told(caplog)


def test_a_class_of_crowds_alone_is_told(halves, caplog):
    halves(lambda document: _crowds(document, 2))
    (message,) = _told(caplog)
    assert "train.json: every object has \"iscrowd\" 1 of 'cat', of 3 classes; it cannot be learnt" in message


def test_classes_without_an_object_are_told_in_each_half(halves, caplog):
    halves(lambda document: _without(document, 2), lambda document: _without(document, 1, 3))
    train, val = _told(caplog)
    assert "train.json: no object has 'cat', of 3 classes; it cannot be learnt" in train
    assert "val.json: no object has 'dog', 'fox', of 3 classes; it cannot be measured" in val


def test_many_classes_without_an_object_are_told_shortly(halves, caplog):
    def change(document):
        document["categories"] += [{"id": 10 + i, "name": f"kind\n{i}" * 9} for i in range(40)]

    halves(change, change)
    for message in _told(caplog):
        assert " and 35 more, of 43 classes" in message and len(message.split(".json")[1]) < 300


def test_validation_on_training_images_is_told(halves, caplog):
    def change(document):
        for index, entry in enumerate(document["images"][:2]):
            entry["file_name"] = f"train{index}.png"

    def all_of_them(document):
        for index, entry in enumerate(document["images"]):
            entry["file_name"] = f"train{index}.png"

    halves(None, all_of_them, images=("train", "train"))
    (message,) = _told(caplog)
    assert "val.json: 3 of 3 images are among the training images, first 'train0.png'" in message


def test_a_link_to_the_training_folder_is_no_other_folder(halves, tmp_path, caplog):
    (tmp_path / "linked").symlink_to(tmp_path / "train")
    names = lambda document: [e.update(file_name=f"train{i}.png") for i, e in enumerate(document["images"])]  # noqa: E731
    halves(None, names, images=("train", "linked"))
    assert "3 of 3 images are among the training images" in _told(caplog)[0]


def _with_root(document, **root):
    document["categories"] = [{"id": 0, "name": "animals", "supercategory": "none"} | root] + [
        category | {"supercategory": "animals"} for category in document["categories"]
    ]


def test_the_root_category_of_roboflow_is_no_class(halves, caplog):
    train_set, val_set, evaluator = halves(_with_root, _with_root)
    assert train_set.class_names == val_set.class_names == ("dog", "cat", "fox")
    assert train_set.category_ids == (1, 2, 3) and evaluator.category_ids == [1, 2, 3]
    assert all("category 0 ('animals') is left out of the classes" in message for message in _told(caplog))
    assert len(_told(caplog)) == 2


def test_a_root_of_the_name_of_its_class_leaves_it_its_name(halves):
    def change(document):
        document["categories"] = [{"id": 1, "name": "dog"}]
        _without(document, 2, 3)
        _with_root(document, name="dog")
        document["categories"][1]["supercategory"] = "dog"

    assert halves(change, change)[0].class_names == ("dog",)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: (_with_root(d), d["annotations"][0].update(category_id=0)),  # an object has it
        lambda d: _with_root(d, supercategory="beings"),
        lambda d: _with_root(d, name="things"),
        lambda d: _with_root(d, id=9),
        lambda d: (_with_root(d), d["categories"][2].update(supercategory=["pets"])),
    ],
)
def test_other_categories_stay_classes(halves, change):
    assert len(halves(change, change)[0].class_names) == 4


def test_a_file_of_one_category_keeps_it(halves):
    def change(document):
        document["categories"] = [{"id": 0, "name": "none", "supercategory": "none"}]
        for item in document["annotations"]:
            item["category_id"] = 0

    assert halves(change, change)[0].class_names == ("none",)


# ----------------------------------------------------------------------------------------------------- pictures


def _grey(path, low, high, size=(100, 80), kind="PNG"):
    values = np.linspace(low, high, size[0] * size[1]).round().astype(np.uint16).reshape(size[1], size[0])
    Image.fromarray(values).save(path, kind)


@pytest.mark.parametrize(
    ("highest", "warns"), [(4095, True), (1023, True), (8000, True), (16383, False), (65535, False)]
)
def test_12_bits_in_16_are_told(halves, tmp_path, caplog, highest, warns):
    for index in range(4):
        _grey(tmp_path / "train" / f"train{index}.png", 0, highest)
    halves()
    assert len(_told(caplog)) == warns
    for message in _told(caplog):
        assert "train" in message and f"values up to {highest} of 65535, which become {highest // 257} of" in message


def test_one_dark_picture_among_bright_ones_is_fine(halves, tmp_path, caplog):
    _grey(tmp_path / "train" / "train0.png", 0, 4095)
    _grey(tmp_path / "train" / "train1.png", 0, 50000)
    Image.new("L", (100, 80), 3).save(tmp_path / "train" / "train2.png")  # 8 bits
    halves()
    assert not _told(caplog)


@pytest.mark.parametrize(("half", "ending"), [("train", "tif"), ("val", "jpg")])
def test_tiff_is_called_so_under_any_name(halves, tmp_path, half, ending):
    def change(document):
        document["images"][1]["file_name"] = f"odd.{ending}"

    Image.new("RGB", (100, 80)).save(tmp_path / half / f"odd.{ending}", "TIFF")
    told = rf"odd.{ending}: image 1 of .*{half}.json is TIFF, which .* \(keras-fpn data convert .*: data.cache=true"
    with pytest.raises(UserError, match=told):
        halves(**{half: change})


def _among_many(document):
    document["images"] += [{"id": i, "file_name": "train0.png", "width": 100, "height": 80} for i in range(9, 99)]
    document["images"][42]["file_name"] = "a.TIF"
    document["images"][50]["file_name"] = "b.webp"


def test_pictures_that_are_called_otherwise_than_most_are_all_looked_at(halves, tmp_path):
    Image.new("RGB", (100, 80)).save(tmp_path / "train" / "a.TIF", "TIFF")
    Image.new("RGB", (100, 80)).save(tmp_path / "train" / "b.webp", "TIFF")
    with pytest.raises(UserError, match=r"a.TIF: image 47 of .* is TIFF, .*; so are 1 more of 94 images"):
        halves(_among_many)


def test_such_pictures_are_rewritten_where_pictures_are_kept_in_memory(halves, tmp_path, caplog):
    tiff = Image.new("RGB", (100, 80), (1, 2, 3))
    tiff.save(tmp_path / "train" / "a.TIF", "TIFF", save_all=True, append_images=[tiff, tiff])
    tiff.save(tmp_path / "train" / "b.webp", "TIFF")
    train_set, val_set, _ = halves(_among_many, None, "data.cache=true")
    told = [record.getMessage() for record in caplog.records if "rewritten" in record.getMessage()]
    assert len(told) == 1 and told[0].endswith("train.json: 2 pictures were rewritten as PNG (2 TIFF)")
    assert any("1 files with more than one picture the first alone is used, of" in line.getMessage()
               and line.getMessage().endswith("a.TIF 1 of 3") for line in caplog.records)  # fmt: skip
    assert len(train_set.rewritten.rows) == 2 and not val_set.rewritten.rows


def test_a_file_of_another_kind_is_named_before_training(halves, tmp_path):
    (tmp_path / "val" / "val1.png").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0")
    with pytest.raises(UserError, match=r"val1.png: image 1 of .*val.json is a pointer of Git LFS; git lfs pull"):
        halves(None, None, "data.cache=true")


def test_more_than_there_is_memory_is_not_rewritten(halves, tmp_path, monkeypatch):
    monkeypatch.setattr(cached_files, "machine_memory", lambda: 10)
    Image.new("RGB", (100, 80)).save(tmp_path / "train" / "train1.png", "TIFF")
    with pytest.raises(UserError, match="data.cache: 1 of 1 pictures, rewritten as PNG, take .*keras-fpn data convert"):
        halves(None, None, "data.cache=true")


@pytest.mark.parametrize("highest", [4095, 65535])
def test_16_bits_of_tiff_are_looked_at_too(halves, tmp_path, caplog, highest):
    for index in range(4):
        _grey(tmp_path / "train" / f"train{index}.png", 0, highest, kind="TIFF")
    halves(None, None, "data.cache=true")
    assert sum("of 65535" in message for message in _told(caplog)) == (highest < 5000)


def test_pictures_that_cannot_be_opened_are_left_to_the_decoder(halves, tmp_path, caplog):
    (tmp_path / "train" / "train0.png").write_bytes(b"")
    _grey(tmp_path / "train" / "train1.png", 0, 4095)
    content = (tmp_path / "train" / "train1.png").read_bytes()
    (tmp_path / "train" / "train1.png").write_bytes(content[:60])
    halves()
    assert not _told(caplog)


def test_boxes_of_another_scale_than_their_polygons_are_refused(read):
    outlines = _boxes(12, 100, 80)
    read(outlines, masks=outlines)
    read(outlines * [1, 1, 1.1, 1.1], masks=outlines)  # with some room around them
    with pytest.raises(UserError, match=r"annotation 0 of image 0 .*: its box is 0.50 times as large as its polygons"):
        read(outlines / 2, masks=outlines)
