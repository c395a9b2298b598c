"""The check of a data set: each thing that can be wrong is found and counted, and mended where it can be."""

import copy
import io
import json
import math

import numpy as np
import pytest
from PIL import Image

from keras_fpn.console.errors import UserError
from keras_fpn.data import read_coco
from keras_fpn.data.checks.checking import check_all, halves_of
from keras_fpn.data.checks.finding import ERROR, KINDS
from keras_fpn.data.checks.mending import mend
from keras_fpn.data.checks.quick import quick_line
from keras_fpn.data.formats import Half
from tests.data.readers import OF_ONE_SOURCE, OF_TFDS, READERS

WIDTH, HEIGHT = 64, 48
RESIZE = {"min_side": 96, "max_side": 160, "rounding": "half_up", "size_divisor": 32}
CLASSES = {1: "cat", 2: "dog", 3: "owl"}


def _picture(seed, size=(WIDTH, HEIGHT)):
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def _document(first=1, images=6):
    """Images with six objects each, two of each class, none of which is odd."""
    items = []
    for image in range(first, first + images):
        for place in range(6):
            x, y = 2 + 20 * (place % 3) + image % 3, 2 + 22 * (place // 3) + image % 2
            items.append(
                {"id": len(items) + 1, "image_id": image, "category_id": place % 3 + 1, "bbox": [x, y, 15.0, 16.5],
                 "area": 247.5, "iscrowd": 0}
            )  # fmt: skip
    pictures = [
        {"id": number, "file_name": f"{number}.png", "height": HEIGHT, "width": WIDTH}
        for number in range(first, first + images)
    ]
    categories = [{"id": number, "name": name} for number, name in CLASSES.items()]
    return {"info": {"year": 2026}, "images": pictures, "annotations": items, "categories": categories}


class Case:
    """A data set that is broken in one way: `document` and the files in `folder`."""

    def __init__(self, root, first=1):
        self.folder, self.file, self.document = root, root / "annotations.json", _document(first)
        root.mkdir(exist_ok=True)
        for image in self.document["images"]:
            _picture(image["id"]).save(root / image["file_name"])

    @property
    def images(self):
        return self.document["images"]

    @property
    def items(self):
        return self.document["annotations"]

    @property
    def categories(self):
        return self.document["categories"]

    def half(self):
        self.file.write_text(json.dumps(self.document))
        return Half(str(self.file), str(self.folder))


BREAKS = {}


def breaks(kind, count, **expected):
    """Mark a function that breaks a `Case` in a way of which `count` are found; `_all` are all kinds found."""

    def add(function):
        BREAKS[function.__name__] = (function, kind, count, expected)
        return function

    return add


@breaks("box_empty", 2)
def zero(case):
    case.items[0]["bbox"][2] = 0
    case.items[5]["bbox"][3] = 0.0


@breaks("box_negative", 1)
def negative(case):
    case.items[3]["bbox"][2] = -4


@breaks("box_not_finite", 2)
def not_finite(case):
    case.items[3]["bbox"][2] = math.nan
    case.items[4]["bbox"][0] = math.inf


@breaks("box_outside", 1)
def outside(case):
    case.items[8]["bbox"] = [WIDTH, 3, 5, 5]


@breaks("box_missing", 3)
def missing_boxes(case):
    del case.items[0]["bbox"]
    case.items[1]["bbox"] = [1, 2, 3]
    case.items[2]["bbox"] = None


@breaks("box_missing", 1)
def box_of_texts(case):
    case.items[1]["bbox"] = [str(value) for value in case.items[1]["bbox"]]


@breaks("box_over_border", 1, remains=0)
def over_border(case):
    case.items[2]["bbox"] = [55, 5, 20, 10]


@breaks("duplicate_box", 2, remains=0)
def duplicates(case):
    case.items.extend({**case.items[index], "id": 900 + index} for index in (0, 7))


@breaks("near_duplicate_box", 1, remains=1)
def near_duplicate(case):
    x, y, width, height = case.items[0]["bbox"]
    case.items.append({**case.items[0], "id": 950, "bbox": [x + 0.2, y, width, height]})


@breaks("box_of_two_classes", 1, remains=1)
def two_classes(case):
    case.items.append({**case.items[0], "id": 900, "category_id": 2})


@breaks("box_below_pixel", 1, remains=1)
def below_a_pixel(case):
    case.items[0]["bbox"] = [3, 3, 0.5, 9]


@breaks("box_tiny", 1, remains=1)
def tiny_after_resize(case):
    case.images[0]["height"], case.images[0]["width"] = 200, 300  # resized by a half
    _picture(77, (300, 200)).save(case.folder / "1.png")
    case.items[0]["bbox"] = [3, 3, 3, 9]


@breaks("iscrowd_odd", 3)
def odd_crowds(case):
    case.items[0]["iscrowd"], case.items[1]["iscrowd"], case.items[2]["iscrowd"] = 2, "0", [1]


@breaks("crowd", 1, remains=1)
def a_crowd(case):
    case.items[0]["iscrowd"] = 1


@breaks("all_crowds", 36)
def all_crowds(case):
    for item in case.items:
        item["iscrowd"] = 1


@breaks("annotation_id_twice", 2)
def ids_twice(case):
    case.items[4]["id"] = case.items[9]["id"] = 1


@breaks("annotation_id_missing", 2)
def ids_missing(case):
    del case.items[4]["id"]
    case.items[5]["id"] = "abc"


@breaks("annotation_without_image", 1)
def no_image(case):
    case.items[0]["image_id"] = 99


@breaks("annotation_without_category", 2)
def no_category(case):
    case.items[0]["category_id"] = 99
    del case.items[1]["category_id"]


@breaks("no_entry", 1)
def no_entry(case):
    case.items.insert(3, "odd")


@breaks("image_id_missing", 6)
def texts_as_ids(case):
    for image in case.images:
        image["id"] = f"img{image['id']}"
    for item in case.items:
        item["image_id"] = f"img{item['image_id']}"


@breaks("image_id_twice", 1)
def image_ids_twice(case):
    case.images[3]["id"] = 1


@breaks("image_listed_twice", 1, remains=0)
def file_listed_twice(case):
    case.images[3]["file_name"] = case.images[0]["file_name"]


@breaks("category_id_missing", 3)
def names_as_ids(case):
    for category in case.categories:
        category["id"] = category["name"]
    for item in case.items:
        item["category_id"] = CLASSES[item["category_id"]]


@breaks("category_id_twice", 1)
def category_ids_twice(case):
    case.categories.append({"id": 3, "name": "owl"})


@breaks("category_unnamed", 1)
def unnamed(case):
    del case.categories[1]["name"]


@breaks("category_name_twice", 2, remains=2)
def name_twice(case):
    case.categories[1]["name"] = "Cat"


@breaks("no_categories", 1)
def no_categories(case):
    case.document["categories"] = []


@breaks("category_unused", 1, remains=1)
def unused(case):
    case.categories.append({"id": 7, "name": "emu"})


@breaks("category_of_crowds", 1, remains=1)
def crowds_of_one_class(case):
    for item in case.items:
        item["iscrowd"] = int(item["category_id"] == 2)


@breaks("category_rare", 1, remains=1)
def rare(case):
    case.document["annotations"] = [item for item in case.items if item["category_id"] != 3 or item["image_id"] == 1]


@breaks("class_imbalance", 1, remains=1)
def imbalance(case):
    owls = [item for item in case.items if item["category_id"] == 3][1:]
    case.document["annotations"] = [item for item in case.items if item not in owls]
    draw = np.random.default_rng(1).uniform(2, 30, (200, 2)).tolist()
    case.items.extend(
        {"id": 1000 + number, "image_id": number % 6 + 1, "category_id": 1, "bbox": [x, y, 12, 14]}
        for number, (x, y) in enumerate(draw)
    )


@breaks("no_objects", 1, mends=False)
def no_objects(case):
    case.document["annotations"] = []


@breaks("image_without_objects", 2, remains=2)
def empty_images(case):
    case.document["annotations"] = [item for item in case.items if item["image_id"] > 2]


@breaks("image_missing", 1)
def missing_file(case):
    (case.folder / "3.png").unlink()


@breaks("image_name", 2)
def bad_names(case):
    case.images[0]["file_name"] = "../1.png"
    del case.images[1]["file_name"]


@breaks("image_spelling", 1, remains=0)
def other_spelling(case):
    case.images[0]["file_name"] = "1.PNG"


@breaks("image_unreadable", 3)
def damaged(case):
    buffer = io.BytesIO()
    _picture(1).save(buffer, "JPEG")
    (case.folder / "1.png").write_bytes(buffer.getvalue()[:-400])  # begins well
    (case.folder / "2.png").write_bytes(b"")
    (case.folder / "3.png").write_text("<!DOCTYPE html>not found")


@breaks("image_format", 1)
def tiff(case):
    _picture(1).save(case.folder / "1.png", "TIFF")


@breaks("image_size", 1)
def other_size(case):
    case.images[0]["width"], case.images[0]["height"] = WIDTH + 9, HEIGHT


@breaks("image_size", 1)
def resized_file(case):
    _picture(1, (2 * WIDTH, 2 * HEIGHT)).save(case.folder / "1.png")


@breaks("image_size", 1)
def cut_file(case):
    _picture(1, (WIDTH // 4, HEIGHT)).save(case.folder / "1.png")


@breaks("image_size_missing", 2)
def no_size(case):
    del case.images[0]["width"]
    case.images[1]["height"] = "48"


@breaks("image_turned", 1)
def turned(case):
    case.images[0]["width"], case.images[0]["height"] = HEIGHT, WIDTH
    case.document["annotations"] = [item for item in case.items if item["image_id"] != 1 or item["bbox"][0] < 20]


@breaks("image_as_stored", 1, remains=1)
def stored_turned(case):
    exif = Image.Exif()
    exif[274] = 6
    _picture(1).save(case.folder / "1.png", "JPEG", exif=exif.tobytes())


@breaks("image_dark", 6, remains=6)
def dark(case):
    for image in case.images:
        pixels = np.random.default_rng(image["id"]).integers(0, 4095, (HEIGHT, WIDTH), dtype=np.uint16)
        Image.fromarray(pixels).save(case.folder / image["file_name"])


@breaks("image_twice", 1, remains=1)
def same_content(case):
    (case.folder / "2.png").write_bytes((case.folder / "5.png").read_bytes())


@breaks("picture_unlisted", 1, remains=1)
def unlisted(case):
    _picture(50).save(case.folder / "50.png")


@breaks("segmentation_off_box", 2, remains=2)
def outline_elsewhere(case):
    for item, shift in zip(case.items, (0, 9, 0, -20), strict=False):
        x, y, width, height = item["bbox"]
        x += shift
        item["segmentation"] = [[x, y, x + width, y, x + width, y + height, x, y + height]]
    case.items[2]["segmentation"] *= 2  # two polygons


@breaks("segmentation_unusable", 5, remains=5)
def no_outline(case):
    case.items[0]["segmentation"] = [[1, 2, 3, 4]]
    case.items[1]["segmentation"] = {"size": [1, 1], "counts": [1]}
    case.items[2]["segmentation"] = [[1, 2, 10**400, 4, 5, 6]]
    case.items[3]["segmentation"] = [[1, 2, math.inf, 4, 5, 6]]
    case.items[4]["segmentation"] = [[1, 2, math.inf, 4, -math.inf, 6]]


@breaks("segmentation_missing", 35, remains=35)
def one_outline(case):
    x, y, width, height = case.items[3]["bbox"]
    case.items[3]["segmentation"] = [[x, y, x + width, y, x + width, y + height, x, y + height]]


def _with_keypoints(case):
    """Two keypoints of each object, in the middle of its box, the second hidden."""
    for category in case.categories:
        category["keypoints"] = ["left", "right"]
    for item in case.items:
        x, y, width, height = item["bbox"]
        item["keypoints"] = [x + 5, y + height / 2, 2, x + width, y + height, 1]


@breaks("keypoints_unusable", 6, remains=6)
def keypoints_of_other_kinds(case):
    _with_keypoints(case)
    del case.categories[2]["keypoints"]
    for item in case.items:
        if item["category_id"] == 3:
            del item["keypoints"]
    case.items[0]["keypoints"] = [1, 2, 2]
    case.items[1]["keypoints"][0] = math.inf
    case.items[3]["keypoints"][2] = 3
    case.items[4]["num_keypoints"] = 1
    case.items[6]["keypoints"][1] = 10**400
    case.items[5]["keypoints"] = [5, 5, 2, 0, 0, 0]  # of the category that says none


@breaks("keypoint_outside_image", 1, remains=1)
def keypoint_outside(case):
    _with_keypoints(case)
    case.items[0]["keypoints"][0] = WIDTH + 3


@breaks("keypoint_off_box", 2, remains=2)
def keypoint_off_its_box(case):
    _with_keypoints(case)
    for item in case.items[:2]:
        item["keypoints"][0] += 17


@breaks("keypoint_list_unusable", 1, remains=1)
def lists_that_differ(case):
    _with_keypoints(case)
    case.categories[1]["keypoints"] = ["right", "left"]


@breaks("box_form", 36, mends=False)
def corners(case):
    for item in case.items:
        x, y, width, height = item["bbox"]
        item["bbox"] = [x, y, x + width, y + height]


@pytest.fixture
def case(tmp_path):
    return Case(tmp_path / "train")


def _counts(checked):
    return {finding.kind.name: finding.count for finding in checked.findings}


def test_nothing_is_found_where_nothing_is_wrong(case):
    checked = check_all({"train": case.half()}, resize=RESIZE)
    assert _counts(checked) == {} and not checked.has_errors
    assert checked.summary == "0 errors, 0 warnings, 0 notes in 6 images and 36 objects (train)"
    mended = mend(checked.subjects[0])
    assert mended.content == case.document and mended.lines == []


@pytest.mark.parametrize("name", BREAKS)
def test_what_is_wrong_is_found_and_mended(case, name, tmp_path):
    function, kind, count, expected = BREAKS[name]
    function(case)
    before = copy.deepcopy(case.document)
    checked = check_all({"train": case.half()}, resize=RESIZE)
    (finding,) = [each for each in checked.findings if each.kind.name == kind]
    assert finding.count == count and finding.half in ("train", "")
    assert checked.has_errors == (KINDS[kind].severity == ERROR) == any(
        each.kind.severity == ERROR for each in checked.findings
    )
    json.dumps(checked.to_json(), allow_nan=False)
    if not expected.get("mends", True):
        with pytest.raises(UserError):
            mend(checked.subjects[0])
        return
    mended = mend(checked.subjects[0])
    assert mended.content["info"] == {"year": 2026}
    assert bool(mended.lines) == (mended.content != before) and all(line[0].isdigit() for line in mended.lines)
    out = tmp_path / "out.json"
    out.write_text(mended.text)
    again = check_all({"train": Half(str(out), str(case.folder))}, resize=RESIZE)
    assert not again.has_errors and _counts(again).get(kind, 0) == expected.get("remains", 0)
    read_coco(out, case.folder)


def test_every_kind_of_finding_is_tried():
    from keras_fpn.training import anchor_fit  # noqa: F401

    elsewhere = {"image_in_two_halves", "categories_differ", "no_images", "image_undecodable", "object_unreached"}
    elsewhere |= {"keypoints_differ"}
    assert {kind for _, kind, _, _ in BREAKS.values()} | elsewhere == set(KINDS.names())


ODD = [
    None, True, 0, -1, 7, 1e308, 10**400, 2**63, 1.5, math.nan, math.inf, "", "a", "17", "../x", "\0", [], {},
    [1, 2, 3, 4], [1, 2, 3, "4"], [10**400] * 4, [1e200] * 4, [0, 0, 1e-320, 1e-320], [[1, 2, 3, 4, 5, 6]],
    [[1, 2, "x", 4, 5, 6]], {"size": [1, 2], "counts": "zz"},
]  # fmt: skip
KEYS = (
    "id", "image_id", "category_id", "bbox", "iscrowd", "segmentation", "area", "file_name", "height", "width", "name",
    "record", "keypoints", "num_keypoints", "skeleton", "sigmas",
)  # fmt: skip


def test_whatever_stands_in_a_file_the_check_ends_and_what_is_mended_can_be_read(case, tmp_path):
    sound, out, mended = case.document, tmp_path / "out.json", 0
    for seed in range(40):
        draw = np.random.default_rng(seed)
        case.document = copy.deepcopy(sound)
        for _ in range(draw.integers(1, 8)):
            entries = case.document[str(draw.choice(["images", "annotations", "annotations", "categories"]))]
            entry = entries[draw.integers(len(entries))]
            value = copy.deepcopy(ODD[draw.integers(len(ODD))])
            if draw.random() < 0.1:
                entries[draw.integers(len(entries))] = value
            elif isinstance(entry, dict):
                entry[str(draw.choice(KEYS))] = value
        checked = check_all({"train": case.half()}, resize=RESIZE)
        json.dumps(checked.to_json(), allow_nan=False)
        assert all(example.words for finding in checked.findings for example in finding.examples)
        try:
            out.write_text(mend(checked.subjects[0]).text)
        except UserError:
            assert checked.has_errors
            continue
        assert not check_all({"train": Half(str(out), str(case.folder))}, resize=RESIZE).has_errors
        read_coco(out, case.folder)
        mended += 1
    assert mended > 30


# ------------------------------------------------------------------------------------------- what is mended how


def _mended(case):
    checked = check_all({"train": case.half()})
    return mend(checked.subjects[0])


def test_boxes_go_with_pictures_that_were_resized(case):
    item = case.items[0]
    item["segmentation"] = [[2, 2, 17, 2, 17, 18.5, 2, 18.5]]
    item["keypoints"] = [5, 6, 2]
    x, y, width, height = item["bbox"]
    resized_file(case)  # to twice the size
    other_size_of_same_boxes = case.images[1]
    _picture(2, (WIDTH + 8, HEIGHT)).save(case.folder / "2.png")
    mended = _mended(case)
    assert mended.lines == [
        "1 image given the size of their file", "1 image given the size of their file, and their objects brought to it",
        "6 annotations brought to the size of their files",
    ]  # fmt: skip
    first, second = mended.content["images"][:2]
    assert (first["width"], first["height"]) == (2 * WIDTH, 2 * HEIGHT)
    assert (second["width"], second["height"]) == (WIDTH + 8, HEIGHT) and other_size_of_same_boxes["width"] == WIDTH
    changed = mended.content["annotations"][0]
    assert changed["bbox"] == [2 * x, 2 * y, 2 * width, 2 * height] and changed["area"] == 4 * item["area"]
    assert changed["segmentation"] == [[4, 4, 34, 4, 34, 37, 4, 37]] and changed["keypoints"] == [10, 12, 2]
    assert mended.content["annotations"][6:] == case.items[6:]


def test_boxes_of_texts_alone_become_numbers(case):
    x, y, width, height = case.items[0]["bbox"]
    case.items[0]["bbox"] = [str(x), y, str(width), height]
    case.items[1]["bbox"] = [True, True, 5, 5]
    mended = _mended(case)
    assert mended.content["annotations"][0]["bbox"] == [x, y, width, height]
    assert [each["id"] for each in mended.content["annotations"][:2]] == [1, 3]
    assert "1 box of texts written as numbers" in mended.lines


def test_numbers_at_the_end_of_their_range_are_no_alarm_of_numpy(case):
    case.items[0]["bbox"] = [1e308] * 4
    assert _mended(case).content["annotations"] == case.items[1:]


def test_objects_of_a_file_that_is_listed_twice_come_together(case):
    file_listed_twice(case)
    mended = _mended(case)
    assert [image["id"] for image in mended.content["images"]] == [1, 2, 3, 5, 6]
    ids = [item["image_id"] for item in mended.content["annotations"]]
    assert 4 not in ids and ids.count(1) == 12
    assert mended.lines == ["1 image left out: entries of a file that another names; their objects are on that one"]


def test_ids_that_are_no_numbers_keep_what_they_name(case):
    texts_as_ids(case)
    names_as_ids(case)
    content = _mended(case).content
    names = {category["id"]: category["name"] for category in content["categories"]}
    files = {image["id"]: image["file_name"] for image in content["images"]}
    assert set(map(type, [*names, *files])) == {int}
    for item, before in zip(content["annotations"], _document()["annotations"], strict=True):
        assert names[item["category_id"]] == CLASSES[before["category_id"]]
        assert files[item["image_id"]] == f"{before['image_id']}.png"


def test_boxes_in_another_form_are_written_in_cocos(case):
    before = [item["bbox"] for item in _document()["annotations"]]
    corners(case)
    checked = check_all({"train": case.half()}, boxes="xyxy")
    assert not checked.has_errors
    mended = mend(checked.subjects[0])
    assert mended.lines == ["36 boxes written as x, y, width, height"]
    assert [item["bbox"] for item in mended.content["annotations"]] == before


# ------------------------------------------------------------------------------------------------- several halves


@pytest.fixture
def halves(case, tmp_path):
    return case, Case(tmp_path / "val", first=101)


def _checked(halves):
    return check_all({"val": halves[1].half(), "train": halves[0].half()}, resize=RESIZE)


def test_halves_are_held_against_each_other(halves):
    train, val = halves
    assert _counts(_checked(halves)) == {}
    (val.folder / "102.png").write_bytes((train.folder / "4.png").read_bytes())
    val.categories[1]["name"] = "wolf"
    checked = _checked(halves)
    assert _counts(checked) == {"image_in_two_halves": 1, "categories_differ": 1}
    shared, different = sorted(checked.findings, key=lambda finding: finding.detail)
    assert shared.half == different.half == "val" and different.detail == "wolf"
    (example,) = shared.examples
    assert (example.file_name, example.detail) == ("102.png", "is 4.png of train")


def test_lists_of_keypoints_are_held_against_each_other(halves):
    train, val = halves
    for each in halves:
        _with_keypoints(each)
    assert _counts(_checked(halves)) == {}
    for category in val.categories:
        category["keypoints"] = ["left", "middle"]
    (found,) = _checked(halves).findings
    assert (found.kind.name, found.half) == ("keypoints_differ", "val")
    assert found.detail == "['left', 'middle'], not ['left', 'right']"


def test_what_is_no_number_stays_where_boxes_go_with_their_pictures(case):
    odd = [None, "4", [1], math.inf, 10**400]
    case.items[0].update(segmentation=[odd, 5], keypoints=odd, area=10**400)
    resized_file(case)
    changed = _mended(case).content["annotations"][0]
    assert changed["segmentation"] == [odd, 5] and changed["keypoints"] == odd and changed["area"] == 10**400


def test_pictures_of_one_length_and_end_are_told_apart(case):
    picture = (case.folder / "1.png").read_bytes()
    assert len(picture) > 2 * 4096  # more than is looked at first
    changed = bytearray(picture)
    changed[len(picture) // 3] ^= 1
    (case.folder / "2.png").write_bytes(changed)  # damaged within, which the first bytes do not tell
    assert _counts(check_all({"train": case.half()})) == {}


def test_files_without_images(case):
    case.document["images"] = []
    checked = check_all({"train": case.half()})
    assert _counts(checked)["no_images"] == 1 and checked.has_errors


def test_what_is_no_annotation_file_is_refused(case, tmp_path):
    half = case.half()
    case.file.write_text("[]")
    with pytest.raises(UserError, match="holds a list"):
        check_all({"train": half})
    case.file.write_text('{"images": []')
    with pytest.raises(UserError, match="not a whole JSON file"):
        check_all({"train": half})
    with pytest.raises(UserError, match="give --images DIR"):
        halves_of(case.file)
    with pytest.raises(UserError, match="no such image folder"):
        check_all(halves_of(case.file, tmp_path / "absent"))
    with pytest.raises(UserError, match="no such folder"):
        halves_of(tmp_path / "absent")


def test_annotations_of_a_known_layout_need_no_image_folder(shapes_folder):
    (file,) = (shapes_folder / "annotations").glob("instances_val*.json")
    (half,) = halves_of(file).values()
    assert half == Half(str(file), str(next(shapes_folder.glob("val*"))))


# ------------------------------------------------------------------------------------------------- the quick half


def _read(case):
    half = case.half()
    return read_coco(half.annotations, half.images)


def test_the_quick_half_says_what_the_whole_check_finds(case):
    assert quick_line({"train": _read(case)}, RESIZE) == (
        "data: nothing to warn of in 36 objects; keras-fpn data check looks at the pictures, too"
    )
    duplicates(case)
    near_duplicate(case)
    rare(case)
    below_a_pixel(case)
    line = quick_line({"train": _read(case)}, RESIZE)
    whole = check_all({"train": case.half()}, resize=RESIZE)
    wanted = {"duplicate_box", "near_duplicate_box", "category_rare", "box_below_pixel"}
    words = [finding.words for finding in whole.findings if finding.kind.name in wanted]
    assert line == (
        f"data: 4 warnings: {', '.join(f'{each} (train)' for each in words)}; keras-fpn data check {case.file} --images"
        f" {case.folder} tells more"
    )


def test_the_quick_half_names_one_of_several_data_sets_as_one(case):
    rare(case)
    half, other = case.half(), case.file.with_name("other.json")
    other.write_text(case.file.read_text())
    both = read_coco([half.annotations, other], [half.images] * 2)
    line = quick_line({"train": both}, RESIZE)
    assert line.endswith(f"keras-fpn data check {case.file} --images {case.folder} tells more of the first data set")


def test_every_pixel_is_read_where_it_is_asked_for(case):
    content = bytearray((case.folder / "1.png").read_bytes())
    content[len(content) // 3] ^= 1  # a checksum within the file no longer fits
    (case.folder / "1.png").write_bytes(content)
    assert not check_all({"train": case.half()}).has_errors
    checked = check_all({"train": case.half()}, decode=True)
    assert _counts(checked) == {"image_undecodable": 1}
    assert "cannot be read as a" in checked.findings[0].examples[0].detail
    (row,) = checked.findings[0].indices
    assert [image["id"] for image in mend(checked.subjects[0], [row]).content["images"]] == [2, 3, 4, 5, 6]


# ----------------------------------------------------------------------------------- pictures in TFRecord files


def _into_records(case):
    """Put the pictures of a case into a TFRecord file."""
    import tensorflow as tf

    offset, path = 0, case.folder / "pictures.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for image in case.images:
            picture = (case.folder / image["file_name"]).read_bytes()
            feature = {"image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[picture]))}
            example = tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()
            writer.write(example)
            image["record"] = {"file": path.name, "offset": offset, "key": "image"}
            offset += len(example) + 16
            (case.folder / image["file_name"]).unlink()


def test_pictures_in_record_files_are_checked_alike(halves):
    train, val = halves
    (val.folder / "101.png").write_bytes(b"no picture")
    (val.folder / "102.png").write_bytes((train.folder / "4.png").read_bytes())
    (val.folder / "103.png").write_bytes((val.folder / "104.png").read_bytes())
    val.images[4]["width"] += 1
    of_files = _checked(halves)
    _into_records(val)
    of_records = _checked(halves)
    assert _counts(of_files) == _counts(of_records) == {
        "image_unreadable": 1, "image_in_two_halves": 1, "image_twice": 1, "image_size": 1,
    }  # fmt: skip
    val.images[1]["record"]["file"] = "absent.tfrecord"
    val.images[3]["record"]["offset"] = "0"
    val.images[5]["record"]["offset"] += 1
    assert _counts(_checked(halves)) == {
        "image_unreadable": 2, "image_missing": 1, "image_name": 1, "image_size": 1,
    }  # fmt: skip
    mended = mend(_checked(halves).subjects[1])
    assert [image["id"] for image in mended.content["images"]] == [103, 105]
    assert mended.content["images"][0] == val.images[2]


def test_every_pixel_of_record_files_is_read(case):
    _into_records(case)
    assert _counts(check_all({"train": case.half()}, decode=True)) == {}


# ------------------------------------------------------------------------------------------------- other formats


def _found_in(reader, folder):
    checked = check_all(halves_of(reader.write(folder) or folder), resize=RESIZE)
    return {(finding.half, finding.kind.name, finding.count) for finding in checked.findings}, checked


@pytest.mark.parametrize("name", [name for name in OF_ONE_SOURCE if name not in OF_TFDS])
def test_every_format_is_checked_alike(tmp_path, name):
    reader = READERS[name]
    wanted, _ = _found_in(READERS["coco"], tmp_path / "coco")
    assert {("train", "category_unused", 1), ("train", "image_without_objects", 1), ("val", "crowd", 1)} < wanted
    found, checked = _found_in(reader, tmp_path / "other")
    absent = {"image_without_objects": not reader.has_empty, "crowd": not reader.has_crowds}
    absent["segmentation_missing"] = not reader.has_outlines
    assert found == {each for each in wanted if not absent.get(each[1])}
    assert not checked.has_errors
    for subject in checked.subjects:
        assert all(file is not None for file in subject.pictures.files)
        with_objects = [item["bbox"] for item in mend(subject).content["annotations"]]
        assert len(with_objects) == len(subject.table.rows)
