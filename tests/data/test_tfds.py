"""TFDS data sets: written by TFDS's own builders from files in their own formats, and read back."""

import csv
import io
import json
import shutil
import subprocess
import sys
import types

import numpy as np
import pytest
from PIL import Image

from keras_fpn.commands.main import main
from keras_fpn.console.errors import UserError
from keras_fpn.data import find_layout, load_coco, load_tfds, read_coco, write_shapes
from keras_fpn.data.coco_classes import CLASSES
from keras_fpn.data.formats import format_of, read_content
from keras_fpn.data.picture_contents import content_of
from keras_fpn.data.shapes import CLASS_NAMES
from keras_fpn.evaluation.coco import COCOEvaluator
from tests.data.tfds_stores import builder_of, coco_copy, quiet, store

SIZE = (57, 43)  # width, height: no power of two, whose shares float32 holds exactly


@pytest.fixture(scope="module", autouse=True)
def without_notes():
    with quiet():
        yield


def picture(seed, suffix="JPEG", size=SIZE):
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, suffix)
    return file.getvalue()


# ------------------------------------------------------- one data set each, and what must come out of it


def coco(root, raw):
    """COCO's instances files, through the builder's own reading of them."""
    builder = builder_of("coco", "2017")
    categories = [{"id": number, "name": name} for number, name in CLASSES.items()]
    objects = {
        "train2017": [(9, 17, 90, [0.37, 1.28, 20.09, 30.15], 400, 0), (9, 5, 1, [3.0, 4.0, 50.0, 38.99], 1900, 1)],
        "val2017": [(4, 6, 44, [10.11, 0.0, 46.89, 43.0], 2016, 0)],
    }
    splits, content = {}, {}
    for half, items in objects.items():
        (raw / half).mkdir(parents=True)
        images = []
        for number in (4, 9):
            (raw / half / f"{number:012d}.jpg").write_bytes(picture(number))
            images.append({"id": number, "file_name": f"{number:012d}.jpg", "height": SIZE[1], "width": SIZE[0]})
        keys = ("image_id", "id", "category_id", "bbox", "area", "iscrowd")
        annotations = [dict(zip(keys, item, strict=True)) for item in items]
        content[half] = {"images": images, "annotations": annotations, "categories": categories}
        path = raw / "annotations" / "annotations" / f"instances_{half}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content[half]))
        name = {"train2017": "train", "val2017": "validation"}[half]
        splits[name] = builder._generate_examples(str(raw), str(raw / "annotations"), half, "bboxes", None)
    folder = store(root, "coco", builder.info.features, splits, "2017", "1.1.0")
    for half in content.values():
        half["annotations"].sort(key=lambda item: (item["image_id"], item["id"]))
    return folder, content["train2017"], {f"{number:012d}.jpg": picture(number) for number in (4, 9)}


_VOC_XML = """<annotation><size><width>57</width><height>43</height></size>
<object><name>dog</name><pose>Left</pose><truncated>1</truncated><difficult>0</difficult>
<bndbox><xmin>1</xmin><ymin>3</ymin><xmax>57</xmax><ymax>40</ymax></bndbox></object>
<object><name>Person</name><pose>Unspecified</pose><truncated>0</truncated><difficult>1</difficult>
<bndbox><xmin>8.5</xmin><ymin>2</ymin><xmax>20</xmax><ymax>12</ymax></bndbox></object></annotation>"""


def voc(root, raw):
    """A VOC folder, through the builder's own reading of it."""
    builder, year = builder_of("voc", "2012"), raw / "VOCdevkit" / "VOC2012"
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (year / folder).mkdir(parents=True)
    for number, half in enumerate(("train", "val", "test")):
        (year / "ImageSets" / "Main" / f"{half}.txt").write_text(f"2012_{number}\n")
        (year / "JPEGImages" / f"2012_{number}.jpg").write_bytes(picture(number))
        (year / "Annotations" / f"2012_{number}.xml").write_text(_VOC_XML)
    splits = {name: builder._generate_examples(str(raw), half)
              for name, half in (("test", "test"), ("train", "train"), ("validation", "val"))}  # fmt: skip
    folder = store(root, "voc", builder.info.features, splits, "2012", "5.0.0")
    more = [{"pose": "left", "is_truncated": 1, "is_difficult": 0},
            {"pose": "unspecified", "is_truncated": 0, "is_difficult": 1}]  # fmt: skip
    annotations = [
        {"id": 1, "image_id": 2, "category_id": 12, "bbox": [0, 2, 57, 38], "iscrowd": 0} | more[0],
        {"id": 2, "image_id": 2, "category_id": 15, "bbox": [7.5, 1, 12.5, 11], "iscrowd": 1} | more[1],
    ]
    return folder, _content(2, "2012_0.jpg", annotations, builder, "objects", "label"), {"2012_0.jpg": picture(0)}


def kitti(root, raw):
    """Lines of KITTI's label files, through the builder's own reading of them; y runs upwards in what it keeps."""
    from tensorflow_datasets.datasets.kitti import kitti_dataset_builder as source

    builder = builder_of("kitti")
    line = "Cyclist 0.25 1 -1.5 4.01 5.02 30.03 41.04 1.7 0.6 1.8 1 2 8 0.5"
    objects = source._parse_kitti_annotations([line.encode(), b"DontCare -1 -1 -10 1 1 9 9 -1 -1 -1 -9 -9 -9 -9"])
    for each in objects:
        each["bbox"] = source._build_bounding_box(each.pop("bbox_raw"), SIZE[1], SIZE[0])
    pixels = np.asarray(Image.open(io.BytesIO(picture(1, "PNG"))))
    example = {"image": pixels, "image/file_name": "000001.png", "objects": objects}
    folder = store(root, "kitti", builder.info.features,
                   {"train": [("a", example)], "validation": [("b", example)]}, version="3.3.0")  # fmt: skip
    annotation = {"id": 1, "image_id": 1, "category_id": 6, "bbox": [4.01, 5.02, 26.02, 36.02], "iscrowd": 0,
                  "alpha": -1.5, "occluded": "partly occluded", "rotation_y": 0.5, "truncated": 0.25}  # fmt: skip
    return folder, _content(1, "000001.png", [annotation], builder, "objects", "type"), {"000001.png": pixels}


def wider_face(root, raw):
    """WIDER FACE's lists, through the builder's own reading of them; a face beyond the edge has no width left."""
    builder = builder_of("wider_face")
    for half in ("train", "val"):
        place = raw / half / f"WIDER_{half}" / "images" / "0--Parade" / "a.jpg"
        place.parent.mkdir(parents=True)
        place.write_bytes(picture(3))
        lists = raw / "annot" / "wider_face_split"
        lists.mkdir(parents=True, exist_ok=True)
        text = "0--Parade/a.jpg\n3\n5 6 20 30 2 1 0 0 1 0 \n60 2 10 10 0 0 0 0 0 0 \n1 2 3 4 0 0 1 1 2 1 \n"
        (lists / f"wider_face_{half}_bbx_gt.txt").write_text(text)
    places = {f"wider_{half}": str(raw / half) for half in ("train", "val", "annot")}
    splits = {name: builder._generate_examples(half, places)
              for name, half in (("train", "train"), ("validation", "val"))}  # fmt: skip
    folder = store(root, "wider_face", builder.info.features, splits, version="0.1.0")
    names = ("blur", "expression", "illumination", "occlusion", "pose", "invalid")
    rows = [([5, 6, 20, 30], (2, 1, 0, 1, 0, 0)), ([1, 2, 3, 4], (0, 0, 1, 2, 1, 1))]
    annotations = [
        {"id": number, "image_id": 1, "category_id": 1, "bbox": box, "iscrowd": values[-1]}
        | dict(zip(names, values, strict=True))
        for number, (box, values) in zip((1, 3), rows, strict=True)
    ]
    content = _content(1, "0--Parade/a.jpg", annotations, None) | {"categories": [{"id": 1, "name": "face"}]}
    return folder, content, {"0--Parade/a.jpg": picture(3)}


def open_images(root, raw):
    """Lines of Open Images' CSV file, through the builder's own reading of them."""
    from tensorflow_datasets.datasets.open_images_v4 import open_images_v4_dataset_builder as source

    builder, raw = builder_of("open_images_v4", "original"), raw / "boxes.csv"
    names = builder.info.features["bobjects"]["label"].names
    rows = [("00a0", "xclick", names[600], 1, 0.125, 0.5, 0.25, 0.75, 0, 1, 1, 0, -1),
            ("00a0", "freeform", names[0], 1, 0.0, 1.0, 0.0, 1.0, -1, -1, -1, -1, -1)]  # fmt: skip
    raw.parent.mkdir(parents=True)
    with raw.open("w") as file:
        csv.writer(file).writerows([["header"] * 13, *rows])
    objects = [box._asdict() for box in source._load_bboxes(raw, [0], "0")[0xA0]]
    example = {"image": io.BytesIO(picture(5)), "image/filename": "00a0.jpg", "objects": [], "objects_trainable": [],
               "bobjects": objects}  # fmt: skip
    folder = store(root, "open_images_v4", builder.info.features,
                   {"train": [("a", example)], "validation": [("b", example)]}, "original", "2.0.0")  # fmt: skip
    flags = ("is_occluded", "is_truncated", "is_group_of", "is_depiction", "is_inside")
    own = [dict(zip(flags, row[-5:], strict=True)) | {"source": row[1]} for row in rows]
    annotations = [
        {"id": 1, "image_id": 1, "category_id": 601, "bbox": [7.125, 10.75, 21.375, 21.5], "iscrowd": 1} | own[0],
        {"id": 2, "image_id": 1, "category_id": 1, "bbox": [0, 0, 57, 43], "iscrowd": 0} | own[1],
    ]
    return folder, _content(1, "00a0.jpg", annotations, builder, "bobjects", "label"), {"00a0.jpg": picture(5)}


def lvis(root, raw):
    """LVIS' boxes and masks as the builder keeps them."""
    from tensorflow_datasets.datasets.lvis import lvis_dataset_builder as source

    builder = builder_of("lvis")
    box = source._build_bbox({"width": SIZE[0], "height": SIZE[1]}, 2.5, 3.25, 30.0, 20.75)
    item = {"id": 77, "area": 600, "bbox": box, "label": 1202, "segmentation": np.zeros((*SIZE[::-1], 1), np.uint8)}
    example = {"image": io.BytesIO(picture(6)), "image/id": 391895, "neg_category_ids": [3],
               "not_exhaustive_category_ids": [], "objects": [item]}  # fmt: skip
    folder = store(root, "lvis", builder.info.features,
                   {"train": [("a", example)], "validation": [("b", example)]}, version="1.4.0")  # fmt: skip
    annotation = {"id": 77, "image_id": 391895, "category_id": 1203, "bbox": [2.5, 3.25, 30, 20.75], "iscrowd": 0,
                  "area": 600}  # fmt: skip
    return folder, _content(391895, "391895.jpg", [annotation], builder, "objects", "label"), {"391895.jpg": picture(6)}


def _content(image_id, name, annotations, builder, objects=None, label=None):
    names = builder.info.features[objects][label].names if builder else ()
    return {
        "images": [{"id": image_id, "file_name": name, "height": SIZE[1], "width": SIZE[0]}],
        "annotations": annotations,
        "categories": [{"id": number, "name": text} for number, text in enumerate(names, start=1)],
    }


KNOWN = (coco, voc, kitti, wider_face, open_images, lvis)
NOTES = {"coco": "areas are truncated", "voc": "is near AP50", "kitti": "is not COCO's AP", "lvis": "only some classes",
         "wider_face": "is not COCO's", "open_images": "knows the hierarchy"}  # fmt: skip


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """`{name: (folder, content of the half to learn from, {name: picture})}`, and where they lie."""
    root = tmp_path_factory.mktemp("tfds")
    return root, {each.__name__: each(root, tmp_path_factory.mktemp("raw") / each.__name__) for each in KNOWN}


@pytest.mark.parametrize("name", [each.__name__ for each in KNOWN])
def test_a_known_data_set_comes_out_as_its_own_files_had_it(name, known, tmp_path, capsys):
    folder, wanted, pictures = known[1][name]
    out = tmp_path / "out"
    assert main(["data", "from-tfds", str(folder), str(out), "--split", "train=train"]) == 0
    content = json.loads((out / "annotations" / "instances_train.json").read_text())
    _assert_same(content, wanted)
    for file, expected in pictures.items():
        found = (out / "train" / file).read_bytes()
        if isinstance(expected, bytes):
            assert found == expected
        else:  # KITTI: the builder gives TFDS pixels
            assert (np.asarray(Image.open(io.BytesIO(found))) == expected).all()
    assert NOTES[name] in capsys.readouterr().out


def _assert_same(content, wanted):
    assert content["categories"] == wanted["categories"]
    assert content["images"] == wanted["images"]
    for found, expected in zip(content["annotations"], wanted["annotations"], strict=True):
        np.testing.assert_allclose(found["bbox"], expected["bbox"], atol=1e-4, rtol=0)
        assert found | {"bbox": None} == expected | {"bbox": None}


# --------------------------------------------------------------------------------------- read where it lies


def test_records_that_are_read_in_place_are_those_of_the_folder(known, tmp_path):
    folder = known[1]["voc"][0]
    assert main(["data", "from-tfds", str(folder), str(tmp_path / "out")]) == 0
    for half, place in find_layout(tmp_path / "out")._asdict().items():
        written, in_place = read_coco(*place), read_coco(*getattr(find_layout(folder), half))
        assert (in_place.class_names, in_place.category_ids) == (written.class_names, written.category_ids)
        for one, other in zip(in_place.records, written.records, strict=True):
            same = ("image_id", "file_name", "height", "width")
            assert [getattr(one, key) for key in same] == [getattr(other, key) for key in same]
            assert all((one.fields[key] == other.fields[key]).all() for key in other.fields)
            assert one.place is not None and content_of(one) == content_of(other)


@pytest.mark.parametrize("to", ["coco", pytest.param("yolo", marks=pytest.mark.slow)])
def test_a_data_set_is_converted_where_it_lies(known, tmp_path, to):
    """The same as of its copy as a folder, picture by picture."""
    folder = known[1]["voc"][0]
    assert main(["data", "from-tfds", str(folder), str(tmp_path / "copy")]) == 0
    assert main(["data", "convert", f"tfds:{folder}", str(tmp_path / "in_place"), "--to", to]) == 0
    assert main(["data", "convert", str(tmp_path / "copy"), str(tmp_path / "again"), "--to", to]) == 0
    for one, other in zip(find_layout(tmp_path / "in_place"), find_layout(tmp_path / "again"), strict=True):
        in_place, copy = read_coco(*one), read_coco(*other)
        assert in_place.class_names == copy.class_names and len(in_place) == len(copy)
        for found, wanted in zip(in_place.records, copy.records, strict=True):
            assert (found.file_name, found.image_id, found.place) == (wanted.file_name, wanted.image_id, None)
            assert all((found.fields[key] == wanted.fields[key]).all() for key in wanted.fields)
            assert content_of(found) == content_of(wanted)


def test_a_name_is_found_where_data_sets_are_prepared(known, monkeypatch):
    root, sets = known
    monkeypatch.setenv("TFDS_DATA_DIR", str(root))
    folder = sets["voc"][0]
    shutil.copytree(folder, folder.with_name("10.0.0"))  # newer than 5.0.0, though less as text
    try:
        for name, found in (("voc/2012", "10.0.0"), ("voc", "10.0.0"), ("voc/2012:5.0.0", "5.0.0")):
            train, val = find_layout(f"tfds:{name}")
            assert (train.annotations, train.images) == (f"tfds:{name}@train", "")
            assert val.annotations == f"tfds:{name}@validation"  # there is a split test, too, without labels
            known_format = format_of(train.annotations)
            assert known_format.absolute(train.annotations) == f"tfds:{folder.with_name(found)}@train"
            files = [path.name for path in known_format.files(train.annotations)]
            assert files[:2] == ["dataset_info.json", "features.json"] and "objects-label.labels.txt" in files
    finally:
        shutil.rmtree(folder.with_name("10.0.0"))


def test_array_record_files_come_out_as_tfrecord_files_do(known, tmp_path):
    features = builder_of("voc", "2012").info.features
    outs = []
    for file_format in ("tfrecord", "array_record"):
        examples = [(f"{number}", {"image": io.BytesIO(picture(number)), "image/filename": f"{number}.jpg",
                                   "labels": [], "labels_no_difficult": [], "objects": []})
                    for number in range(5)]  # fmt: skip
        folder = store(tmp_path / file_format, "voc", features, {"train": examples}, "2012", file_format=file_format)
        outs.append(tmp_path / file_format / "out")
        halves = "train=train[:40%]+train[60%:],val=train[40%:60%]"
        assert main(["data", "from-tfds", str(folder), str(outs[-1]), "--split", halves]) == 0
    files = [{path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()} for out in outs]
    assert files[0] == files[1] and len(files[0]) == 7
    with pytest.raises(UserError, match="lies in ArrayRecord files.*keras-fpn data from-tfds"):
        read_content(f"tfds:{folder}@train", "")


# ------------------------------------------------------------------------------- data sets that are not known


@pytest.fixture(scope="module")
def unknown(tmp_path_factory):
    """A data set whose features have names of their own, and a second sequence with boxes."""
    import tensorflow_datasets as tfds

    kind = tfds.features.ClassLabel(names=["a", "b"])
    features = tfds.features.FeaturesDict({
        "photo": tfds.features.FeaturesDict({"pixels": tfds.features.Image(), "preview": tfds.features.Image()}),
        "number": np.int64,
        "things": tfds.features.Sequence({"where": tfds.features.BBoxFeature(), "kind": kind, "colour": kind,
                                          "skip": np.int8}),  # fmt: skip
        "texts": tfds.features.Sequence({"where": tfds.features.BBoxFeature(), "kind": kind}),
    })
    thing = {"where": tfds.features.BBox(0.25, 0.5, 0.75, 1.0), "kind": "b", "colour": "a", "skip": 1}
    preview = np.zeros((1, 1, 3), np.uint8)
    examples = [(f"{number}", {"photo": {"pixels": io.BytesIO(picture(number, "PNG")), "preview": preview},
                               "number": number, "things": [thing], "texts": []}) for number in (7, 11)]  # fmt: skip
    return store(tmp_path_factory.mktemp("unknown"), "mine", features, {"train": examples})


KEYS = {"image_key": "photo/pixels", "objects_key": "things", "label_key": "kind", "ignore_key": "skip",
        "image_id_key": "number"}  # fmt: skip


def test_features_of_an_unknown_data_set_are_named(unknown, tmp_path):
    options = [word for name, key in KEYS.items() for word in (f"--{name.replace('_', '-')}", key)]
    out = tmp_path / "out"
    assert main(["data", "from-tfds", str(unknown), str(out), "--val-share", "0.5", *options]) == 0
    for half, number in (("train", 7), ("val", 11)):
        content = json.loads((out / "annotations" / f"instances_{half}.json").read_text())
        assert content["images"] == [{"id": number, "file_name": f"{number:06d}.png", "height": 43, "width": 57}]
        assert content["annotations"] == [{"id": 1, "image_id": number, "category_id": 2, "iscrowd": 1, "skip": 1,
                                           "bbox": [28.5, 10.75, 28.5, 21.5], "colour": "a"}]  # fmt: skip
        assert (out / half / f"{number:06d}.png").read_bytes() == picture(number, "PNG")
    query = "&".join(f"{name}={key}" for name, key in KEYS.items())
    name = f"tfds:{unknown}?{query}@train[1:]"
    assert sorted(format_of(name).absolute(name)) == sorted(name)
    (record,) = read_coco(name).records
    assert (record.image_id, content_of(record)) == (11, picture(11, "PNG"))


@pytest.mark.parametrize(
    ("without", "changed", "line"),
    [
        ("objects_key", {}, r"several \(texts, things\) could be a sequence of objects.*--objects-key"),
        ("label_key", {}, r"several \(colour, kind\) could be a ClassLabel.*--label-key \(label_key= in Python\)"),
        ("image_key", {}, r"several \(photo/pixels, photo/preview\) could be an Image.*--image-key"),
        ("label_key", {"label_key": "sort"}, "has no feature 'sort', only colour, kind, skip, where; .*--label-key"),
        ("label_key", {"label_key": "skip"}, "'skip' is no ClassLabel.*--class-name"),
        ("objects_key", {"objects_key": "number"}, "'number' is no sequence of objects"),
        ("box_key", {"box_key": "skip"}, "'skip' is not four numbers; name another feature by --box-key"),
        ("image_key", {"image_key": "number"}, "'number' is not an Image; name another feature by --image-key"),
        ("image_id_key", {"image_id_key": "photo/pixels"}, "'photo/pixels' is not a whole number; .*--image-id-key"),
        ("file_name_key", {"file_name_key": "number"}, "'number' is not a Text; name .*--file-name-key"),
        ("ignore_key", {"ignore_key": "where"}, "'where' is not a number; name another feature by --ignore-key"),
        ("objects_key", {"label": "kind"}, "unknown option 'label'; did you mean 'label_key'?"),
        ("objects_key", {"box_form": "yxyx"}, "box_form 'yxyx' is none; valid are REL_YXYX"),
    ],
)
def test_what_cannot_be_told_is_asked_for(without, changed, line, unknown):
    keys = {name: key for name, key in KEYS.items() if name != without} | changed
    query = "&".join(f"{name}={key}" for name, key in keys.items())
    with pytest.raises(UserError, match=line):
        read_content(f"tfds:{unknown}?{query}@train", "")


def test_boxes_in_every_form_are_the_same():
    from keras_fpn.data.tfds.boxes import boxes_in_pixels
    from keras_fpn.data.tfds.keys import BOX_FORMS
    from keras_fpn.data.tfds.known import Known

    x, y, width, height = 10.03, 5.21, 20.5, 7.77
    ends = (x + width, y + height)
    corners = {"XYXY": [x, y, *ends], "YXYX": [y, x, *ends[::-1]], "XYWH": [x, y, width, height]}
    for form in BOX_FORMS:
        sides = {"REL_YXYX": np.array([333, 500] * 2), "REL_XYXY": np.array([500, 333] * 2)}.get(form, 1)
        numbers = np.array([corners[form.removeprefix("REL_")]]) / sides
        found = boxes_in_pixels(numbers.astype(np.float32), form, Known(), 333, 500)
        assert found.tolist() == [[x, y, width, height]], form


# ------------------------------------------------------------------------------------ the embedded data set


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """The embedded data set as a folder and, with the features of COCO, as TFDS; AP of drawn detections."""
    folder = tmp_path_factory.mktemp("shapes") / "folder"
    write_shapes(folder, num_train=6, num_val=12, size=96, seed=3)
    root = tmp_path_factory.mktemp("shapes_tfds")
    return folder, coco_copy(root, folder, CLASS_NAMES, is_reversed=True)  # TFDS shuffles


def _drawn_detections(instances):
    """The objects moved and resized at random, some missed, some with another class, and false alarms."""
    draw = np.random.default_rng(0)
    for item in instances["annotations"]:
        box = np.array(item["bbox"]) + draw.normal(0, 0.07, 4) * np.repeat(item["bbox"][2:], 2)
        category = item["category_id"] if draw.random() < 0.9 else 1 + item["category_id"] % 4
        if draw.random() < 0.9:
            yield {"image_id": item["image_id"], "category_id": category, "bbox": np.maximum(box, 0.1).tolist(),
                   "score": float(draw.random())}  # fmt: skip


def test_average_precision_from_a_tfds_copy_is_that_of_the_folder(shapes, tmp_path):
    folder, copy = shapes
    original = folder / "annotations" / "instances_val.json"
    results = list(_drawn_detections(json.loads(original.read_text())))
    whole = COCOEvaluator(original).average_precision(results)[0]
    in_place = COCOEvaluator(f"tfds:{copy}@validation").average_precision(results)[0]
    joined = COCOEvaluator(f"tfds:{copy}?annotations={original}@validation").average_precision(results)[0]
    assert 0.2 < whole[0] < 0.9
    np.testing.assert_allclose(in_place[:3], whole[:3], atol=1e-4, rtol=0)  # AP, AP50, AP75
    assert joined == whole
    originals = ["--annotations", str(original), str(original).replace("val", "train")]
    assert main(["data", "from-tfds", str(copy), str(tmp_path / "joined"), *originals]) == 0
    file = tmp_path / "joined" / "annotations" / "instances_val.json"
    written = json.loads(file.read_text())
    assert written["annotations"] == json.loads(original.read_text())["annotations"]  # masks and areas among them
    assert COCOEvaluator(file).average_precision(results)[0] == whole


@pytest.mark.slow
def test_batches_of_a_tfds_copy_are_those_of_the_folder(shapes):
    folder, copy = shapes
    original = folder / "annotations" / "instances_train.json"
    options = {"min_side": 64, "horizontal_flip": True, "shuffle": True, "repeat": True, "seed": 5, "skip_batches": 2}
    wanted = load_coco(original, folder / "train", **options, fields=("masks",))
    found = load_tfds(copy, "train", annotations=original, **options, fields=("masks",))
    for (images, targets), (others, other_targets) in zip(found.take(5), wanted.take(5), strict=True):
        for one, other in ((images, others), (targets, other_targets)):
            assert sorted(one) == sorted(other)
            assert all((one[key].numpy() == other[key].numpy()).all() for key in other)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda content: content["images"].pop(), r"image 1000012 \(000012.jpg\) of the TFDS data set is not in it"),
        (lambda content: content["images"][0].update(width=95), "has 95 x 96 pixels .*, and 96 x 96 in the TFDS"),
        (lambda content: content["annotations"].pop(), r"has \d+ objects, and \d+ in the TFDS data set"),
    ],
)
def test_an_original_of_another_data_set_is_refused(change, line, shapes, tmp_path):
    folder, copy = shapes
    content = json.loads((folder / "annotations" / "instances_val.json").read_text())
    change(content)
    content["annotations"] = [item for item in content["annotations"]
                              if item["image_id"] in {image["id"] for image in content["images"]}]  # fmt: skip
    other = tmp_path / "other.json"
    other.write_text(json.dumps(content))
    with pytest.raises(UserError, match=f"{other}: .*{line}.*; give the instances file"):
        read_content(f"tfds:{copy}?annotations={other}@validation", "")


# -------------------------------------------------------------------------------------------------- mistakes


MISTAKES = {
    "tfds:coco/2018": r"tfds:coco/2018: not prepared in .*--tfds-dir.*data from-tfds coco/2018 OUT --download",
    "tfds:/nowhere@train": "/nowhere: no TFDS data set lies there",
    "tfds:voc/2012": "name a split: tfds:voc/2012@test",
    "tfds:voc/2012@test[:50%]": "voc/2012: the split test has no labels; those with labels are train, validation",
    "tfds:voc/2012@trian": r"no such split; there are test, train, validation, and parts such as train\[:90%\]",
    "tfds:lvis@validation": "COCO's AP would be wrong; write what can be learnt from: .*from-tfds lvis OUT --split",
    "tfds:voc/2012?colour=red@train": "unknown option 'colour'",
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line(name, known, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(known[0]))
    with pytest.raises(UserError, match=MISTAKES[name]) as told:
        read_coco(name, "")
    assert "\n" not in str(told.value)


COMMANDS = {
    "lvis": (["--val-share", "0.5"], "COCO's AP would be wrong; write what can be learnt from alone: --split train="),
    "voc": (["--split", "train=train,val=test"], "the split test has no labels"),
    "kitti": (["--split", "half=train"], "is not HALF=SPLIT"),
    "coco": (["--val-share", "1.5"], "is no share between 0 and 1"),
    "wider_face": (["--val-share", "0.1", "--split", "train=train"], "leave out one"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_command_refuses_in_one_line(name, known, tmp_path, capsys):
    options, line = COMMANDS[name]
    assert main(["data", "from-tfds", str(known[1][name][0]), str(tmp_path / "out"), *options]) == 2
    assert line in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_cut_short_is_told(known, tmp_path):
    folder = tmp_path / "1.0.0"
    shutil.copytree(known[1]["coco"][0], folder)
    file = next(folder.glob("*train.tfrecord*"))
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(UserError, match=f"{file}: is cut short"):
        read_content(f"tfds:{folder}@train", "")
    with pytest.raises(UserError, match=f"{folder}@train: one of the examples 1 to 2 cannot be read .*prepare"):
        _write(folder, tmp_path / "out")


def _write(folder, out):
    from keras_fpn.data.tfds.folder import write_folder
    from keras_fpn.data.tfds.prepared import Prepared

    write_folder(Prepared(folder), out, {"train": "train"})


def test_without_the_package_its_installation_is_named(known, tmp_path, monkeypatch, capsys):
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "tensorflow_datasets" else real(name, *more)
    )
    assert main(["data", "from-tfds", str(known[1]["coco"][0]), str(tmp_path / "out")]) == 2
    assert 'tensorflow-datasets is not installed; pip install "keras-fpn[tfds]"' in capsys.readouterr().err


def test_a_package_that_does_not_load_is_told(known, tmp_path, monkeypatch, capsys):
    """With a protobuf that does not fit, TFDS writes an error and is imported without its content."""
    import tensorflow_datasets as tfds

    empty = types.ModuleType("tensorflow_datasets")
    empty.__spec__ = tfds.__spec__
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", empty)
    assert main(["data", "from-tfds", str(known[1]["coco"][0]), str(tmp_path / "out")]) == 2
    assert "is installed and does not load" in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------------- longer


@pytest.mark.slow
def test_nothing_of_what_tensorflow_says_reaches_the_screen(known, tmp_path):
    call = [sys.executable, "-m", "keras_fpn", "data", "from-tfds", str(known[1]["wider_face"][0])]
    done = subprocess.run([*call, str(tmp_path / "out")], capture_output=True, text=True)
    assert done.returncode == 0 and "oneDNN" not in done.stderr and "absl" not in done.stderr


@pytest.mark.slow
def test_download_lets_the_builder_prepare_what_is_not_there(tmp_path, capsys):
    """By a builder that makes its data itself."""
    import tensorflow_datasets as tfds

    class DrawnPictures(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            label = tfds.features.ClassLabel(names=["a", "b"])
            item = {"bbox": tfds.features.BBoxFeature(), "label": label}
            features = {"image": tfds.features.Image(), "objects": tfds.features.Sequence(item)}
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples(3), "validation": self._generate_examples(2)}

        def _generate_examples(self, count):
            box = tfds.features.BBox(0.0, 0.0, 0.5, 1.0)
            for number in range(count):
                yield number, {"image": io.BytesIO(picture(number)), "objects": [{"bbox": box, "label": "b"}]}

    arguments = ["data", "from-tfds", "drawn_pictures", str(tmp_path / "out"), "--tfds-dir", str(tmp_path / "tfds")]
    assert main(arguments) == 2
    assert "not prepared" in capsys.readouterr().err
    assert main([*arguments, "--download"]) == 0
    assert "val: 2 images, 2 objects, of the split validation" in capsys.readouterr().out
    assert main(["data", "from-tfds", "no_such_set", str(tmp_path / "other"), "--download"]) == 2
    assert "tfds:no_such_set: TFDS cannot prepare it (DatasetNotFoundError" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_on_tfds_is_the_run_on_the_folder_bit_for_bit(shapes, tmp_path):
    """Trained on both to the same weights, and measured on both to the same figures."""
    copy = shapes[1]
    assert main(["data", "from-tfds", str(copy), str(tmp_path / "written")]) == 0
    short = ["--set", "training.steps=2", "training.steps_per_epoch=2", "training.warmup_steps=0"]
    for name, data in (("folder", str(tmp_path / "written")), ("tfds", f"tfds:{copy}")):
        assert main(["train", "tiny", "--out", str(tmp_path / name), "--data", data, *short]) == 0
    weights = [_weights(tmp_path / name) for name in ("folder", "tfds")]
    assert [(one == other).all() for one, other in zip(*weights, strict=True)] == [True] * len(weights[0])
    metrics = []
    for data in (tmp_path / "written", f"tfds:{copy}"):
        figures = tmp_path / "metrics.json"
        assert main(["evaluate", str(tmp_path / "tfds"), "--data", str(data), "--metrics", str(figures)]) == 0
        metrics.append(json.loads(figures.read_text()))
    assert metrics[0] == metrics[1]
    assert metrics[0]["proposals/AR1000"] > 0


def _weights(run):
    import keras_fpn

    return [variable.numpy() for variable in keras_fpn.load_model(run).variables]
