"""One small data set written in the layouts of many programs, by hand: none of the package's own writers is used.

`LAYOUTS[name](folder)` writes one; `CONTENT` is what each holds. No number needs more digits than all formats have.
`tool_data_sets` are the same as labelling tools write it, `readers` all that it is read from.
"""

import json
import zlib
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
from PIL import Image

NAMES = ("bird", "cat", "traffic light")
# {half: {picture: (width, height, [(class, x, y, width, height in pixels)])}}; "bird" is in the second half alone, one
# picture has no object.
CONTENT = {
    "train": {
        "a.jpg": (64, 48, [("cat", 10, 5, 20, 30), ("traffic light", 40, 0, 24, 48)]),
        "b é 2.png": (50, 40, [("cat", 0, 0, 12, 7)]),
        "c.jpg": (33, 57, []),
    },
    "val": {
        "d.jpg": (64, 64, [("bird", 1, 2, 3, 4), ("cat", 16, 32, 48, 32), ("cat", 30, 0, 8, 16)]),
        "e.bmp": (40, 30, [("traffic light", 5, 5, 30, 20)]),
    },
}
# Of the objects, by picture and box: crowds where a format has them, else objects like others; and what is drawn as a
# polygon where a format has outlines, else as its box.
CROWDS = {("d.jpg", (30, 0, 8, 16))}
OUTLINES = {("a.jpg", (10, 5, 20, 30)): [10, 5, 30, 5, 30, 35]}


def write_picture(path, size, **options):
    """Noise of its own for each name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(zlib.crc32(path.name.encode()))
    Image.fromarray(draw.integers(0, 256, (size[1], size[0], 3), np.uint8)).save(path, **options)


def write_pictures(folder, half, names=None):
    """The pictures of a half."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (width, height, _) in CONTENT[half].items():
        if names is None or name in names:
            write_picture(folder / name, (width, height))


def _write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


# -------------------------------------------------------------------------------------------------------- COCO


def instances(half, folder=""):
    """The content of the instances file of a half whose pictures are in a folder of the image folder."""
    images, annotations = [], []
    for number, (name, (width, height, objects)) in enumerate(CONTENT[half].items(), 1):
        images.append({"id": number, "file_name": folder + name, "width": width, "height": height})
        for label, *box in objects:
            item = {"id": 0, "image_id": number, "category_id": NAMES.index(label) + 1, "bbox": box}
            outline = OUTLINES.get((name, tuple(box)))
            item |= {"segmentation": [outline]} if outline else {}
            annotations.append(item | {"iscrowd": int((name, tuple(box)) in CROWDS)})
    for number, each in enumerate(annotations, 1):
        each["id"] = number
    categories = [{"id": number, "name": name} for number, name in enumerate(NAMES, 1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def coco(root):
    for half in CONTENT:
        write_pictures(root / half, half)
        _write(root / "annotations" / f"instances_{half}.json", json.dumps(instances(half)))


def coco_roboflow(root):
    for half, folder in (("train", root / "train"), ("val", root / "valid")):
        write_pictures(folder, half)
        _write(folder / "_annotations.coco.json", json.dumps(instances(half)))


# --------------------------------------------------------------------------------------------------------- VOC


def voc_xml(name, width, height, objects, database="Unknown", start=0):
    """A file of Pascal VOC that counts pixels from `start`; 1 makes xmax and ymax the last pixels of the object."""
    lines = [
        f"<annotation><folder>f</folder><filename>{escape(name)}</filename><path>C:\\elsewhere\\{escape(name)}</path>",
        f"<source><database>{database}</database></source>",
        f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>",
    ]
    for label, x, y, across, down in objects:
        difficult = int((name, (x, y, across, down)) in CROWDS)
        lines.append(
            f"<object><name>{escape(label)}</name><pose>Left</pose><truncated>1</truncated>"
            f"<difficult>{difficult}</difficult>"
            f"<bndbox><xmin>{x + start}</xmin><ymin>{y + start}</ymin><xmax>{x + across}</xmax><ymax>{y + down}</ymax>"
            "</bndbox><part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox>"
            "</part></object>"
        )
    return "\n".join([*lines, "</annotation>"])


def _write_xml(folder, half, **options):
    for name, (width, height, objects) in CONTENT[half].items():
        _write(folder / f"{Path(name).stem}.xml", voc_xml(name, width, height, objects, **options))


def voc(root):
    for half in CONTENT:
        write_pictures(root / "JPEGImages", half)
        _write_xml(root / "Annotations", half)
        _write(root / "ImageSets" / "Main" / f"{half}.txt", "".join(f"{Path(name).stem}\n" for name in CONTENT[half]))


def voc_devkit(root):
    """VOC's own, which counts from 1; its lists of classes beside the lists of all."""
    inside = root / "VOCdevkit" / "VOC2012"
    voc(inside)
    _write(inside / "labels.txt", "\n".join(NAMES))
    for half in CONTENT:
        _write_xml(inside / "Annotations", half, database="The VOC2012 Database", start=1)
        _write(inside / "ImageSets" / "Main" / f"cat_{half}.txt", "a -1\n")


def voc_roboflow(root):
    for half, folder in (("train", root / "train"), ("val", root / "valid")):
        write_pictures(folder, half)
        _write_xml(folder, half, database="roboflow.com")


# -------------------------------------------------------------------------------------------------------- YOLO


def yolo_lines(width, height, objects):
    """The lines of a label file; Python writes as many digits as a float64 has."""
    return "".join(
        f"{NAMES.index(label)} {(x + across / 2) / width} {(y + down / 2) / height} {across / width} {down / height}\n"
        for label, x, y, across, down in objects
    )


def _write_labels(folder, half, without_empty=True):
    folder.mkdir(parents=True, exist_ok=True)
    for name, (width, height, objects) in CONTENT[half].items():
        if objects or not without_empty:
            _write(folder / f"{Path(name).stem}.txt", yolo_lines(width, height, objects))


def _yaml(names, **halves):
    lines = [f"{half}: {json.dumps(place)}" for half, place in halves.items()]
    return "\n".join([*lines, f"nc: {len(NAMES)}", names, ""])


LIST = "names: [bird, cat, traffic light]"
DICT = "names:\n  0: bird\n  1: cat\n  2: traffic light"


def yolo(root):
    """Ultralytics' own: images/train, labels/train and a path of another machine."""
    for half in CONTENT:
        write_pictures(root / "images" / half, half)
        _write_labels(root / "labels" / half, half)
    text = _yaml(DICT, path="../datasets/elsewhere", train="images/train", val="images/val", test="images/test")
    _write(root / "data.yaml", text)


def yolo_roboflow(root):
    """Its places are wrong by a level."""
    for half, folder in (("train", "train"), ("val", "valid")):
        write_pictures(root / folder / "images", half)
        _write_labels(root / folder / "labels", half, without_empty=False)
    _write(root / "data.yaml", _yaml(LIST, train="../train/images", val="../valid/images", test="../test/images"))


def yolo_lists(root):
    """Lists of pictures and several folders."""
    yolo(root)
    (root / "images" / "more").mkdir()
    (root / "images" / "train" / "c.jpg").rename(root / "images" / "more" / "c.jpg")
    _write(root / "val.txt", "".join(f"./images/val/{name}\n" for name in CONTENT["val"]))
    _write(root / "data.yaml", _yaml(LIST, train=["images/train", "images/more"], val="val.txt"))


def yolo_bare(root):
    """No data.yaml: a list of names beside the folders."""
    yolo(root)
    (root / "data.yaml").unlink()
    _write(root / "classes.txt", "\n".join(NAMES))


def yolo_darknet(root):
    """CVAT's "YOLO 1.1": label files beside the pictures, and places that begin with data/."""
    for half in CONTENT:
        write_pictures(root / f"obj_{half}_data", half)
        _write_labels(root / f"obj_{half}_data", half)
        _write(root / f"{half}.txt", "".join(f"data/obj_{half}_data/{name}\n" for name in CONTENT[half]))
    _write(root / "obj.names", "\n".join(NAMES))
    places = "train = data/train.txt\nvalid = data/val.txt\nnames = data/obj.names\nbackup = backup/\n"
    _write(root / "obj.data", f"classes = {len(NAMES)}\n{places}")


# --------------------------------------------------------------------------------------------------------- CSV


def _rows(half, row, empty):
    for name, (width, height, objects) in CONTENT[half].items():
        yield from (row(name, width, height, *each) for each in objects)
        if not objects:
            yield empty(name, width, height)


def csv_tensorflow(root, delimiter=",", start=""):
    """Roboflow's and the TensorFlow tutorials': corners in pixels, in a file a half."""

    def row(name, width, height, label, x, y, across, down):
        return (name, width, height, label, x, y, x + across, y + down)

    for half, folder in (("train", root / "train"), ("val", root / "valid")):
        write_pictures(folder, half)
        rows = list(_rows(half, row, lambda name, width, height: (name, width, height, "", "", "", "", "")))
        rows.insert(0, ("filename", "width", "height", "class", "xmin", "ymin", "xmax", "ymax"))
        text = "".join(delimiter.join(map(str, each)) + "\r\n" for each in rows)
        _write(folder / "_annotations.csv", start + text)


def csv_excel(root):
    """The same as a table program of another country saves it."""
    csv_tensorflow(root, delimiter=";", start="\ufeff")


def csv_retinanet(root):
    """keras-retinanet's: no header, classes in a file of their own."""
    for half in CONTENT:
        write_pictures(root / "images", half)
        rows = _rows(
            half,
            lambda name, width, height, label, x, y, across, down: (
                f"images/{name},{x},{y},{x + across},{y + down},{label}"
            ),
            lambda name, width, height: f"images/{name},,,,,",
        )
        _write(root / f"{half}_annotations.csv", "\n".join(rows))
    _write(root / "classes.csv", "".join(f"{name},{number}\n" for number, name in enumerate(NAMES, 1)))


def csv_automl(root):
    """Google's: no header, one file with the half of each row, shares of the picture, places in a bucket."""
    lines = []
    for half, word in (("train", "TRAIN"), ("val", "VALIDATION")):
        write_pictures(root / "pictures", half)
        lines += _rows(
            half,
            lambda name, width, height, label, x, y, across, down, word=word: (
                f"{word},gs://bucket/pictures/{name},{label},{x / width},{y / height},,,"
                f"{(x + across) / width},{(y + down) / height},,"
            ),
            lambda name, width, height, word=word: f"{word},gs://bucket/pictures/{name},,,,,,,,,",
        )
    _write(root / "boxes.csv", "\n".join(lines))


def csv_open_images(root):
    """Open Images': shares, and pictures and classes by codes; it has no row for a picture without boxes."""

    def row(name, width, height, label, x, y, across, down):
        code = f"/m/{NAMES.index(label)}"
        corners = f"{x / width},{(x + across) / width},{y / height},{(y + down) / height}"
        group = int((name, (x, y, across, down)) in CROWDS)
        return f"{Path(name).stem},xclick,{code},1,{corners},0,0,{group},0,0"

    for half, word in (("train", "train"), ("val", "validation")):
        write_pictures(root / word, half, [name for name, content in CONTENT[half].items() if content[2]])
        header = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,"
        rows = [each for each in _rows(half, row, lambda *_: None) if each is not None]
        _write(root / f"{word}-annotations-bbox.csv", "\n".join([f"{header}IsInside", *rows]))
    _write(root / "class-descriptions-boxable.csv", "".join(f"/m/{n},{name}\n" for n, name in enumerate(NAMES)))


def csv_extents(root):
    """Columns x, y, width and height of the box, and a column of the half."""
    lines = ["image_path;split;label;x;y;width;height"]
    for half in CONTENT:
        write_pictures(root / "images" / half, half)
        lines += _rows(
            half,
            lambda name, width, height, label, *box, half=half: ";".join(
                map(str, (f"images/{half}/{name}", half, f'"{label}"', *box))
            ),
            lambda name, width, height, half=half: f"images/{half}/{name};{half};;;;;",
        )
    _write(root / "boxes.csv", "\n".join(lines))


LAYOUTS = {
    function.__name__: function
    for function in (
        coco, coco_roboflow, voc, voc_devkit, voc_roboflow, yolo, yolo_roboflow, yolo_lists, yolo_bare, yolo_darknet,
        csv_tensorflow, csv_excel, csv_retinanet, csv_automl, csv_open_images, csv_extents,
    )
}  # fmt: skip
# Of a picture without an object these say nothing.
WITHOUT_EMPTY = {"csv_open_images"}


def as_content(data_set):
    """The records of a data set, in the form of `CONTENT`."""
    return {
        Path(record.path).name: (
            record.width,
            record.height,
            [
                (data_set.class_names[label], *box[:2], *(box[2:] - box[:2]))
                for label, box in zip(record.classes, record.boxes, strict=True)
            ],
        )
        for record in data_set.records
    }
