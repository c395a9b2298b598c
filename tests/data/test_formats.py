"""VOC, YOLO and CSV: what each says in its own way, and mistakes in it.

`test_readers` holds whole data sets in all layouts to each other.
"""

import os
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

from keras_fpn.console.errors import UserError
from keras_fpn.data import coco_keypoints, find_layout, read_coco
from keras_fpn.data.formats import find_halves, format_of, read_content
from keras_fpn.data.formats.picture_folders import picture_size
from tests.data import disguises
from tests.data.data_sets import CONTENT, LAYOUTS, WITHOUT_EMPTY, as_content, voc_xml


@pytest.mark.parametrize("name", LAYOUTS)
def test_halves_named_by_hand(tmp_path, name, monkeypatch):
    """Annotations alone are enough where their place tells that of the pictures; their files are known."""
    LAYOUTS[name](tmp_path)
    known, halves = find_halves(tmp_path)
    if known.name == "coco":
        return
    monkeypatch.chdir(tmp_path)
    for half in halves.values():
        relative = os.path.relpath(half.annotations)
        found = format_of(relative)
        assert found is known
        assert os.path.samefile(found.images_of(relative), half.images)
        assert read_content(relative, found.images_of(relative)) == read_content(*half)
        assert found.absolute(relative) == half.annotations
        found.check_there(relative)
        files = list(found.files(half.annotations))
        assert files and all(file.is_file() for file in files) and len(set(files)) == len(files)
        name, at, part = half.annotations.rpartition("@")
        missing = f"{name}.x{Path(name).suffix}@{part}" if at else f"{half.annotations}.x.txt"
        with pytest.raises(UserError, match="there is no such annotation file"):
            format_of(missing).check_there(missing)


# -------------------------------------------------------------------------- layouts as they come from other machines

@pytest.mark.parametrize("disguise", [*disguises.OF_FOLDERS, *disguises.OF_TEXTS])
def test_every_layout_as_other_machines_leave_it(tmp_path, disguise, caplog):
    with disguises.quiet(caplog):
        for name, write in LAYOUTS.items():
            root = tmp_path / name / "data"
            root.mkdir(parents=True)
            write(root)
            for half, halves in zip(CONTENT, find_layout(disguise(root)), strict=True):
                found = {Path(file).stem: content for file, content in as_content(read_coco(*halves)).items()}
                wanted = {Path(file).stem: content for file, content in CONTENT[half].items()}
                if name in WITHOUT_EMPTY:
                    wanted = {file: content for file, content in wanted.items() if content[2]}
                assert found == wanted, name


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_sizes_are_those_of_pictures_as_they_are_looked_at(tmp_path, kind):
    exif = Image.Exif()
    exif[274] = 6  # a quarter turn
    Image.new("RGB", (80, 40)).save(tmp_path / "a", kind, exif=exif)
    size = picture_size(tmp_path / "a")
    assert (size.width, size.height, size.stored) == (40, 80, (80, 40))


# ------------------------------------------------------------------------------------------------- details of VOC


def _voc(folder, name, *objects, **options):
    (folder / name).with_suffix(".xml").write_text(voc_xml(name, 50, 40, objects, **options), encoding="utf-8")


def _picture(path, size=(50, 40), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size).save(path, **options)


def _one_folder(root):
    """The content of a folder that nothing divides."""
    known, halves = find_halves(root)
    assert list(halves) == ["all"]
    return read_content(*halves["all"])


def test_labelimg_writes_one_folder(tmp_path):
    _picture(tmp_path / "a.png")
    _voc(tmp_path, "a.png", ("dog", 0, 0, 50, 40), ("ant", 1, 1, 2, 2))
    content = _one_folder(tmp_path)
    assert content["categories"] == [{"id": 1, "name": "ant"}, {"id": 2, "name": "dog"}]
    assert [each["category_id"] for each in content["annotations"]] == [2, 1]
    assert content["images"] == [{"id": 1, "file_name": "a.png", "width": 50, "height": 40}]


@pytest.mark.parametrize(
    ("database", "wanted"),
    [
        ("The VOC2007 Database", [0, 9, 50, 11]),
        ("PASCAL VOC2012", [0, 9, 50, 11]),
        ("keras-fpn, counted from 1 as VOC does", [0, 9, 50, 11]),
        ("Unknown", [1, 10, 49, 10]),
        ("roboflow.com", [1, 10, 49, 10]),
    ],
)
def test_voc_counts_from_1_and_others_do_not(tmp_path, database, wanted):
    """xmin 1, ymin 10, xmax 50, ymax 20: of VOC's own the whole width of a picture of 50 pixels, and 11 rows."""
    _picture(tmp_path / "a.jpg")
    _voc(tmp_path, "a.jpg", ("dog", 1, 10, 49, 10), database=database)
    assert _one_folder(tmp_path)["annotations"][0]["bbox"] == wanted


def test_what_voc_says_of_an_object_is_kept(tmp_path):
    _picture(tmp_path / "a.jpg")
    text = (
        "<annotation><filename>a</filename><size><width>0</width><height>0</height></size><object><name> dog </name>"
        "<difficult>1</difficult><occluded>1</occluded><pose>Left</pose><bndbox><ymin>2.25</ymin><xmin>1.5</xmin>"
        "<xmax>3.75</xmax><ymax>1e1</ymax></bndbox></object></annotation>"
    )
    (tmp_path / "a.xml").write_bytes(text.encode("utf-16"))
    content = _one_folder(tmp_path)
    assert content["images"][0] == {"id": 1, "file_name": "a.jpg", "width": 50, "height": 40}
    assert content["annotations"] == [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1.5, 2.25, 2.25, 7.75], "iscrowd": 1, "difficult": 1,
         "occluded": 1, "pose": "Left"}
    ]  # fmt: skip


def test_chinese_encodings_are_read(tmp_path):
    """Expat knows none of them; programs of Windows write them."""
    _picture(tmp_path / "a.jpg")
    text = _XML.format(_OBJECT.format(1)).replace("dog", "猫")
    (tmp_path / "a.xml").write_bytes(f'<?xml version="1.0" encoding="GBK"?>{text}'.encode("gbk"))
    assert _one_folder(tmp_path)["categories"] == [{"id": 1, "name": "猫"}]


def test_voc_keeps_all_of_its_own_classes(tmp_path):
    _picture(tmp_path / "a.jpg")
    _voc(tmp_path, "a.jpg", ("dog", 1, 10, 49, 10), database="The VOC2012 Database")
    names = [each["name"] for each in _one_folder(tmp_path)["categories"]]
    assert (len(names), names[0], names[11], names[19]) == (20, "aeroplane", "dog", "tvmonitor")


def test_pictures_of_one_stem_are_told_apart_by_filename(tmp_path):
    for name in ("a.jpg", "a.png", "sub/a.jpg"):
        _picture(tmp_path / "JPEGImages" / name)
    (tmp_path / "Annotations" / "sub").mkdir(parents=True)
    _voc(tmp_path / "Annotations", "a.png", ("dog", 1, 10, 49, 10))
    _voc(tmp_path / "Annotations" / "sub", "a.jpg", ("cat", 1, 10, 49, 10))
    assert [each["file_name"] for each in _one_folder(tmp_path)["images"]] == ["a.png", "sub/a.jpg"]


# ------------------------------------------------------------------------------------------------ details of YOLO


def _yolo(root, lines, yaml="names: [cat, dog]", size=(100, 50), **options):
    _picture(root / "images" / "a.jpg", size, **options)
    (root / "labels").mkdir()
    (root / "labels" / "a.txt").write_text(lines)
    (root / "data.yaml").write_text(f"train: images\n{yaml}\n")
    return root


def test_yolo_polygons_confidences_and_key_points(tmp_path):
    lines = "1 0.1 0.2 0.5 0.2 0.3 0.84\n0 0.5 0.5 0.2 0.4 0.75\n0 .1 .2 .5 .2 .5 .6 .1 .6 .33\n"
    first, second, third = _one_folder(_yolo(tmp_path / "a", lines))["annotations"]
    assert (first["bbox"], first["category_id"]) == ([10, 10, 40, 32], 1)
    assert first["segmentation"] == [[10, 10, 50, 10, 30, 42]]
    assert (second["bbox"], second["confidence"]) == ([40, 15, 20, 20], 0.75)
    assert (third["bbox"], third["confidence"], len(third["segmentation"][0])) == ([10, 10, 40, 20], 0.33, 8)
    pose = _yolo(tmp_path / "b", "0 0.5 0.5 0.2 0.4 0.1 0.2 2 0 0 0\n", "names: [cat]\nkpt_shape: [2, 3]")
    (only,) = _one_folder(pose)["annotations"]
    assert (only["bbox"], only["keypoints"]) == ([40, 15, 20, 20], [10, 10, 2, 0, 0, 0])


def _pose(root, *lines, yaml):
    return _yolo(root, "".join(f"0 0.5 0.5 0.2 0.4 {line}\n" for line in lines), f"names: [cat]\n{yaml}")


@pytest.mark.parametrize(
    ("yaml", "keys"),
    [
        ("kpt_shape: [3, 3]", {"keypoints": ["kp1", "kp2", "kp3"]}),
        (
            "kpt_shape: [3, 3]\nflip_idx: [0, 2, 1]",
            {"keypoints": ["kp1", "kp2", "kp3"], "keypoint_flips": [["kp2", "kp3"]]},
        ),
        ("kpt_shape: [2, 3]\nkpt_names: {0: [nose, tail]}", {"keypoints": ["nose", "tail"]}),
        (
            "kpt_shape: [2, 3]\nkpt_names: [a, b]\nflip_idx: [0, 1]",
            {"keypoints": ["a", "b"], "keypoint_flips": []},
        ),
    ],
)
def test_yolo_s_keypoints_have_names_and_sides(tmp_path, yaml, keys):
    number = len(keys["keypoints"])
    root = _pose(tmp_path, " ".join(["0.1 0.2 2"] * number), yaml=yaml)
    halves = find_halves(root)[1]["all"]
    assert read_content(*halves)["categories"] == [{"id": 0, "name": "cat", **keys}]
    field = read_coco(*halves, fields=("keypoints",)).fields["keypoints"]
    flips = keys.get("keypoint_flips")
    assert (field.order is None) == (flips is None) == bool(field.refuses)
    if flips:
        assert field.order == (0, 2, 1)
    chosen = read_coco(*halves, fields=("keypoints",), field_settings={"keypoint_flips": [keys["keypoints"][:2]]})
    assert chosen.fields["keypoints"].order[:2] == (1, 0)  # what is set wins


def test_seventeen_that_swap_as_cocos_do_are_cocos(tmp_path):
    order = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
    root = _pose(tmp_path, " ".join(["0.1 0.2 2"] * 17), yaml=f"kpt_shape: [17, 3]\nflip_idx: {order}")
    field = read_coco(*find_halves(root)[1]["all"], fields=("keypoints",)).fields["keypoints"]
    assert (field.names, field.skeleton) == (coco_keypoints.NAMES, coco_keypoints.SKELETON)


def test_yolo_s_keypoints_without_visibility_are_visible_but_for_those_below_0(tmp_path):
    """Ultralytics leaves those out with which x or y is below 0 (its utils/instance and loader)."""
    root = _pose(tmp_path, "0.1 0.2 -1 -1", "0 0 0.5 1.2", yaml="kpt_shape: [2, 2]")
    first, second = _one_folder(root)["annotations"]
    assert first["keypoints"][2::3] == [2, 0] and second["keypoints"] == [0, 0, 2, 50, 60, 2]
    root = _pose(tmp_path / "odd", "0.1 0.2 0.5 0 0 1", yaml="kpt_shape: [2, 3]")
    with pytest.raises(UserError, match="have the visibility 0.5, which is 0"):
        read_coco(*find_halves(root)[1]["all"], fields=("keypoints",))


@pytest.mark.parametrize(
    ("yaml", "told"),
    [
        ("kpt_shape: [0, 3]", r"kpt_shape is \[0, 3\]; write \[key points, 2 or 3\]"),
        ("kpt_shape: [2, 3]\nflip_idx: [0, 0]", r"flip_idx is \[0, 0\]; write for each of the 2 key points the number"),
        ("kpt_shape: [3, 3]\nflip_idx: [1, 2, 0]", r"flip_idx is \[1, 2, 0\]; write for each"),
        ("kpt_shape: [2, 3]\nflip_idx: 1", "flip_idx is 1; write"),
        ("kpt_shape: [2, 3]\nkpt_names: {0: [a]}", r"kpt_names has \['a'\] for class 0; write the 2 names"),
    ],
)
def test_yolo_s_keypoints_that_contradict_themselves_are_one_line(tmp_path, yaml, told):
    with pytest.raises(UserError, match=rf"data.yaml: {told}"):
        _one_folder(_pose(tmp_path, "0.1 0.2 2 0 0 0", yaml=yaml))


def test_yolo_measures_pictures_as_they_are_looked_at(tmp_path):
    """EXIF orientation 6: stored 100 x 50, looked at 50 x 100."""
    exif = Image.Exif()
    exif[274] = 6
    content = _one_folder(_yolo(tmp_path, "0 0.5 0.5 1 1\n", exif=exif))
    assert (content["images"][0]["width"], content["images"][0]["height"]) == (50, 100)
    assert content["annotations"][0]["bbox"] == [0, 0, 50, 100]


def test_a_data_yaml_stands_for_its_folder(tmp_path):
    LAYOUTS["yolo"](tmp_path)
    assert find_layout(tmp_path / "data.yaml") == find_layout(tmp_path)
    val = find_layout(tmp_path).val
    by_images = read_coco(tmp_path / "data.yaml", val.images)  # of several halves the one with this folder
    assert as_content(by_images) == CONTENT["val"]


def test_a_table_stands_for_its_halves(tmp_path):
    LAYOUTS["csv_automl"](tmp_path)
    assert find_layout(tmp_path / "boxes.csv") == find_layout(tmp_path)


def test_shares_of_few_digits_are_not_made_longer(tmp_path):
    """0.333333 of 100 pixels is 33.3333, not 33.333299999999994."""
    (only,) = _one_folder(_yolo(tmp_path, "0 0.333333 0.5 0.1 0.2\n"))["annotations"]
    assert only["bbox"] == [28.3333, 20, 10, 10]


# ------------------------------------------------------------------------------------------------- details of CSV


def test_columns_that_are_kept_are_numbers_as_json_has_them(tmp_path):
    """A table program writes nan where it has nothing."""
    _write_files(tmp_path, {"a.jpg": None, "t.csv": "filename,class,xmin,ymin,xmax,ymax,score,note,far\n"
                                                    "a.jpg,cat,1,2,3,4,nan,0.5,1e999\n"})  # fmt: skip
    (item,) = _one_folder(tmp_path)["annotations"]
    assert (item["score"], item["note"], item["far"]) == ("nan", 0.5, "1e999")


def test_groups_of_open_images_are_crowds_and_columns_are_kept(tmp_path):
    _picture(tmp_path / "images" / "00ff.jpg", (100, 50))
    header = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsGroupOf"
    (tmp_path / "boxes.csv").write_text(f"{header}\n00ff,xclick,/m/01,1,0.1,0.3,0.2,0.6,-1,1\n")
    content = _one_folder(tmp_path)
    assert content["annotations"] == [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 20], "iscrowd": 1, "Source": "xclick",
         "Confidence": 1, "IsOccluded": -1}
    ]  # fmt: skip
    assert content["images"] == [{"id": 1, "file_name": "00ff.jpg", "width": 100, "height": 50}]


# ----------------------------------------------------------------------------- what is told, and what names are kept

_SMALL = "filename,class,xmin,ymin,xmax,ymax\na.jpg,10,1,2,3,4\na.jpg,2,1,2,3,4\n"

TOLD = [
    ({"images/a.jpg": None, "labels/a.txt": "0 .5 .5 .1 .1", "labels/b/c.txt": "0 .5 .5 .1 .1", "labels/d.txt": "",
      "labels/notes.txt": "as agreed", "classes.txt": "cat"},
     "1 label files in .*labels have no picture in .*images and are left out, first b/c.txt; add"),
    ({"images/a.jpg": None, "images/b.jpg": None, "labels/a.txt": "0 .5 .5 .1 .1", "classes.txt": "cat"},
     "1 of the 2 pictures in .*images have no label file; they count as pictures without an object"),
    ({"a.jpg": None, "b/c.jpg": None, "t.csv": _SMALL},
     "t.csv: 1 of the 2 pictures in .* are in no row and are left out, first b/c.jpg; those without"),
]  # fmt: skip


@pytest.mark.parametrize(("files", "told"), TOLD)
def test_what_is_left_out_is_told(tmp_path, caplog, files, told):
    _write_files(tmp_path, files)
    _one_folder(tmp_path)
    (message,) = caplog.messages
    assert re.search(told, message) and "\n" not in message


def test_many_files_are_counted(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("keras_fpn.data.formats.counted._WORTH_A_BAR", 2)
    for name in ("voc_roboflow", "yolo"):
        LAYOUTS[name](tmp_path / name)
        read_content(*find_halves(tmp_path / name)[1]["train"])
    told = capsys.readouterr()
    lines = [line.partition(" in ")[0] for line in (told.out + told.err).splitlines()]
    assert lines == ["voc: 3 files", "classes of valid: 2 files", "yolo: 3 files"]


def test_names_of_classes_are_texts(tmp_path):
    """YAML takes no for False and 007 for 7; numbers in a table are in the order of numbers."""
    _write_files(tmp_path / "list", {**_YOLO, "data.yaml": "names: [no, 007, 2024-01-01]\ntrain: images\n"})
    _write_files(tmp_path / "numbered", {**_YOLO, "data.yaml": "names: {1: on, 0: 1.10}\ntrain: images\n"})
    _write_files(tmp_path / "table", {"a.jpg": None, "t.csv": _SMALL})
    names = [[each["name"] for each in _one_folder(tmp_path / case)["categories"]]
             for case in ("list", "numbered", "table")]  # fmt: skip
    assert names == [["no", "007", "2024-01-01"], ["1.10", "on"], ["2", "10"]]


# ------------------------------------------------------------------------------------------------------- mistakes

_OBJECT = "<object><name>dog</name><bndbox><xmin>{}</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>"
_XML = "<annotation><filename>a.jpg</filename><size><width>50</width><height>40</height></size>{}</annotation>"
_BOMB = '<!DOCTYPE a [<!ENTITY b "dog">]><annotation><object><name>&b;</name></object></annotation>'
_VOC = {"a.jpg": None, "a.xml": _XML.format(_OBJECT.format(1))}
_YOLO = {"images/a.jpg": None, "labels/a.txt": "0 0.5 0.5 0.1 0.1\n", "data.yaml": "names: [cat]\ntrain: images\n"}
_CSV = {"a.jpg": None, "t.csv": "filename,class,xmin,ymin,xmax,ymax\na.jpg,cat,1,2,3,4\n"}
_TABLE = "filename,class,xmin,ymin,xmax,ymax\n"

MISTAKES = [
    (_VOC, {"a.xml": _XML.format(_OBJECT.format("x"))}, r"a.xml: object 1 \('dog'\) has <bndbox> \['x', .* write num"),
    (_VOC, {"a.xml": _XML.format(_OBJECT.format("nan"))}, r"a.xml: object 1 \('dog'\) has <bndbox>"),
    (_VOC, {"a.xml": _XML.format("<object><name>dog</name></object>")}, r"object 1 \('dog'\) has no <bndbox>; write"),
    (_VOC, {"a.xml": _XML.format("<object/>")}, "a.xml: object 1 has no <name>; write"),
    (_VOC, {"a.xml": _BOMB}, "a.xml: declares a document type, .*; remove"),
    (_VOC, {"a.xml": _BOMB.encode("utf-16")}, "a.xml: declares a document type, .*; remove"),
    (_VOC, {"a.xml": b'<?xml version="1.0" encoding="x"?><annotation/>'}, "a.xml: no whole XML file .*unknown enc"),
    (_VOC, {"b.xml": "<annotations/>"}, "b.xml: begins with <annotations>, a VOC file with <annotation>; remove"),
    (_VOC, {"a.xml": _XML.format("")[:-5]}, "a.xml: no whole XML file .*; write it again"),
    (_VOC, {"classes.txt": "cat\n"}, "a.xml: object 1 is called 'dog', which .*classes.txt does not list; correct"),
    (_VOC, {"classes.txt": "dog\ndog\n"}, "classes.txt: class 'dog' is there twice; remove one"),
    (_VOC, {"classes.txt": "\n"}, "classes.txt: has no name of a class; write one"),
    (_VOC, {"b.xml": _XML.format("")}, "b.xml: is of the picture a.jpg, as a.xml is; remove one"),
    (_VOC, {"b.xml": "<annotation/>"}, "b.xml: has no size, and its picture b.jpg is not in .*; add it"),
    (_VOC, {"ImageSets/Main/train.txt": "a\nb\n", "JPEGImages/a.jpg": None, "Annotations/a.xml": _VOC["a.xml"]},
     "train.txt: line 2: 'b' has no XML file in .*Annotations; add it, or remove"),
    (_VOC, {"ImageSets/Main/train.txt": "a\n\na.jpg\n", "JPEGImages/a.jpg": None, "Annotations/a.xml": _VOC["a.xml"]},
     "train.txt: line 3: 'a.jpg' is there twice; remove one"),
    ({}, {"VOC2007/Annotations/a.xml": _VOC["a.xml"], "VOC2007/JPEGImages/a.jpg": None,
          "VOC2012/Annotations/a.xml": _VOC["a.xml"], "VOC2012/JPEGImages/a.jpg": None},
     "has VOC2007 and VOC2012; name one"),
    ({}, {"Annotations/a.xml": _VOC["a.xml"]}, "has Annotations/ and no JPEGImages/; add the pictures"),
    (_YOLO, {"labels/a.txt": "0 0.5 0.5 0.1 0.1\n\n0 0.5 0.5 0.1\n"}, "a.txt: line 3: 4 numbers; write class"),
    (_YOLO, {"labels/a.txt": "cat 0.5 0.5 0.1 0.1\n"}, "a.txt: line 1: 'cat' is no number; write class"),
    (_YOLO, {"labels/a.txt": "0 0.5 nan 0.1 0.1\n"}, "a.txt: line 1: 'nan' is no share of the picture; write"),
    (_YOLO, {"labels/a.txt": "0.5 0.5 0.5 0.1 0.1\n"}, "a.txt: line 1: 0.5 is no number of a class; write"),
    (_YOLO, {"labels/a.txt": "7 0.5 0.5 0.1 0.1\n"}, "a.txt: line 1: class 7, and .*data.yaml names 1, from 0 to 0; c"),
    (_YOLO, {"labels/a.txt": "0 0.5 0.5 -0.1 0.1\n"}, "a.txt: line 1: width or height is below 0; write"),
    (_YOLO, {"labels/a.txt": "0 25 20 10 10\n0 10 20 5 5\n"},
     "a.txt: line 1: 25 is no share 0..1 of the picture, and 2 of 2 objects have such: they seem to be in pixels; div"),
    (_YOLO, {"labels/a.txt": "0 0.5 0.5 0.1 0.1\n0 .5 .5 .5 5\n"}, "a.txt: line 2: 5 is no share 0..1 .*; correct"),
    (_YOLO, {"labels/a.txt": "0 " + "0.5 " * 9, "data.yaml": "names: [cat]\ntrain: images\nkpt_shape: [2, 3]"},
     r"a.txt: line 1: 10 numbers, and kpt_shape \[2, 3\] makes 11; correct"),
    (_YOLO, {"labels/a.txt": b"\xff\xfe\x00"}, "a.txt: no text in UTF-8 .*; write it as UTF-8"),
    (_YOLO, {"data.yaml": "names: [cat]\ntrain: pictures\n"}, "data.yaml: train is 'pictures', which is not there; c"),
    (_YOLO, {"data.yaml": "names: [cat\ntrain: images\n"}, r"data.yaml: no whole YAML file \(line 2\); correct"),
    (_YOLO, {"data.yaml": "names: [cat]\nnc: 2\ntrain: images\n"}, "data.yaml: nc is 2, and names has 1; correct one"),
    (_YOLO, {"data.yaml": "names: [cat, cat]\ntrain: images\n"}, "data.yaml: class 'cat' is there twice; remove"),
    (_YOLO, {"data.yaml": "names: {0: cat, 1: dog, 00: cow}\ntrain: images\n"}, "data.yaml: names has 0 twice; give"),
    (_YOLO, {"data.yaml": "names: {0: }\ntrain: images\n"}, "data.yaml: names has 0: None; write 0: name"),
    (_YOLO, {"data.yaml": "names: {0: [cat]}\ntrain: images\n"}, "data.yaml: names has 0: .*; write 0: name"),
    (_YOLO, {"data.yaml": "names: {a: cat}\ntrain: images\n"}, "data.yaml: names has 'a': 'cat'; write 0: name"),
    (_YOLO, {"data.yaml": "names: 3\ntrain: images\n"}, "data.yaml: names is 3; list the names"),
    (_YOLO, {"data.yaml": "names: [cat]\ntrain: 3\n"}, "data.yaml: train is 3; write a folder"),
    (_YOLO, {"data.yaml": "names: [cat]\n"}, "data.yaml: names no pictures; add train: and val:"),
    (_YOLO, {"labels/a.txt": None, "images/b.jpg": None, "labels": "gone"}, "labels/a.txt: not there, and no other of"),
    ({"images/a.jpg": None, "labels/a.txt": "0 0.5 0.5 0.1 0.1\n"}, {}, "nothing names the classes; write classes.txt"),
    (_YOLO, {"data.yaml": "names: [cat]\ntrain: l.txt\n", "l.txt": "x/b.jpg\n"}, "l.txt: picture 'x/b.jpg' is not th"),
    (_YOLO, {"data.yaml": "names: [cat]\ntrain: l.txt\n", "l.txt": "\n"}, "l.txt: lists no picture; write"),
    (_YOLO, {"images/a.jpg": b"no picture"}, "a.jpg: not a readable image .*; re-encode or remove"),
    (_CSV, {"t.csv": "filename,class,a,b\na.jpg,cat,1,2\n"}, r"t.csv: the first row .* has no column of a box; write"),
    (_CSV, {"t.csv": "filename,class,xmin,x1,ymin,xmax,ymax\n"}, "t.csv: the columns xmin and x1 could be the same; r"),
    (_CSV, {"t.csv": "filename,class,xmin,ymin,xmax,ymax,x,y,w,h\n"}, "t.csv: has xmin, .* and x, y, w, h; remove"),
    (_CSV, {"t.csv": _TABLE + "a.jpg,cat,1,2,3,nan\n"}, "t.csv: line 2: ymax is 'nan'; write a number"),
    (_CSV, {"t.csv": _TABLE + "a.jpg,cat,1,2,3,\n"}, "t.csv: line 2: ymax is ''; write a number"),
    (_CSV, {"t.csv": _TABLE + "a.jpg,,1,2,3,4\n"}, "t.csv: line 2: has a box and no class; write"),
    (_CSV, {"t.csv": _TABLE + ",cat,1,2,3,4\n"}, "t.csv: line 2: names no picture; correct"),
    (_CSV, {"t.csv": _TABLE + "a.jpg,cat,1,2,3,4\nb.jpg,cat,1,2,3,4\n"},
     "t.csv: line 3: picture 'b.jpg' is not in .*; add"),
    (_CSV, {"t.csv": _TABLE + "b.jpg,cat,1,2,3,4\n"}, "t.csv: its pictures, .* are not in .*; name"),
    (_CSV, {"t.csv": _TABLE}, "t.csv: has no row; add some"),
    (_CSV, {"t.csv": _TABLE + "a.jpg,cat\n"}, "t.csv: line 2: has 2 cells of 6, .*; correct the line"),
    (_CSV, {"t.csv": _TABLE + 'a.jpg,"cat,1,2,3,4\na.jpg,cat,1,2,3,4\n'}, "t.csv: line 3: has 2 cells .* quotation"),
    (_CSV, {"t.csv": "", "val.csv": _CSV["t.csv"], "train.csv": ""}, "train.csv: is empty; write"),
    (_CSV, {"val.csv": _CSV["t.csv"], "train.csv": b"filename\xff"}, "train.csv: no text in UTF-8 .*; write it as"),
    (_CSV, {"t.csv": "filename,class,xmin,ymin,xmax,ymax,split\na.jpg,c,1,2,3,4,train\na.jpg,c,1,2,3,4,dev\n"},
     "t.csv: line 3: is for 'dev', and other lines name halves; write train, val or test"),
    (_CSV, {"t.csv": "TRIAN,gs://b/a.jpg,cat,0.1,0.1,,,0.5,0.5,,\nTEST,gs://b/a.jpg,cat,0.1,0.1,,,0.5,0.5,,\n"},
     "t.csv: line 1: is for 'TRIAN', .*; write train, val or test"),
    (_CSV, {"classes.csv": "dog,0\n"}, "t.csv: line 2: class 'cat' is not in .*classes.csv; correct it"),
    (_CSV, {"classes.csv": "a,b,c\n"}, "classes.csv: no list of classes; write"),
    (_CSV, {"t.csv": "filename,class,xmin,ymin,xmax,ymax,set\na.jpg,c,1,2,3,4,TRAIN\na.jpg,c,1,2,3,4,TEST\n"},
     "t.csv: line 3: 'a.jpg' is in test and in train; name one half"),
    (_CSV, {"t.csv": "filename,width,height,class,xmin,ymin,xmax,ymax\na.jpg,5,5,c,1,2,3,4\na.jpg,6,5,c,1,2,3,4\n"},
     "t.csv: line 2: a.jpg has 5 x 5 pixels, and 6 x 5 in another row; correct"),
    (_CSV, {"u.csv": _CSV["t.csv"]}, "has t.csv and u.csv; name one"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(MISTAKES)))
def test_a_mistake_is_told_in_one_line(tmp_path, number):
    """With the file, its line or object, and the mend."""
    sound, changed, told = MISTAKES[number]
    root = tmp_path / "data" / "set"  # pictures are looked for in the folder above, too
    _write_files(root, {**sound, **changed})
    with pytest.raises(UserError, match=told) as caught:
        for half in find_halves(root)[1].values():
            read_content(*half)
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


def _write_files(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text == "gone":
            shutil.rmtree(path)
        elif text is None and path.suffix == ".jpg":
            _picture(path)
        elif text is not None:
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
