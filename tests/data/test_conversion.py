"""Data sets written in another format: what comes back, what stays away, and what is refused.

`test_readers` writes data sets of all formats.
"""

import json
import logging
import re
import struct
import zlib
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import yaml
from hypothesis import strategies as st
from PIL import Image, ImageOps

from keras_fpn.console.errors import UserError
from keras_fpn.data import find_layout, read_coco, rewriting
from keras_fpn.data.conversion import WRITERS, convert
from keras_fpn.data.formats import Half, find_halves, read_content
from keras_fpn.data.shard_folder import write_shards
from tests.data.data_sets import CONTENT, LAYOUTS, as_content

# ---------------------------------------------------------------------------------------------------- round trips


def _chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def head_of_png(width, height):
    """A PNG of any size that ends where its pixels would begin."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", b"")


def _coco(folder, document, half="train"):
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    (folder / "annotations" / f"instances_{half}.json").write_text(json.dumps(document))
    for image in document["images"]:
        path = folder / half / image["file_name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(head_of_png(image["width"], image["height"]))


def _document(width, height, boxes):
    """Ids with gaps and in no order, crowds, polygons, keys of anybody's, licences, and an image without objects."""
    images = [
        {"id": 70, "file_name": "sub/b é.png", "width": width, "height": height, "license": 3},
        {"id": 7, "file_name": "other/b é.png", "width": height, "height": width, "date_captured": "2026-01-01"},
        {"id": 9, "file_name": "c.png", "width": 5, "height": 6},
    ]
    annotations = []
    for number, box in enumerate(boxes):
        item = {"id": 1000 - 3 * number, "image_id": (70, 7)[number % 2], "category_id": (18, 3)[number % 2]}
        item |= {"bbox": box, "iscrowd": int(number % 3 == 2)}
        if number % 4 == 1:
            item["segmentation"] = [[1, 2, 3.25, 4, 5, 6]]
            item["area"] = 4.125
        annotations.append(item)
    return {
        "info": {"year": 2026},
        "licenses": [{"id": 3, "name": "free"}],
        "images": images,
        "annotations": annotations,
        "categories": [
            {"id": 18, "name": "dog & <cat>", "supercategory": "animal"},
            {"id": 3, "name": "café"}, {"id": 90, "name": "x"},
        ],
    }  # fmt: skip


@st.composite
def documents(draw, decimals=None):
    """Instances on pictures of 2 to 20,000 pixels a side, boxes within them: any float64, or of so many decimals."""
    width, height = draw(st.integers(2, 20_000)), draw(st.integers(2, 20_000))
    boxes = []
    for number in range(draw(st.integers(0, 60))):
        sides = (width, height) if number % 2 == 0 else (height, width)
        box = []
        for side in sides:
            start = draw(st.floats(0, 0.9 * side))
            box.append((start, draw(st.floats(0.01 * side, 0.999 * side - start))))
        box = [box[0][0], box[1][0], box[0][1], box[1][1]]
        if draw(st.booleans()):
            box = [round(value) for value in box] if min(map(round, box[2:])) else box
        boxes.append(box if decimals is None else [round(value, decimals) for value in box])
    return _document(width, height, boxes)


def _roads(tmp_path_factory, document, to, keep=True):
    """The document there and back: COCO, another format, COCO."""
    root = tmp_path_factory.mktemp("road")
    _coco(root / "a", document)
    _coco(root / "a", document, "val")
    convert(str(root / "a"), root / "b", to)
    if not keep:
        for file in (root / "b").glob("keras-fpn.*.json"):
            file.unlink()
    convert(str(root / "b"), root / "c", "coco")
    return root


@pytest.mark.parametrize("to", WRITERS)
@hypothesis.given(document=documents())
@hypothesis.settings(max_examples=4)
def test_nothing_is_lost_on_the_way_there_and_back(tmp_path_factory, to, document):
    """Ids, order, crowds, polygons and boxes, to the last bit."""
    root = _roads(tmp_path_factory, document, to)
    inside = {"voc": {"train": "train/", "val": "val/"}}.get(to, {"train": "", "val": ""})
    for half in ("train", "val"):
        found = json.loads((root / "c" / "annotations" / f"instances_{half}.json").read_text())
        for image in found["images"]:  # two halves of one name each: VOC has one folder for all
            assert image["file_name"].startswith(inside[half])
            image["file_name"] = image["file_name"][len(inside[half]) :]
        assert found == document


def _boxes_alone(root):
    content = read_content(*find_halves(root / "b")[1]["train"])
    names = {image["id"]: image["file_name"].removeprefix("train/") for image in content["images"]}
    return {name: [item["bbox"] for item in content["annotations"] if names[item["image_id"]] == name]
            for name in names.values()}  # fmt: skip


def _wanted(document, to):
    names = {image["id"]: image["file_name"] for image in document["images"]}
    return {name: [item["bbox"] for item in document["annotations"] if names[item["image_id"]] == name
                   and (to == "voc" or not item["iscrowd"])] for name in names.values()}  # fmt: skip


@hypothesis.given(document=documents())
@hypothesis.settings(max_examples=4)
def test_voc_itself_holds_every_bit_of_a_box(tmp_path_factory, document):
    root = _roads(tmp_path_factory, document, "voc", keep=False)
    assert _boxes_alone(root) == _wanted(document, "voc")


@hypothesis.given(document=documents(decimals=9))
@hypothesis.settings(max_examples=4)
def test_yolo_itself_holds_every_bit_of_nine_decimals(tmp_path_factory, document):
    root = _roads(tmp_path_factory, document, "yolo", keep=False)
    assert _boxes_alone(root) == _wanted(document, "yolo")


@hypothesis.given(document=documents())
@hypothesis.settings(max_examples=4)
def test_yolo_itself_holds_a_box_to_the_tenth_decimal(tmp_path_factory, document):
    root = _roads(tmp_path_factory, document, "yolo", keep=False)
    for name, boxes in _wanted(document, "yolo").items():
        found = np.array(_boxes_alone(root)[name]).reshape(-1, 4)
        np.testing.assert_allclose(found, np.array(boxes).reshape(-1, 4), rtol=0, atol=1e-10)


def test_labels_of_six_digits_come_back_as_they_were(tmp_path):
    """As Darknet, Ultralytics and Roboflow write them, through COCO: the same numbers, and as short."""
    rng = np.random.default_rng(5)
    (tmp_path / "a" / "images").mkdir(parents=True)
    (tmp_path / "a" / "labels").mkdir()
    (tmp_path / "a" / "data.yaml").write_text("train: images\nnames: [x, y]\n")
    for number in range(40):
        size = rng.integers(20, 4000, 2).tolist()
        (tmp_path / "a" / "images" / f"{number}.png").write_bytes(head_of_png(*size))
        boxes = [(*rng.uniform(0.3, 0.7, 2), *rng.uniform(0.05, 0.6, 2)) for _ in range(5)]
        lines = (" ".join(["1", *(repr(round(float(value), 6)) for value in box)]) for box in boxes)
        (tmp_path / "a" / "labels" / f"{number}.txt").write_text("".join(f"{line}\n" for line in lines))
    convert(str(tmp_path / "a"), tmp_path / "b", "coco")
    convert(str(tmp_path / "b"), tmp_path / "c", "yolo")
    for file in (tmp_path / "a" / "labels").iterdir():
        assert (tmp_path / "c" / "labels" / "train" / file.name).read_text() == file.read_text()


@pytest.mark.parametrize("to", WRITERS)
@pytest.mark.parametrize("is_own", [True, False])
def test_a_third_half_comes_along(tmp_path, to, is_own):
    """Test images in COCO's own layout and in Roboflow's; training looks at two halves."""
    for half, folder in (("train", "train"), ("val", "valid"), ("test", "test")):
        document = _document(30 + len(half), 20, [[1, 2, 3, 4]])
        _coco(tmp_path / "a", document, half)
        if not is_own:
            (tmp_path / "a" / "annotations" / f"instances_{half}.json").rename(
                tmp_path / "a" / half / "_annotations.coco.json"
            )
            (tmp_path / "a" / half).rename(tmp_path / "a" / folder)
    if not is_own:
        (tmp_path / "a" / "annotations").rmdir()
    done = convert(str(tmp_path / "a"), tmp_path / "b", to)
    assert list(done.halves) == ["train", "val", "test"]
    halves = find_halves(tmp_path / "b")[1]
    assert list(halves) == ["train", "val", "test"]
    assert read_coco(*halves["test"]).records[0].width == 34
    assert find_layout(tmp_path / "b").val == halves["val"]


@pytest.mark.parametrize("to", WRITERS)
def test_pictures_in_shards_are_files_again(tmp_path, to):
    """Through `to-shards`: the same as the folder itself is written, file by file and byte by byte."""
    document = _document(100, 50, [[10, 5, 20, 30], [0, 0, 20, 30], [0.5, 0, 20, 30]])
    for half in ("train", "val"):
        _coco(tmp_path / "a", document, half)
    write_shards(tmp_path / "shards", find_halves(tmp_path / "a")[1], shards=2)
    convert(str(tmp_path / "a"), tmp_path / "b", to)
    done = convert(str(tmp_path / "shards"), tmp_path / "c", to)
    assert done.title == "shards of TFRecord files"
    files = [{str(each.relative_to(root)): each.read_bytes() for each in root.rglob("*") if each.is_file()}
             for root in (tmp_path / "b", tmp_path / "c")]  # fmt: skip
    assert files[0] == files[1] and len(files[0]) >= 8


@pytest.mark.parametrize(
    ("name", "told"),
    [("../a.png", "leads out of the folder"), ("/tmp/a.png", "leads out of the folder"), ("a/..", "leads out of")],
)
def test_names_of_pictures_in_shards_stay_inside(tmp_path, name, told):
    _coco(tmp_path / "a", _document(100, 50, []))
    write_shards(tmp_path / "shards", {"all": Half(*_half_of(tmp_path / "a"))}, shards=1)
    index = tmp_path / "shards" / "all.index.json"
    index.write_text(index.read_text().replace('"c.png"', json.dumps(name)))
    with pytest.raises(UserError, match=f"image 9 has .*{told}"):
        convert(str(tmp_path / "shards"), tmp_path / "b", "coco")
    assert not (tmp_path / "b").exists()


def _half_of(root):
    return str(root / "annotations" / "instances_train.json"), str(root / "train")


@pytest.mark.parametrize("to", WRITERS)
def test_pictures_that_training_does_not_read_become_png(run, tmp_path, to):
    """With the same pixels, turned alike, and boxes where they were; a JPEG beside them stays byte for byte."""
    (tmp_path / "a").mkdir()
    pixels = np.random.default_rng(2).integers(0, 256, (30, 40, 3), np.uint8)
    exif = Image.Exif()
    exif[274] = 6
    frames = [Image.fromarray(pixels), Image.fromarray(255 - pixels)]
    frames[0].save(tmp_path / "a" / "a.tif", exif=exif)
    frames[0].save(tmp_path / "a" / "a.png")
    frames[0].save(tmp_path / "a" / "b.jpg")
    frames[0].save(tmp_path / "a" / "c.webp", save_all=True, append_images=frames[1:], lossless=True)
    names = ["a.tif", "a.png", "b.jpg", "c.webp"]
    images = [{"id": 1 + i, "file_name": name, "width": 40, "height": 30} for i, name in enumerate(names)]
    items = [{"id": i, "image_id": 1 + i, "category_id": 1, "bbox": [i, 3, 10, 20]} for i in range(len(names))]
    document = {"images": images, "annotations": items, "categories": [{"id": 1, "name": "x"}]}
    (tmp_path / "a.json").write_text(json.dumps(document))
    code, out, err = run("data", "convert", tmp_path / "a.json", tmp_path / "b", "--images", tmp_path / "a", "--to", to)
    assert (code, err) == (0, "") and "\n2 pictures were rewritten as PNG (1 TIFF, 1 animated WebP)\n" in out
    assert "of 1 files with more than one picture the first alone is used" in out and "c.webp 1 of 2" in out
    half = find_halves(tmp_path / "b")[1]["all"]
    assert read_content(*half)["annotations"] == items
    records = read_coco(*half).records
    assert [record.file_name for record in records] == ["a.png", "a_2.png", "b.jpg", "c.png"]
    for record, name in zip(records, names, strict=True):
        content = Path(record.path).read_bytes()
        assert (content == (tmp_path / "a" / name).read_bytes()) == (name in ("a.png", "b.jpg"))
        assert rewriting.unread(content) is None
        if name != "b.jpg":
            wanted = np.rot90(pixels, -1) if name == "a.tif" else pixels
            assert (np.asarray(ImageOps.exif_transpose(Image.open(record.path))) == wanted).all()


# ---------------------------------------------------------------------------------------------------- classes


@pytest.mark.parametrize("to", WRITERS)
@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["--classes", "traffic light", "cat"], {"cat": "cat", "traffic light": "traffic light"}),
        (["--classes", "animal=cat,bird", "light=traffic light"],
         {"cat": "animal", "bird": "animal", "traffic light": "light"}),
        (["--set", "data.classes={animal: [cat, bird]}"], {"cat": "animal", "bird": "animal"}),
    ],
)  # fmt: skip
def test_classes_are_chosen_renamed_and_merged(run, tmp_path, caplog, to, options, names):
    """Over both halves: "bird" is in the second alone. Pictures stay, with what objects are left."""
    LAYOUTS["coco"](tmp_path / "a")
    code, _, _ = run("data", "convert", tmp_path / "a", tmp_path / "b", "--to", to, *options)
    assert code == 0 and f"{len(set(names.values()))} classes of 3" in caplog.text
    for half, halves in zip(CONTENT, find_layout(tmp_path / "b"), strict=True):
        data_set = read_coco(*halves)
        assert set(data_set.class_names) == set(names.values())
        assert as_content(data_set) == {
            file: (width, height, [(names[label], *box) for label, *box in objects if label in names])
            for file, (width, height, objects) in CONTENT[half].items()
        }


# ------------------------------------------------------------------------------------------------ what is written


def test_what_other_programs_find_in_voc(tmp_path):
    """xmin counted from 1 and xmax the last pixel, as VOC says; a crowd is difficult."""
    document = _document(100, 50, [[10, 5, 20, 30], [0, 0, 20, 30], [0.5, 0, 20, 30]])
    _coco(tmp_path / "a", document)
    convert(str(tmp_path / "a" / "annotations" / "instances_train.json"), tmp_path / "b", "voc",
            images=str(tmp_path / "a" / "train"))  # fmt: skip
    text = (tmp_path / "b" / "Annotations" / "sub" / "b é.xml").read_text(encoding="utf-8")
    assert "<name>dog &amp; &lt;cat&gt;</name>" in text and "<filename>b é.png</filename>" in text
    assert "<xmin>11</xmin><ymin>6</ymin><xmax>30</xmax><ymax>35</ymax>" in text
    assert "<xmin>1.5</xmin><ymin>1</ymin><xmax>20.5</xmax><ymax>30</ymax>" in text
    assert re.findall(r"<difficult>(\d)", text) == ["0", "1"]
    assert (tmp_path / "b" / "ImageSets" / "Main" / "all.txt").read_text() == "sub/b é\nother/b é\nc\n"
    assert (tmp_path / "b" / "labels.txt").read_text() == "café\ndog & <cat>\nx\n"


def test_what_other_programs_find_in_yolo(tmp_path):
    """Shares of the picture, cut at its border, no crowd; an empty file for a picture without objects."""
    boxes = [[10, 5, 20, 30], [0, 0, 20, 30], [0.5, 0, 20, 30], [1, 1, 1, 1], [90, -10, 20, 30]]
    document = _document(100, 50, boxes)
    _coco(tmp_path / "a", document)
    _coco(tmp_path / "a", document, "val")
    convert(str(tmp_path / "a"), tmp_path / "b", "yolo")
    labels = tmp_path / "b" / "labels" / "val"
    assert (labels / "sub" / "b é.txt").read_text() == "1 0.2 0.4 0.2 0.6\n1 0.95 0.2 0.1 0.4\n"
    assert (labels / "c.txt").read_bytes() == b""
    described = yaml.safe_load((tmp_path / "b" / "data.yaml").read_text())
    assert described == {
        "train": "images/train", "val": "images/val", "nc": 3, "names": {0: "café", 1: "dog & <cat>", 2: "x"},
    }  # fmt: skip


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_are_turned_with_their_pictures_for_yolo(tmp_path, orientation):
    """A bright patch, annotated on the pixels as stored, is where the label says in the picture as it is looked at."""
    pixels = np.zeros((60, 100), np.uint8)
    pixels[10:20, 30:70] = 255
    exif = Image.Exif()
    exif[274] = orientation
    (tmp_path / "a").mkdir()
    Image.fromarray(pixels).save(tmp_path / "a" / "a.png", exif=exif)
    image = {"id": 1, "file_name": "a.png", "width": 100, "height": 60}
    item = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [30, 10, 40, 10]}
    document = {"images": [image], "annotations": [item], "categories": [{"id": 1, "name": "x"}]}
    (tmp_path / "a.json").write_text(json.dumps(document))
    convert(str(tmp_path / "a.json"), tmp_path / "b", "yolo", images=str(tmp_path / "a"))
    assert read_content(*find_halves(tmp_path / "b")[1]["all"]) == document
    (tmp_path / "b" / "keras-fpn.train.json").unlink()
    content = read_content(*find_halves(tmp_path / "b")[1]["all"])
    if orientation >= 5:  # of others the size does not tell, and the upright view counts
        upright = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "a" / "a.png")))
        rows, columns = np.nonzero(upright)
        wanted = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
        assert content["annotations"][0]["bbox"] == wanted
        assert (content["images"][0]["width"], content["images"][0]["height"]) == (60, 100)


@pytest.mark.parametrize("to", ["voc", "yolo"])
def test_pictures_that_would_meet_are_told_apart(tmp_path, to):
    """a.jpg and a.png have one label file, and a file without an ending would not be found."""
    names = ["a.jpg", "a.png", "noending", ".hidden.png"]
    images = [{"id": 5 + i, "file_name": name, "width": 9, "height": 9} for i, name in enumerate(names)]
    items = [{"id": i, "image_id": 5 + i, "category_id": 1, "bbox": [i, 0, 1, 2]} for i in range(len(names))]
    document = {"images": images, "annotations": items, "categories": [{"id": 1, "name": "x"}]}
    _coco(tmp_path / "a", document)
    _coco(tmp_path / "a", document, "val")
    done = convert(str(tmp_path / "a"), tmp_path / "b", to)
    data_set = read_coco(*find_layout(tmp_path / "b").val)
    assert [Path(record.path).name for record in data_set.records] == ["a.jpg", "a_2.png", "noending.png", "hidden.png"]
    assert [record.image_id for record in data_set.records] == [5, 6, 7, 8]
    assert [record.boxes[0, 0] for record in data_set.records] == [0, 1, 2, 3]
    assert done.renamed == 6


@pytest.mark.parametrize("to", ["voc", "yolo"])
def test_an_image_that_was_annotated_anew_has_what_its_file_says(tmp_path, to, caplog):
    """With new ids; the others keep theirs, and so do crowds that are not in the file."""
    document = _document(100, 50, [[10, 5, 20, 30], [0, 0, 20, 30], [0.5, 0, 20, 30]])
    _coco(tmp_path / "a", document)
    _coco(tmp_path / "a", document, "val")
    convert(str(tmp_path / "a"), tmp_path / "b", to)
    half = find_halves(tmp_path / "b")[1]["val"]
    (file,) = (tmp_path / "b").rglob("val/other/b é.xml" if to == "voc" else "val/other/b é.txt")
    text = file.read_text().replace("<xmin>1<", "<xmin>3<")
    file.write_text(text if to == "voc" else f"0 0.5 {text.split(' ', 2)[2]}")
    with caplog.at_level(logging.WARNING, "keras_fpn"):
        content = read_content(*half)
    assert "1 of 3 images were annotated since" in caplog.text
    by_id = {item["id"]: item for item in content["annotations"]}
    assert set(by_id) == {1000, 994, 1001}
    assert by_id[1001]["image_id"] == 7 and by_id[1001]["category_id"] == 3 and "segmentation" not in by_id[1001]
    assert by_id[1001]["bbox"][0] > 0
    assert by_id[994]["iscrowd"] == 1


# ----------------------------------------------------------------------------------------------------- val share


def _named(folder, names):
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_bytes(head_of_png(30, 30))
        (folder / name).with_suffix(".xml").write_text(
            "<annotation><object><name>x</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
            "</object></annotation>"
        )


def _halves(folder):
    return [{record.file_name for record in read_coco(*half).records} for half in find_layout(folder)]


def test_a_division_stays_when_pictures_are_added(tmp_path):
    names = [f"{number}.png" for number in range(120)]
    _named(tmp_path / "a", names[:80])
    _named(tmp_path / "more", names)
    for name in ("a", "more"):
        convert(str(tmp_path / name), tmp_path / f"{name}_out", "coco", val_share=0.2)
    train, val = _halves(tmp_path / "a_out")
    more_train, more_val = _halves(tmp_path / "more_out")
    assert train | val == set(names[:80]) and not train & val
    assert train < more_train and val < more_val
    assert 5 <= len(val) <= 29  # a binomial of 80 by 0.2, two tenths of a thousandth at either end
    convert(str(tmp_path / "a"), tmp_path / "other", "coco", val_share=0.2, seed=1)
    assert _halves(tmp_path / "other")[1] != val


def test_versions_of_one_picture_stay_together(tmp_path):
    """Roboflow's NAME.rf.HASH.jpg: one in each half would measure what was learnt by heart."""
    _named(tmp_path / "a", [f"{number}_jpg.rf.{version}.png" for number in range(30) for version in ("ab", "cd", "ef")])
    convert(str(tmp_path / "a"), tmp_path / "b", "yolo", val_share=0.3)
    train, val = ({name.partition(".rf.")[0] for name in names} for names in _halves(tmp_path / "b"))
    assert train and val and not train & val


# ---------------------------------------------------------------------------------------------------- the command


def test_the_command_says_what_it_did(run, tmp_path):
    document = _document(100, 50, [[10, 5, 20, 30], [0, 0, 20, 30], [0.5, 0, 20, 30]])
    _coco(tmp_path / "a", document)
    _coco(tmp_path / "a", document, "val")
    code, out, err = run("data", "convert", tmp_path / "a", tmp_path / "b", "--to", "yolo")
    assert (code, err) == (0, "")
    assert f"wrote {tmp_path / 'b'} from COCO instances: train 3 images with 3 objects, val 3 images" in out
    assert "2 crowds are in keras-fpn.*.json alone" in out
    assert "yolo has no place for segmentation of 2 objects: kept in keras-fpn.*.json" in out
    assert f"train on it: keras-fpn train CONFIG --data {tmp_path / 'b'}" in out


def test_coco_is_what_is_written_by_default(run, tmp_path):
    _named(tmp_path / "a", [f"{number}.png" for number in range(20)])
    code, out, _ = run("data", "convert", tmp_path / "a", tmp_path / "b")
    assert code == 0 and "training needs two halves; --val-share 0.1" in out
    assert (tmp_path / "b" / "annotations" / "instances_default.json").is_file()
    code, out, _ = run("data", "convert", tmp_path / "b", tmp_path / "c", "--val-share", "0.5", "--from", "coco")
    assert code == 0 and len(_halves(tmp_path / "c")) == 2


_BAD = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 0, 5]}
_IMAGE = {"id": 1, "file_name": "a.png", "width": 9, "height": 9}
_CATEGORY = {"id": 1, "name": "x"}


@pytest.mark.parametrize(
    ("document", "options", "told"),
    [
        ({"annotations": [_BAD]}, [], r"a.json: annotation 1 of image 1 \(a.png\): box \[1, 1, 0, 5\] has no positive"),
        ({"annotations": [{**_BAD, "category_id": 2}]}, [], "a.json: annotation 1 .*category_id"),
        ({"annotations": [{**_BAD, "image_id": 2}]}, [], "a.json: annotation 1 has image_id 2, which is not in"),
        ({"annotations": [_BAD, _BAD]}, [], "a.json: annotation id 1 is given twice; make"),
        ({"images": [{**_IMAGE, "width": 8}]}, [], "a.json: image 1 is said to have 8 x 9 .* has 9 x 9; correct"),
        ({"images": [{**_IMAGE, "width": 0}]}, [], 'a.json: image 1 has "width" 0; write the size'),
        ({"images": [{**_IMAGE, "file_name": "b.png"}]}, [], "b.png: image 1 of .* is not there; check"),
        ({"images": [{"id": 1}]}, [], 'a.json: image 1 has no "file_name"; add it'),
        ({"images": []}, [], 'a.json: "images" is empty; there'),
        ({"images": "x"}, [], 'a.json: "images" is not a list; a COCO'),
        ({"categories": [{"id": 1, "name": "a\0b"}]}, ["--to", "voc"], "a.json: .* has a character that XML can"),
        ({"categories": [{"id": 1, "name": "a\nb"}]}, ["--to", "voc"],
         r"a.json: class 'a\\nb' has a line break, which lists .*; rename"),
        ({}, ["--to", "xml"], "invalid choice: 'xml'"),
        ({}, ["--from", "cocoa"], "--from: unknown annotation format 'cocoa'; did you mean 'coco'"),
        ({}, ["--from", "voc"], "a.json"),
        ({}, ["--val-share", "1"], "--val-share 1: give a share above 0 and below 1"),
        ({}, ["--val-share", "0.5"], "--val-share 0.5: of 1 pictures of .*a.json none is left to (learn|measure)"),
        ({}, ["--set", "data.batch_size=2"], "only data.boxes, data.crowds, data.invalid_boxes"),
        ({}, ["--classes", "y"], "data.classes: .*a.json has no class 'y'"),
        ({}, ["--classes", "x", "--set", "data.classes=[x]"], "--classes and --set data.classes both choose classes"),
        ({}, ["--images", "nowhere"], "nowhere: there is no such image folder"),
    ],
)  # fmt: skip
def test_what_cannot_be_trusted_is_refused_and_leaves_nothing(run, tmp_path, document, options, told):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(head_of_png(9, 9))
    annotations = [{**_BAD, "bbox": [1, 1, 2, 5]}]
    content = {"images": [_IMAGE], "annotations": annotations, "categories": [_CATEGORY], **document}
    if "categories" in document:
        content["annotations"][0]["category_id"] = document["categories"][0]["id"]
    (tmp_path / "a.json").write_text(json.dumps(content))
    images = [] if "--images" in options else ["--images", tmp_path / "pictures"]
    code, _, err = run("data", "convert", tmp_path / "a.json", tmp_path / "b", *images, *options)
    assert (code, err.count("\n")) == (2, 1) and err.startswith("error: ") and re.search(told, err)
    assert {each.name for each in tmp_path.iterdir()} == {"a.json", "pictures"}


@pytest.mark.parametrize(
    ("content", "told"), [("[{}]", "a.json: holds a list (a results file?); "), ("5", 'a.json: "images" is missing; ')]
)
def test_json_that_is_no_object_is_refused(run, tmp_path, content, told):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "a.json").write_text(content)
    code, _, err = run("data", "convert", tmp_path / "a.json", tmp_path / "b", "--images", tmp_path / "pictures")
    assert (code, err.count("\n")) == (2, 1) and told in err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere", "b"], "nowhere: there is no such"),
        (["a.json", "b"], "a.json: nothing tells where its pictures are; name their folder by --images DIR"),
        (["full", "full"], "full: is not empty, and files in it might be overwritten; choose another"),
        (["full", "a.json"], "a.json: is a file; give the name of a folder"),
        (["full", "b"], "full: no known data set in it (COCO"),
        (["full", "b", "--from", "yolo"], "full: no YOLO there; wanted data.yaml"),
        (["full", "b", "--images", "full"], "full: is a folder, and --images goes with annotations; name these"),
    ],
)
def test_calls_that_are_refused(run, tmp_path, arguments, told):
    (tmp_path / "a.json").write_text("{}")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    code, _, err = run("data", "convert", *arguments)
    assert (code, err.count("\n")) == (2, 1) and told in err


@pytest.mark.parametrize(
    ("name", "inside"),
    [("voc", "JPEGImages"), ("yolo", "images/train"), ("yolo_bare", "labels/train")],
)
def test_nothing_is_written_among_the_pictures_or_annotations_of_the_source(run, tmp_path, name, inside):
    """They would be found as part of it the next time."""
    LAYOUTS[name](tmp_path / "a")
    out = tmp_path / "a" / inside / "out"
    code, _, err = run("data", "convert", tmp_path / "a", out)
    assert (code, err.count("\n")) == (2, 1) and "would be found as part of the source; choose an OUT outside" in err
    assert not out.exists()


def test_a_companion_that_was_damaged_is_told(tmp_path, run):
    LAYOUTS["yolo"](tmp_path / "a")
    convert(str(tmp_path / "a"), tmp_path / "b", "yolo")
    kept = tmp_path / "b" / "keras-fpn.val.json"
    content = json.loads(kept.read_text())
    for damaged, told in (
        ("{", "not what keras-fpn data convert wrote there"),
        (json.dumps({**content, "version": 99}), "version 99 of this file, and 1 is read here; remove it"),
        (json.dumps({**content, "images": [{}]}), "not what keras-fpn data convert wrote there"),
        (json.dumps({**content, "classes": [{"id": 1, "name": "y"}]}), "has the classes ['y'], and the annotations"),
    ):
        kept.write_text(damaged)
        code, _, err = run("data", "convert", tmp_path / "b", tmp_path / "c")
        assert (code, err.count("\n")) == (2, 1) and f"{kept}: " in err and told in err


def test_areas_that_are_no_numbers_are_left_out_and_told(tmp_path, caplog):
    """JSON has no NaN, and evaluation refuses such an area."""
    LAYOUTS["coco"](tmp_path / "a")
    file = tmp_path / "a" / "annotations" / "instances_train.json"
    document = json.loads(file.read_text())
    document["annotations"][0]["area"], document["annotations"][1]["area"] = float("nan"), 7.5
    file.write_text(json.dumps(document))
    convert(str(tmp_path / "a"), tmp_path / "b", "coco")
    text = (tmp_path / "b" / "annotations" / "instances_train.json").read_text()
    assert "NaN" not in text and [item.get("area") for item in json.loads(text)["annotations"]] == [None, 7.5, None]
    assert f"{file}: the area of 1 of 3 annotations is no number, and is left out" in caplog.text
