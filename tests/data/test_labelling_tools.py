"""Files of labelling tools, read as COCO's.

They are built here as the tools build them. Looked up in, and read by this package as they came from, these tools:
labelme 6.3.1 (`labelme._label_file.write_label_file`), the converter of label-studio-sdk 2.1.2 (JSON-MIN and COCO from
tasks), Datumaro 1.13.12 (`Dataset.export` to datumaro, cvat and coco_instances), Supervisely's SDK 6.74.51 (`Project`,
`Annotation`). From the tools' sources: VIA 2.0 (`pack_via_metadata`, and what a project saves), CVAT 2
(`dataset_manager/formats/cvat.py`, whose format is 1.1).
"""

import base64
import csv
import io
import json
import math
import zlib

import numpy as np
import pytest
from PIL import Image

from keras_fpn.console.errors import UserError
from keras_fpn.data.formats import FORMATS, JsonFormat, find_halves, read_content
from keras_fpn.ops import masks
from tests.data import disguises

WIDTH, HEIGHT = 80, 60


def _picture(path, size=(WIDTH, HEIGHT), orientation=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if orientation:
        exif[274] = orientation
    Image.new("RGB", size).save(path, exif=exif)


def _write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def _png(mask, packed=False):
    file = io.BytesIO()
    Image.fromarray(np.array(mask, np.uint8)).save(file, "PNG")
    data = zlib.compress(file.getvalue()) if packed else file.getvalue()
    return base64.b64encode(data).decode()


# ---------------------------------------------------------------------------- files with one picture, tool by tool
# Each writes an annotation file of a picture with some shapes, and returns what `--data` would name of it.


def labelme(root, shapes, picture="a.jpg", **changed):
    _picture(root / picture)
    given = [{"group_id": None, "description": "", "flags": {}, "mask": None} | shape for shape in shapes]
    content = {
        "version": "6.3.1", "flags": {}, "shapes": given, "imagePath": picture, "imageData": None,
        "imageHeight": HEIGHT, "imageWidth": WIDTH,
    }  # fmt: skip
    _write((root / picture).with_suffix(".json"), content | changed)
    return root, root


def via(root, shapes, picture="a.jpg", file="via_project.json", attributes=None, **changed):
    _picture(root / picture)
    regions = [{"region_attributes": {"type": name} if isinstance(name, str) else name, "shape_attributes": shape}
               for name, shape in shapes]  # fmt: skip
    entry = {"filename": picture, "size": 823, "regions": regions, "file_attributes": {}}
    declared = {"type": {"type": "text", "description": "", "default_value": ""}} if attributes is None else attributes
    content = {
        "_via_settings": {"ui": {}, "core": {"buffer_size": 18, "filepath": {}, "default_filepath": ""},
                          "project": {"name": "project"}},
        "_via_img_metadata": {f"{picture}823": entry},
        "_via_attributes": {"region": declared, "file": {}},
        "_via_data_format_version": "2.0.10",
        "_via_image_id_list": [f"{picture}823"],
    }  # fmt: skip
    return _write(root / file, content | changed), root


def label_studio(root, results, picture="a.jpg", file="project-1-at-2024-05-06-07-08-abcdef01.json", **task):
    _picture(root / "images" / picture)
    given = [_result(f"id{index}", **result) for index, result in enumerate(results)]
    annotation = {
        "id": 4, "completed_by": 1, "result": given, "was_cancelled": False, "ground_truth": False,
        "created_at": "2024-01-02T00:00:00.000000Z", "updated_at": "2024-01-02T00:00:00.000000Z",
    }  # fmt: skip
    content = [
        {"id": 11, "annotations": [annotation], "file_upload": picture, "drafts": [], "predictions": [],
         "data": {"image": f"/data/upload/1/{picture}"}, "meta": {}, "inner_id": 1, "project": 1}
        | task
    ]  # fmt: skip
    return _write(root / file, content), root / "images"


def _result(number, type, value, **changed):
    return {
        "original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0, "value": value, "id": number,
        "from_name": "label", "to_name": "image", "type": type, "origin": "manual",
    } | changed  # fmt: skip


def _percent(x, y, width, height, **further):
    across, down = 100 / WIDTH, 100 / HEIGHT
    return {"x": x * across, "y": y * down, "width": width * across, "height": height * down, "rotation": 0} | further


def supervisely(root, objects, picture="a.jpg", data_set="ds0", tags=(), classes=("car", "dog")):
    _picture(root / data_set / "img" / picture)
    content = {
        "description": "", "tags": [{"name": name, "value": None} for name in tags],
        "size": {"height": HEIGHT, "width": WIDTH},
        "objects": [{"id": 500 + index, "classId": 7, "description": "", "tags": [], "labelerLogin": "me"} | each
                    for index, each in enumerate(objects)],
    }  # fmt: skip
    _write(root / data_set / "ann" / f"{picture}.json", content)
    listed = [{"title": name, "shape": "any", "color": "#0F8A24", "geometry_config": {}, "id": 70 + index, "hotkey": ""}
              for index, name in enumerate(classes)]  # fmt: skip
    meta = {"classes": listed, "tags": [{"name": name, "value_type": "none"} for name in ("train", "val")]}
    _write(root / "meta.json", meta | {"projectType": "images"})
    return root, root


def datumaro(root, annotations, picture="a.jpg", subset="default", **item):
    _picture(root / "images" / subset / picture)
    labels = [{"name": name, "parent": "", "attributes": []} for name in ("car", "dog")]
    given = [{"id": 0, "attributes": {}, "group": 0, "label_id": 0, "z_order": 0} | each for each in annotations]
    described = {"id": picture.partition(".")[0], "annotations": given, "image": {"path": picture, "size": [60, 80]}}
    content = {
        "dm_format_version": "1.0", "media_type": 2, "infos": {},
        "categories": {"label": {"labels": labels, "label_groups": [], "attributes": []}}, "items": [described | item],
    }  # fmt: skip
    return _write(root / "annotations" / f"{subset}.json", content), root / "images" / subset


CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta>
    <{kind}>
      <id>4</id><name>streets</name><size>2</size><mode>annotation</mode><flipped>False</flipped>
      <labels>
        <label><name>car</name><color>#c06060</color><type>any</type><attributes></attributes></label>
        <label><name>dog</name><color>#c06060</color><type>any</type><attributes></attributes></label>
      </labels>
      <original_size><width>80</width><height>60</height></original_size>
    </{kind}>
    <dumped>2024-01-01 00:00:00.000000+00:00</dumped>
  </meta>
{body}
</annotations>
"""


def cvat(root, shapes, picture="a.jpg", file="annotations.xml"):
    _picture(root / "images" / picture)
    body = f'  <image id="3" name="{picture}" width="80" height="60">{"".join(shapes)}</image>'
    return _write(root / file, CVAT.format(kind="task", body=body)), root / "images"


ONE = {each.__name__: each for each in (labelme, via, label_studio, supervisely, datumaro, cvat)}

# ---------------------------------------------------------------------------- two halves: the same objects from each
# In train a car [10, 20, 30, 30] and a dog with the corners (8, 6), (16, 6), (16, 18); in val a car [5, 6, 20, 10].

DOG = [[8, 6], [16, 6], [16, 18]]


def _exterior(*points):
    return {"exterior": list(points), "interior": []}


WANTED = {
    "train": [("a.jpg", "car", [10, 20, 30, 30]), ("a.jpg", "dog", [8, 6, 8, 12])],
    "val": [("b.jpg", "car", [5, 6, 20, 10])],
}
SHAPES = {
    labelme: (
        {"label": "car", "points": [[40, 50], [10, 20]], "shape_type": "rectangle"},
        {"label": "dog", "points": DOG, "shape_type": "polygon"},
        {"label": "car", "points": [[5, 6], [25, 16]], "shape_type": "rectangle"},
    ),
    via: (
        ("car", {"name": "rect", "x": 10, "y": 20, "width": 30, "height": 30}),
        ("dog", {"name": "polygon", "all_points_x": [8, 16, 16], "all_points_y": [6, 6, 18]}),
        ("car", {"name": "rect", "x": 5, "y": 6, "width": 20, "height": 10}),
    ),
    label_studio: (
        {"type": "rectanglelabels", "value": _percent(10, 20, 30, 30, rectanglelabels=["car"])},
        {"type": "polygonlabels",
         "value": {"points": [[10, 10], [20, 10], [20, 30]], "closed": True, "polygonlabels": ["dog"]}},
        {"type": "rectanglelabels", "value": _percent(5, 6, 20, 10, rectanglelabels=["car"])},
    ),
    supervisely: (
        {"classTitle": "car", "geometryType": "rectangle", "points": _exterior([10, 20], [39, 49])},
        {"classTitle": "dog", "geometryType": "polygon", "points": _exterior(*DOG)},
        {"classTitle": "car", "geometryType": "rectangle", "points": _exterior([5, 6], [24, 15])},
    ),
    datumaro: (
        {"type": "bbox", "bbox": [10, 20, 30, 30]},
        {"type": "polygon", "label_id": 1, "points": [8, 6, 16, 6, 16, 18]},
        {"type": "bbox", "bbox": [5, 6, 20, 10]},
    ),
    cvat: (
        '<box label="car" source="manual" occluded="0" xtl="10.00" ytl="20.00" xbr="40.00" ybr="50.00" z_order="0"/>',
        '<polygon label="dog" source="manual" occluded="0" points="8.00,6.00;16.00,6.00;16.00,18.00" z_order="0"/>',
        '<box label="car" source="manual" occluded="1" xtl="5.00" ytl="6.00" xbr="25.00" ybr="16.00" z_order="0"/>',
    ),
}  # fmt: skip


def _in_folders(tool, **options):
    """Each half in a folder of its own, as the tool writes it for one data set."""

    def write(root):
        tool(root / "train", SHAPES[tool][:2], **options)
        tool(root / "val", SHAPES[tool][2:], picture="b.jpg", **options)

    return write


def _in_one_folder(tool, key, train, val):
    """Both halves side by side, each under a name of its own."""

    def write(root):
        tool(root, SHAPES[tool][:2], **{key: train})
        tool(root, SHAPES[tool][2:], picture="b.jpg", **{key: val})

    return write


def _labelme_3(root):
    """labelme 3 has colours, and no "shape_type" of a polygon, "group_id" or size; paths are those of Windows."""
    old = {"version": "3.16.7", "lineColor": [0, 255, 0, 128], "fillColor": [255, 0, 0, 128]}
    car, dog, other = SHAPES[labelme]
    dog = {"label": "dog", "points": DOG, "line_color": None, "fill_color": None}
    for half, picture, shapes in (("train", "a.jpg", [car, dog]), ("val", "b.jpg", [other])):
        labelme(root / half, shapes, picture)
        content = old | {"flags": {}, "shapes": shapes, "imagePath": f"..\\{half}\\{picture}", "imageData": None}
        _write(root / half / picture.replace("jpg", "json"), content)


def _labelme_apart(root):
    """The JSON files in a folder beside that of the pictures."""
    for half, picture, shapes in (("train", "a.jpg", SHAPES[labelme][:2]), ("val", "b.jpg", SHAPES[labelme][2:])):
        labelme(root / half / "images", shapes, picture, imagePath=f"../images/{picture}")
        (root / half / "annotations").mkdir()
        name = picture.replace("jpg", "json")
        (root / half / "images" / name).rename(root / half / "annotations" / name)


def _via_1(root):
    """VIA 1: the images alone, regions under numbers, and more of each file."""
    for half, picture, shapes in (("train", "a.jpg", SHAPES[via][:2]), ("val", "b.jpg", SHAPES[via][2:])):
        file, _ = via(root / half, shapes, picture, "via_region_data.json")
        entry = json.loads(file.read_text())["_via_img_metadata"][f"{picture}823"]
        regions = {str(index): region for index, region in enumerate(entry["regions"])}
        _write(file, {f"{picture}823": {"fileref": "", "base64_img_data": ""} | entry | {"regions": regions}})


def _via_csv(root):
    for half, picture, shapes in (("train", "a.jpg", SHAPES[via][:2]), ("val", "b.jpg", SHAPES[via][2:])):
        _picture(root / picture)
        with open(root / f"via_{half}.csv", "w", newline="") as stream:
            stream.write("filename,file_size,file_attributes,region_count,region_id,")
            stream.write("region_shape_attributes,region_attributes\n")
            for index, (name, shape) in enumerate(shapes):
                row = (picture, 823, "{}", len(shapes), index, json.dumps(shape), json.dumps({"type": name}))
                csv.writer(stream).writerow(row)


def _label_studio_min(root):
    shapes = SHAPES[label_studio]
    for half, picture, results in (("train", "a.jpg", shapes[:2]), ("val", "b.jpg", shapes[2:])):
        _picture(root / "images" / picture)  # as it was called before it was uploaded
        values = [each["value"] | {"original_width": WIDTH, "original_height": HEIGHT} for each in results]
        entry = {
            "image": f"/data/upload/1/0a1b2c3d-{picture}", "id": 11, "label": values, "annotator": 1,
            "annotation_id": 4, "created_at": "2024-01-02T00:00:00Z", "updated_at": "", "lead_time": 9.1,
        }  # fmt: skip
        _write(root / f"{half}.json", [entry])


def _supervisely_tags(root):
    car, dog, other = SHAPES[supervisely]
    supervisely(root, [car, dog], tags=["train"])
    supervisely(root, [other], picture="b.jpg", tags=["val"])


def _cvat_project(root):
    """A project: one file of all subsets, whose pictures lie in folders of their names."""
    body = ""
    for subset, picture, shapes in (("Train", "a.jpg", SHAPES[cvat][:2]), ("Validation", "b.jpg", SHAPES[cvat][2:])):
        _picture(root / "images" / subset / picture)
        body += f'<image id="0" name="{picture}" subset="{subset}" task_id="9" width="80" height="60">'
        body += "".join(shapes) + "</image>"
    _write(root / "annotations.xml", CVAT.format(kind="project", body=body))


def _cvat_video(root):
    """Tracks of a video, of which two are on its second frame; the frames are those of its images folder."""
    for half, frames in (("train", 4), ("val", 1)):
        for frame in range(frames):
            _picture(root / half / "images" / f"frame_{frame:06d}.PNG")
    shape = '<{tag} frame="{frame}" keyframe="{key}" outside="{outside}" occluded="0" {place} z_order="0"></{tag}>'
    car, dog = 'xtl="10.00" ytl="20.00" xbr="40.00" ybr="50.00"', 'points="8.00,6.00;16.00,6.00;16.00,18.00"'
    other = 'xtl="5.00" ytl="6.00" xbr="25.00" ybr="16.00"'
    boxes = [shape.format(tag="box", frame=frame, key=key, outside=outside, place=car)
             for frame, key, outside in ((1, 1, 0), (2, 1, 1))]  # fmt: skip
    polygon = shape.format(tag="polygon", frame=1, key=1, outside=0, place=dog)
    tracks = f'<track id="0" label="car">{"".join(boxes)}</track><track id="1" label="dog">{polygon}</track>'
    _write(root / "train" / "annotations.xml", CVAT.format(kind="task", body=tracks))
    alone = shape.format(tag="box", frame=0, key=1, outside=0, place=other)
    track = f'<track id="0" label="car">{alone}</track>'
    _write(root / "val" / "annotations.xml", CVAT.format(kind="task", body=track))


def _coco(root):
    content = {"images": [], "annotations": [], "categories": []}
    _write(root / "annotations" / "instances_train.json", content)
    _write(root / "annotations" / "instances_val.json", content)
    for half in ("train", "val"):
        _picture(root / half / "a.jpg")


def _voc(root):
    box = "<bndbox><xmin>10</xmin><ymin>20</ymin><xmax>40</xmax><ymax>50</ymax></bndbox>"
    size = "<size><width>80</width><height>60</height><depth>3</depth></size>"
    for half in ("train", "valid"):  # as Roboflow writes it
        _picture(root / half / "a.jpg")
        parts = f"<filename>a.jpg</filename>{size}<object><name>car</name>{box}</object>"
        _write(root / half / "a.xml", f"<annotation>{parts}</annotation>")


def _yolo(root):
    _write(root / "data.yaml", "train: images/train\nval: images/val\nnames: [car]\n")
    for half in ("train", "val"):
        _picture(root / "images" / half / "a.jpg")
        _write(root / "labels" / half / "a.txt", "0 0.5 0.5 0.25 0.25\n")


def _table(root):
    for half in ("train", "val"):
        _picture(root / "a.jpg")
        _write(root / f"{half}.csv", "filename,width,height,class,xmin,ymin,xmax,ymax\na.jpg,80,60,car,10,20,40,50\n")


OTHERS = {"COCO": ("coco", _coco), "VOC": ("voc", _voc), "YOLO": ("yolo", _yolo), "a table": ("csv", _table)}
SAMPLES = {
    "labelme": ("labelme", _in_folders(labelme)),
    "labelme of version 3": ("labelme", _labelme_3),
    "labelme apart from pictures": ("labelme", _labelme_apart),
    "VIA projects": ("via", _in_folders(via)),
    "VIA projects side by side": ("via", _in_one_folder(via, "file", "train.json", "val.json")),
    "VIA 1": ("via", _via_1),
    "VIA CSV": ("via", _via_csv),
    "Label Studio": ("label-studio", _in_folders(label_studio)),
    "Label Studio JSON-MIN": ("label-studio", _label_studio_min),
    "Supervisely data sets": ("supervisely", _in_one_folder(supervisely, "data_set", "train", "val")),
    "Supervisely tags": ("supervisely", _supervisely_tags),
    "Datumaro": ("datumaro", _in_one_folder(datumaro, "subset", "train", "val")),
    "CVAT": ("cvat", _in_folders(cvat)),
    "CVAT project": ("cvat", _cvat_project),
    "CVAT video": ("cvat", _cvat_video),
}  # fmt: skip


@pytest.fixture(params=SAMPLES)
def sample(request, tmp_path):
    """`(name of the format, folder)` of one of the samples."""
    name, write = SAMPLES[request.param]
    write(tmp_path)
    return name, tmp_path


def objects_of(content):
    """`(name of the picture, class, box)` of each object, sorted."""
    files = {image["id"]: image["file_name"].rpartition("/")[2] for image in content["images"]}
    names = {category["id"]: category["name"] for category in content["categories"]}
    items = [(files[each["image_id"]], names[each["category_id"]], each["bbox"]) for each in content["annotations"]]
    return sorted((file, name, [round(side, 6) for side in box]) for file, name, box in items)


def test_the_halves_of_each_tool_are_found_and_read_alike(sample):
    name, folder = sample
    known, halves = find_halves(folder)
    assert known.name == name and list(halves) == ["train", "val"]
    contents = {half: read_content(*place) for half, place in halves.items()}
    for half, content in contents.items():
        frame = {"train": "frame_000001.PNG", "val": "frame_000000.PNG"}[half]
        is_video = content["images"][0]["file_name"] == "frame_000000.PNG"
        assert objects_of(content) == [(frame if is_video else file, *other) for file, *other in WANTED[half]]
        assert len(content["images"]) == (4 if is_video and half == "train" else 1)
        assert {(image["height"], image["width"]) for image in content["images"]} == {(HEIGHT, WIDTH)}
        assert known.images_of(halves[half].annotations) == halves[half].images
        assert all(file.is_file() for file in known.files(halves[half].annotations))
    train, val = (content["categories"] for content in contents.values())
    assert train == val and [category["name"] for category in train] == ["car", "dog"]
    dog = next(each for each in contents["train"]["annotations"] if "segmentation" in each)
    assert dog["segmentation"] == [pytest.approx([8, 6, 16, 6, 16, 18])] and dog["area"] == pytest.approx(48)


@pytest.mark.parametrize("disguise", disguises.OF_FOLDERS)
def test_every_tool_as_other_machines_leave_its_files(tmp_path, disguise):
    for number, (_, write) in enumerate(SAMPLES.values()):
        root = tmp_path / str(number) / "data"
        root.mkdir(parents=True)
        write(root)
        wanted = {half: _regardless_of_letters(read_content(*place)) for half, place in find_halves(root)[1].items()}
        changed = find_halves(disguise(root))[1]
        assert {half: _regardless_of_letters(read_content(*place)) for half, place in changed.items()} == wanted


def _regardless_of_letters(content):
    return [(file.lower(), name, box) for file, name, box in objects_of(content)]


@pytest.mark.parametrize("written", [*SAMPLES, *OTHERS])
def test_no_format_takes_what_another_wrote(written, tmp_path):
    name, write = (SAMPLES | OTHERS)[written]
    write(folder := tmp_path)
    found = {each.name for each in FORMATS if each.find(folder)}
    assert found == {name}
    _, halves = find_halves(folder)
    for half in halves.values():
        path = half.annotations
        content = json.loads(open(path).read()) if path.endswith(".json") else None
        by_content = [each.name for each in FORMATS if isinstance(each, JsonFormat) and each.matches(content)]
        by_name = [each.name for each in FORMATS if each.recognises(path)]
        taking = by_content + [each for each in by_name if each != "csv" or name == "csv"]  # csv takes what is left
        assert taking == ([] if name == "coco" else [name])  # and so does COCO of JSON files


# ---------------------------------------------------------------------------------------------- shapes of one object

_CORNER = [[0, 0, 0, 0], [0, 0, 255, 255], [0, 0, 255, 255]]  # of a mask: its own lower right
_OUTLINES = {
    # (tool, what it writes): the box. A circle and an ellipse touch it, a turned rectangle has its corners on it.
    "labelme rectangle, corners in any order": (
        labelme, {"label": "car", "points": [[40, 20], [10, 50]], "shape_type": "rectangle"}, [10, 20, 30, 30]),
    "labelme rectangle of four corners (X-AnyLabeling)": (
        labelme, {"label": "car", "points": [[10, 20], [40, 20], [40, 50], [10, 50]], "shape_type": "rectangle"},
        [10, 20, 30, 30]),
    "labelme circle": (
        labelme, {"label": "car", "points": [[30, 25], [33, 29]], "shape_type": "circle"}, [25, 20, 10, 10]),
    "labelme oriented rectangle": (
        labelme, {"label": "car", "points": [[20, 10], [30, 20], [25, 25], [15, 15]],
                  "shape_type": "oriented_rectangle"}, [15, 10, 15, 15]),
    "labelme mask": (
        labelme, {"label": "car", "points": [[10, 20], [13, 22]], "shape_type": "mask", "mask": _png(_CORNER)},
        [12, 21, 2, 2]),
    "VIA circle": (via, ("car", {"name": "circle", "cx": 30, "cy": 25, "r": 5}), [25, 20, 10, 10]),
    "VIA ellipse": (via, ("car", {"name": "ellipse", "cx": 30, "cy": 25, "rx": 5, "ry": 10}), [25, 15, 10, 20]),
    "VIA ellipse, turned (radians)": (
        via, ("car", {"name": "ellipse", "cx": 30, "cy": 25, "rx": 5, "ry": 10, "theta": math.pi / 2}),
        [20, 20, 20, 10]),
    "Label Studio rectangle, turned about its upper left corner": (
        label_studio, {"type": "rectanglelabels",
                       "value": _percent(40, 30, 20, 12, rotation=90, rectanglelabels=["car"])}, [28, 30, 12, 20]),
    "Label Studio ellipse": (
        label_studio, {"type": "ellipselabels", "value": {"x": 50, "y": 50, "radiusX": 10, "radiusY": 10, "rotation": 0,
                                                          "ellipselabels": ["car"]}}, [32, 24, 16, 12]),
    "Supervisely rectangle, in whole pixels": (
        supervisely, {"classTitle": "car", "geometryType": "rectangle", "points": _exterior([39, 49], [10, 20])},
        [10, 20, 30, 30]),
    "Supervisely rectangle, in fractions": (
        supervisely, {"classTitle": "car", "geometryType": "rectangle", "points": _exterior([10.5, 20], [40, 49.25])},
        [10.5, 20, 29.5, 29.25]),
    "Supervisely rectangle to the border": (
        supervisely, {"classTitle": "car", "geometryType": "rectangle", "points": _exterior([10, 20], [80, 60])},
        [10, 20, 70, 40]),
    "Supervisely rectangle of an old project": (
        supervisely, {"classTitle": "car", "points": _exterior([10, 20], [39, 49])}, [10, 20, 30, 30]),
    "Supervisely bitmap": (
        supervisely, {"classTitle": "car", "geometryType": "bitmap",
                      "bitmap": {"data": _png(_CORNER, packed=True), "origin": [10, 20]}}, [12, 21, 2, 2]),
    "Datumaro ellipse": (datumaro, {"type": "ellipse", "points": [10, 20, 40, 50]}, [10, 20, 30, 30]),
    "Datumaro mask": (
        datumaro, {"type": "mask", "rle": {"size": [60, 80], "counts": "jU14h10000000jV3"}}, [20, 10, 5, 4]),
    "CVAT rectangle, turned about its middle": (
        cvat, '<box label="car" occluded="0" xtl="20" ytl="20" xbr="60" ybr="30" rotation="90.00"/>', [35, 5, 10, 40]),
    "CVAT ellipse": (
        cvat, '<ellipse label="car" occluded="0" cx="40.00" cy="30.00" rx="20.00" ry="10.00"/>', [20, 20, 40, 20]),
    "CVAT ellipse, turned": (
        cvat, '<ellipse label="car" occluded="0" cx="40.00" cy="30.00" rx="20.00" ry="10.00" rotation="90.00"/>',
        [30, 10, 20, 40]),
    "CVAT mask": (
        cvat, '<mask label="car" occluded="0" rle="6, 2, 2, 2" left="10" top="20" width="4" height="3"/>',
        [12, 21, 2, 2]),
}  # fmt: skip


@pytest.mark.parametrize("name", _OUTLINES)
def test_the_box_of_each_shape(tmp_path, name):
    tool, shape, box = _OUTLINES[name]
    content = read_content(*tool(tmp_path, [shape]))
    (item,) = content["annotations"]
    assert item["bbox"] == pytest.approx(box)
    names = {category["id"]: category["name"] for category in content["categories"]}
    assert names[item["category_id"]] == "car"
    outline = item.get("segmentation")
    if outline is None:  # an upright rectangle: its box says all
        assert item["area"] == pytest.approx(box[2] * box[3])
        return
    segment = masks.from_annotation(outline, HEIGHT, WIDTH)
    assert masks.bounding_boxes([segment])[0] == pytest.approx(box, abs=1)  # a whole pixel is in or out
    assert float(masks.areas([segment])[0]) == pytest.approx(item["area"], rel=0.12)


def _polygon(points):
    return ";".join(f"{x},{y}" for x, y in points)


_SECOND = [[20, 30], [28, 30], [28, 40]]
_GROUPS = {
    "labelme": (labelme, [
        {"label": "dog", "points": DOG, "shape_type": "polygon", "group_id": 0},
        {"label": "car", "points": DOG, "shape_type": "polygon", "group_id": 0},
        {"label": "dog", "points": _SECOND, "shape_type": "polygon", "group_id": 0},
    ]),
    "Supervisely": (supervisely, [
        {"classTitle": name, "geometryType": "polygon", "points": _exterior(*points), "instance": "c0ffee"}
        for name, points in (("dog", DOG), ("car", DOG), ("dog", _SECOND))
    ]),
    "Datumaro": (datumaro, [
        {"type": "polygon", "label_id": number, "points": np.ravel(points).tolist(), "group": 7}
        for number, points in ((1, DOG), (0, DOG), (1, _SECOND))
    ]),
    "CVAT": (cvat, [
        f'<polygon label="{name}" occluded="0" points="{_polygon(points)}" group_id="7"/>'
        for name, points in (("dog", DOG), ("car", DOG), ("dog", _SECOND))
    ]),
}  # fmt: skip


@pytest.mark.parametrize("name", _GROUPS)
def test_parts_of_one_group_and_class_are_one_object(tmp_path, name):
    tool, shapes = _GROUPS[name]
    content = read_content(*tool(tmp_path, shapes))
    assert objects_of(content) == [("a.jpg", "car", [8, 6, 8, 12]), ("a.jpg", "dog", [8, 6, 20, 34])]
    dog = max(content["annotations"], key=lambda each: each["area"])
    assert [len(part) for part in dog["segmentation"]] == [6, 6] and dog["area"] == pytest.approx(48 + 40)


def test_what_has_a_box_of_its_own_in_a_group(tmp_path):
    """A group of boxes is several objects to CVAT; Datumaro's box and mask of a group are of one."""
    boxes = [f'<box label="car" occluded="0" xtl="{x}" ytl="5" xbr="{x + 5}" ybr="9" group_id="1"/>' for x in (5, 20)]
    assert len(read_content(*cvat(tmp_path / "cvat", boxes))["annotations"]) == 2
    parts = [
        {"type": "bbox", "bbox": [10, 8, 30, 20], "group": 3, "id": 9},
        {"type": "mask", "rle": {"size": [60, 80], "counts": "jU14h10000000jV3"}, "group": 3, "id": 9},
    ]
    (item,) = read_content(*datumaro(tmp_path / "datumaro", parts))["annotations"]
    assert item["bbox"] == [10, 8, 30, 20] and item["area"] == 20 and item["segmentation"]["size"] == [60, 80]


# ---------------------------------------------------------------------------------------------- what is left out

_LEFT_OUT = {
    "labelme": (
        labelme,
        [{"label": "car", "points": points, "shape_type": kind} for kind, points in (
            ("point", [[1, 2]]), ("line", [[1, 2], [3, 4]]), ("linestrip", [[1, 2], [3, 4], [5, 6]]),
            ("points", [[1, 2]]), ("polygon", [[1, 2], [3, 4]]), ("star", [[1, 2]]))],
        "line strips (1), lines (1), points (2), polygons of fewer than three points (1), shapes of the unknown type"
        " 'star' (1)",
    ),
    "VIA": (
        via,
        [("car", {"name": "point", "cx": 1, "cy": 2}),
         ("car", {"name": "polyline", "all_points_x": [1, 2], "all_points_y": [1, 2]}),
         ("", {"name": "rect", "x": 1, "y": 2, "width": 3, "height": 4})],
        "points (1), polylines (1), regions without a value of the attribute 'type' (1)",
    ),
    "Label Studio": (
        label_studio,
        [{"type": "keypointlabels", "value": {"x": 1, "y": 2, "width": 1, "keypointlabels": ["car"]}},
         {"type": "brushlabels", "value": {"format": "rle", "rle": [0, 1], "brushlabels": ["car"]}},
         {"type": "rectangle", "value": _percent(1, 2, 3, 4)},
         {"type": "rectanglelabels", "value": _percent(1, 2, 3, 4, rectanglelabels=["car"]), "image_rotation": 90}],
        "brush masks (1), key points (1), shapes drawn on a picture that was turned in the tool (1), shapes without a"
        " label (1)",
    ),
    "Supervisely": (
        supervisely,
        [{"classTitle": "car", "geometryType": "point", "points": _exterior([1, 2])},
         {"classTitle": "car", "geometryType": "line", "points": _exterior([1, 2], [3, 4])},
         {"classTitle": "car", "geometryType": "graph", "nodes": {}},
         {"classTitle": "car", "geometryType": "bitmap",
          "bitmap": {"data": _png(np.zeros((3, 3)), packed=True), "origin": [1, 2]}}],
        "empty masks (1), key points (1), points (1), polylines (1)",
    ),
    "Datumaro": (
        datumaro,
        [{"type": "points", "points": [1, 2]}, {"type": "polyline", "points": [1, 2, 3, 4]}, {"type": "label"},
         {"type": "caption", "caption": "a car"}, {"type": "bbox", "bbox": [1, 2, 3, 4], "label_id": None}],
        "captions (1), labels of whole images (1), points (1), polylines (1), shapes without a label (1)",
    ),
    "CVAT": (
        cvat,
        ['<points label="car" occluded="0" points="1.00,2.00"/>',
         '<polyline label="car" occluded="0" points="1.00,2.00;3.00,4.00"/>', '<tag label="car" source="manual"/>',
         '<skeleton label="car"><points label="eye" outside="0" occluded="0" points="1.00,2.00"/></skeleton>',
         '<cuboid label="car" occluded="0" xtl1="1" ytl1="2"/>'],
        "cuboids (1), points (1), polylines (1), skeletons (1), tags of images (1)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", _LEFT_OUT)
def test_shapes_without_a_box_are_left_out_and_counted_in_one_line(tmp_path, name, caplog):
    tool, shapes, told = _LEFT_OUT[name]
    half = tool(tmp_path, [*shapes, SHAPES[tool][0]])
    assert objects_of(read_content(*half)) == [WANTED["train"][0]]
    assert caplog.messages == [f"{half[0]}: left out, as no object with a box can be made of them: {told}"]


# ---------------------------------------------------------------------------------------------- mistakes in files

_RECT = {"name": "rect", "x": 1, "y": 2, "width": 3, "height": 4}
_BROKEN = {
    "labelme, no label": (labelme, {"points": DOG, "shape_type": "polygon"}, 'a.json: shape 0 has no "label"; add it'),
    "labelme, words for points": (
        labelme, {"label": "car", "points": ["here", "there"], "shape_type": "rectangle"}, "shape 0 cannot be read"),
    "labelme, infinite": (
        labelme, {"label": "car", "points": [[1, 2], [math.inf, 3]], "shape_type": "rectangle"}, "no|not a finite"),
    "labelme, mask": (
        labelme, {"label": "car", "points": [[1, 2], [3, 4]], "shape_type": "mask", "mask": "!"}, "no PNG as base64"),
    "VIA, no width": (
        via, ("car", {"name": "rect", "x": 1, "y": 2}), "region 0 of image 'a.jpg' has no \"width\"; add it"),
    "VIA, one list short": (
        via, ("car", {"name": "polygon", "all_points_x": [1, 2, 3], "all_points_y": [1]}), "cannot be read"),
    "Label Studio, no x": (
        label_studio, {"type": "rectanglelabels", "value": {"y": 1, "rectanglelabels": ["car"]}},
        "result 'id0' of task 11 has no \"x\"; add it"),
    "Label Studio, no label": (
        label_studio, {"type": "rectanglelabels", "value": _percent(1, 2, 3, 4, rectanglelabels=[5])},
        "its label 5 is no name"),
    "Supervisely, no class": (
        supervisely, {"geometryType": "rectangle", "points": _exterior([1, 2], [3, 4])},
        'a.jpg.json: object 500 has no "classTitle"'),
    "Supervisely, bitmap": (
        supervisely, {"classTitle": "car", "geometryType": "bitmap", "bitmap": {"data": _png([[1]]), "origin": [1, 2]}},
        "no PNG as base64"),
    "Datumaro, label": (
        datumaro, {"type": "bbox", "bbox": [1, 2, 3, 4], "label_id": 9}, '"label_id" 9 is none of the 2 labels'),
    "Datumaro, mask": (
        datumaro, {"type": "mask", "rle": {"size": [60, 80], "counts": "jU1"}}, "run lengths that do not add up"),
    "CVAT, no corner": (cvat, '<box label="car" xtl="1" ytl="2" xbr="3"/>', 'image \'a.jpg\' has no "ybr"; add it'),
    "CVAT, words for points": (cvat, '<polygon label="car" points="a,b;c,d;e,f"/>', "cannot be read"),
    "CVAT, runs": (
        cvat, '<mask label="car" rle="6, 900" left="1" top="2" width="4" height="3"/>', "do not fit 4 x 3 pixels"),
    "CVAT, no label": (cvat, '<box xtl="1" ytl="2" xbr="3" ybr="4"/>', "its label None is no name"),
}  # fmt: skip


@pytest.mark.parametrize("name", _BROKEN)
def test_a_mistake_is_told_in_one_line_with_its_place(tmp_path, name):
    tool, shape, told = _BROKEN[name]
    half = tool(tmp_path, [shape])
    with pytest.raises(UserError, match=told) as caught:
        read_content(*half)
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value) and ";" in str(caught.value)


# ---------------------------------------------------------------------------------------------- labelme


def test_labelme_pictures_by_other_names(tmp_path):
    """Paths of Windows, a size that is not said, a picture held sideways, a picture that was renamed with its file."""
    shapes = [SHAPES[labelme][0]]
    labelme(tmp_path, shapes, "a.jpg", imagePath="..\\elsewhere\\a.jpg", imageHeight=None, imageWidth=None)
    _picture(tmp_path / "a.jpg", orientation=6)
    labelme(tmp_path, shapes, "new.png", imagePath="old.png")
    labelme(tmp_path, shapes, "sub/deep.jpg", imagePath="deep.jpg")
    _, halves = find_halves(tmp_path)
    entries = read_content(*halves["all"])["images"]
    assert [(entry["file_name"], entry["height"], entry["width"]) for entry in entries] == [
        ("a.jpg", WIDTH, HEIGHT), ("new.png", HEIGHT, WIDTH), ("sub/deep.jpg", HEIGHT, WIDTH),
    ]  # fmt: skip


def test_labelme_picture_that_is_only_inside_the_file(tmp_path):
    labelme(tmp_path, [SHAPES[labelme][0]], imageData=_png([[1]]))
    assert read_content(tmp_path, tmp_path)["images"][0]["file_name"] == "a.jpg"  # the file beside it goes first
    (tmp_path / "a.jpg").unlink()
    told = f'{tmp_path / "a.json"}: its picture is not in {tmp_path}, only inside the file as "imageData"; put the'
    with pytest.raises(UserError, match="only inside") as caught:
        read_content(tmp_path, tmp_path)
    assert str(caught.value).startswith(told)


def test_labelme_keeps_what_else_it_says(tmp_path):
    shape = SHAPES[labelme][0] | {"flags": {"far": True}, "description": "red", "group_id": 0}
    content = read_content(*labelme(tmp_path, [shape, SHAPES[labelme][2]]))
    first, second = content["annotations"]
    assert (first["flags"], first["description"], first["group_id"]) == ({"far": True}, "red", 0)
    assert not {"flags", "description", "group_id"} & set(second)
    assert [first["id"], second["id"]] == [1, 2]


def test_other_json_files_among_those_of_labelme_are_passed_over(tmp_path, caplog):
    labelme(tmp_path, SHAPES[labelme][:2])
    _write(tmp_path / "settings.json", {"shapes": 3})
    assert objects_of(read_content(tmp_path, tmp_path)) == WANTED["train"]
    assert caplog.messages == [
        f"{tmp_path}: 1 of 2 JSON files are passed over, as they are not labelme's, first settings.json"
    ]


def test_one_labelme_file_is_annotations_too(tmp_path):
    labelme(tmp_path, SHAPES[labelme][:2])
    assert objects_of(read_content(tmp_path / "a.json", tmp_path)) == WANTED["train"]
    assert FORMATS["labelme"].images_of(str(tmp_path / "a.json")) == str(tmp_path)


# ---------------------------------------------------------------------------------------------- VIA


def _attribute(type, **options):
    return {"type": type, "description": "", "options": options, "default_options": {}}


_CAR = {"name": "rect", "x": 10, "y": 20, "width": 30, "height": 30}


@pytest.mark.parametrize(
    ("declared", "values", "names", "told"),
    [
        # The names are the project's, in its order, those without an object, too.
        ({"kind": _attribute("dropdown", d="Dog", c="Car")}, {"kind": "c"}, ["Dog", "Car"], ""),
        # What a box can be ticked for.
        ({"kind": _attribute("checkbox", dog="", car="")}, {"kind": {"car": True}}, ["dog", "car"], ""),
        # One attribute with a choice of values beside free texts.
        ({"note": _attribute("text"), "kind": _attribute("radio", car="Car")}, {"note": "far", "kind": "car"}, ["Car"],
         "the class of a region is its attribute 'kind', the only one with a choice of values; not 'note'"),
        # No attribute at all.
        ({}, {}, ["object"], "no region has an attribute; all are of one class, 'object'"),
    ],
)  # fmt: skip
def test_the_attribute_of_via_that_says_the_class(tmp_path, caplog, declared, values, names, told):
    content = read_content(*via(tmp_path, [(values, _CAR)], attributes=declared))
    assert [category["name"] for category in content["categories"]] == names
    assert [message.partition(": ")[2] for message in caplog.messages] == [told] * bool(told)
    (item,) = content["annotations"]
    assert item["category_id"] == content["categories"][-1]["id"]
    assert item.get("attributes") == ({"note": "far"} if "note" in values else None)


def test_via_attributes_of_which_several_could_say_the_class(tmp_path):
    values = {"kind": "car", "make": "old"}
    file, images = via(tmp_path, [(values, _CAR)], attributes={"kind": _attribute("text"), "make": _attribute("text")})
    with pytest.raises(UserError, match=r"several attributes \('kind', 'make'\).*; name one behind the file: .*@kind"):
        read_content(file, images)
    for attribute, name in values.items():
        chosen = f"{file}@{attribute}"
        assert [each["name"] for each in read_content(chosen, images)["categories"]] == [name]
        known = FORMATS["via"]
        assert known.images_of(chosen) == str(images) and list(known.files(chosen)) == [file]
    with pytest.raises(UserError, match="has an attribute 'knd'; did you mean 'kind'"):
        read_content(f"{file}@knd", images)


def test_via_pictures_by_addresses_and_paths(tmp_path):
    for name in ("https://example.org/data/a.jpg?size=9", "C:\\data\\a.jpg", "/home/me/images/a.jpg", "./images/a.jpg"):
        folder = tmp_path / str(len(name))
        file, _ = via(folder / "other", [("car", _CAR)])
        _picture(folder / "images" / "a.jpg", orientation=8)
        content = json.loads(file.read_text())
        content["_via_img_metadata"]["a.jpg823"]["filename"] = name
        _write(folder / "project.json", content)
        _, halves = find_halves(folder)
        (entry,) = read_content(*halves["all"])["images"]
        assert (tmp_path / halves["all"].images / entry["file_name"]).is_file()
        assert (entry["height"], entry["width"]) == (WIDTH, HEIGHT)


def test_a_via_picture_that_is_not_there(tmp_path):
    file, images = via(tmp_path, [("car", _CAR)])
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(UserError, match="a.jpg: this picture of .*via_project.json is not there.*; check the image"):
        read_content(file, images)


def test_two_pictures_that_would_be_one_file(tmp_path):
    file, images = via(tmp_path, [("car", _CAR)])
    content = json.loads(file.read_text())
    entry = content["_via_img_metadata"]["a.jpg823"]
    content["_via_img_metadata"]["other"] = entry | {"filename": "/elsewhere/a.jpg"}
    _write(file, content)
    with pytest.raises(UserError, match="'a.jpg' and '/elsewhere/a.jpg' would both be 'a.jpg' of the image folder; "):
        read_content(file, images)


# ---------------------------------------------------------------------------------------------- Label Studio


def test_the_annotation_of_label_studio_that_was_made_last_counts(tmp_path, caplog):
    file, images = label_studio(tmp_path, [SHAPES[label_studio][0]])
    (task,) = json.loads(file.read_text())
    (first,) = task["annotations"]
    later = first | {"id": 5, "created_at": "2024-02-01T00:00:00Z",
                     "result": [_result("x", **SHAPES[label_studio][1])]}  # fmt: skip
    cancelled = first | {"id": 6, "created_at": "2024-03-01T00:00:00Z", "was_cancelled": True, "result": []}
    nothing = task | {"id": 12, "annotations": [first | {"result": []}], "data": {"image": "/data/upload/1/b.jpg"}}
    untouched = task | {"id": 13, "annotations": [cancelled], "data": {"image": "/data/upload/1/c.jpg"}}
    _picture(images / "b.jpg")
    _write(file, [task | {"annotations": [later, first, cancelled]}, nothing, untouched])
    content = read_content(file, images)
    assert objects_of(content) == [("a.jpg", "dog", [8, 6, 8, 12])]
    assert [image["id"] for image in content["images"]] == [11, 12]  # the tool's; the second has no objects
    assert [message.partition(": ")[2] for message in caplog.messages] == [
        "1 of 3 tasks are left out: nobody labelled them, or all cancelled",
        "1 tasks have several annotations; the one made last counts",
    ]
    _write(file, [untouched])
    with pytest.raises(UserError, match="no task is labelled; label some"):
        read_content(file, images)


@pytest.mark.parametrize(
    ("named", "file_name"),
    [
        ("/data/upload/1/0a1b2c3d-a%20b.jpg", "0a1b2c3d-a b.jpg"),
        ("/data/upload/1/0a1b2c3d-a.jpg", "a.jpg"),
        ("/data/local-files/?d=street/a.jpg", "street/a.jpg"),
        ("/data/local-files/?d=store/street/a.jpg", "street/a.jpg"),
        ("/data/local-files/?d=street%5Ca.jpg", "street/a.jpg"),
        ("s3://bucket/street/a.jpg", "street/a.jpg"),
        ("https://example.org/street/a.jpg?width=9", "street/a.jpg"),
    ],
)
def test_the_pictures_of_label_studio(tmp_path, named, file_name):
    file, images = label_studio(tmp_path, [SHAPES[label_studio][0]], "unused.jpg", data={"image": named, "note": "x"})
    _picture(images / file_name)
    (entry,) = read_content(file, images)["images"]
    assert entry["file_name"] == file_name


def test_label_studio_labels_of_a_separate_control(tmp_path):
    """`<Rectangle>` with `<Labels>`: two results of one region; older "completions"; answers about the image."""
    box, label = _percent(10, 20, 30, 30), {"labels": ["car"], **_percent(10, 20, 30, 30)}
    results = [{"type": "rectangle", "value": box}, {"type": "labels", "value": label},
               {"type": "choices", "value": {"choices": ["street"]}}]  # fmt: skip
    file, images = label_studio(tmp_path, results)
    (task,) = json.loads(file.read_text())
    for result in task["annotations"][0]["result"]:
        result["id"] = "same"
    task["completions"] = task.pop("annotations")
    _write(file, [task])
    assert objects_of(read_content(file, images)) == [WANTED["train"][0]]


# ---------------------------------------------------------------------------------------------- Supervisely, Datumaro


def test_supervisely_data_sets_that_are_no_halves_are_one(tmp_path):
    for data_set in ("ds1", "ds0"):
        supervisely(tmp_path, [SHAPES[supervisely][0]], data_set=data_set)
    known, halves = find_halves(tmp_path)
    assert halves == {"all": (str(tmp_path), str(tmp_path))}
    content = read_content(*halves["all"])
    assert [image["file_name"] for image in content["images"]] == ["ds0/img/a.jpg", "ds1/img/a.jpg"]
    assert content["categories"] == [{"id": 70, "name": "car"}, {"id": 71, "name": "dog"}]  # the tool's ids
    with pytest.raises(UserError, match="no data set and no tag of .* is of this half; leave out @val"):
        read_content(f"{tmp_path}@val", tmp_path)


def test_a_supervisely_annotation_without_its_picture(tmp_path):
    supervisely(tmp_path, [SHAPES[supervisely][0]])
    (tmp_path / "ds0" / "img" / "a.jpg").unlink()
    with pytest.raises(UserError, match=r"a.jpg.json: its picture a.jpg is not in .*img; add it"):
        read_content(tmp_path, tmp_path)


def test_datumaro_crowds_ids_and_sizes(tmp_path):
    crowd = {"type": "bbox", "bbox": [1, 2, 3, 4], "id": 31, "attributes": {"is_crowd": True, "occluded": False}}
    plain = {"type": "bbox", "bbox": [1, 2, 3, 4], "id": 30, "attributes": {"is_crowd": False}}
    half = datumaro(tmp_path, [crowd, plain], image={"path": "a.jpg"}, attr={"id": 397133})
    content = read_content(*half)
    assert content["images"] == [{"id": 397133, "file_name": "a.jpg", "height": HEIGHT, "width": WIDTH}]
    assert [(each["id"], each["iscrowd"]) for each in content["annotations"]] == [(31, 1), (30, 0)]
    assert [category["id"] for category in content["categories"]] == [0, 1]


# ---------------------------------------------------------------------------------------------- CVAT


def test_cvat_keeps_what_else_it_says(tmp_path):
    inside = '<attribute name="make">old</attribute><attribute name="is_crowd">true</attribute>'
    box = f'<box label="car" occluded="1" xtl="1" ytl="2" xbr="3" ybr="4" group_id="5">{inside}</box>'
    content = read_content(*cvat(tmp_path, [box]))
    (item,) = content["annotations"]
    assert (item["occluded"], item["group_id"], item["iscrowd"]) == (True, 5, 1)
    assert item["attributes"] == {"make": "old", "is_crowd": "true"}
    assert content["images"][0]["id"] == 3  # the tool's


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('<!DOCTYPE annotations [<!ENTITY b "c">]><annotations><version>1.1</version></annotations>',
         r"declares a document type \(DOCTYPE\), which no labelling tool writes; remove it"),
        ("<annotations><meta>", "not a whole XML file .*; write or download it again"),
        ('<annotations><image id="0" name="a.jpg" width="9"/></annotations>', "image 'a.jpg' has no \"height\""),
    ],
)  # fmt: skip
def test_xml_that_is_not_read(tmp_path, content, told):
    file = _write(tmp_path / "annotations.xml", content)
    with pytest.raises(UserError, match=told) as caught:
        read_content(file, tmp_path)
    assert str(file) in str(caught.value) and "\n" not in str(caught.value)


def test_cvat_tracks_need_their_frames(tmp_path):
    _cvat_video(tmp_path)
    file, images = tmp_path / "train" / "annotations.xml", tmp_path / "train" / "images"
    (images / "frame_000001.PNG").unlink()
    with pytest.raises(UserError, match=r"frame 1 is not in .* \(and 0 more\); export the annotations with all images"):
        read_content(file, images)
    with pytest.raises(UserError, match="has no frame_000000.PNG and so on; export it with its images"):
        read_content(file, tmp_path)
    (item,) = read_content(tmp_path / "val" / "annotations.xml", tmp_path / "val" / "images")["annotations"]
    assert item["track_id"] == 0


def test_cvat_tracks_without_a_box_for_each_frame_are_told(tmp_path, caplog):
    boxes = [f'<box frame="{frame}" outside="{outside}" occluded="0" keyframe="1" xtl="1" ytl="2" xbr="3" ybr="4"/>'
             for frame, outside in ((0, 0), (3, 0), (4, 1), (6, 0))]  # fmt: skip
    track = f'<track id="0" label="car">{"".join(boxes)}</track>'
    _write(tmp_path / "annotations.xml", CVAT.format(kind="task", body=track))
    for frame in range(7):
        _picture(tmp_path / f"frame_{frame:06d}.png")
    content = read_content(tmp_path / "annotations.xml", tmp_path)
    assert [each["image_id"] for each in content["annotations"]] == [0, 3, 6] and len(content["images"]) == 7
    assert "2 times an object is between two key frames and has no box on the frame" in caplog.text


# ---------------------------------------------------------------------------------------------- several files


@pytest.mark.parametrize(
    ("tool", "key", "names"),
    [(via, "file", ("one.json", "two.json")), (label_studio, "file", ("one.json", "two.json")),
     (cvat, "file", ("one.xml", "two.xml")), (datumaro, "subset", ("one", "two"))],
)  # fmt: skip
def test_several_files_whose_names_tell_no_half_are_refused_with_the_names(tmp_path, tool, key, names):
    _in_one_folder(tool, key, *names)(tmp_path)
    told = r"several \(one\.?\w*, two\.?\w*\), and their names do not tell .*; "
    with pytest.raises(UserError, match=told) as caught:
        find_halves(tmp_path)
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)
