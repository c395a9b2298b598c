"""Files of labelling tools, read as COCO's: their shapes, and what each says in its own way.

`test_readers` holds whole data sets of theirs to all other formats.
"""

import base64
import io
import json
import math
import zlib

import numpy as np
import pytest
from PIL import Image

from keras_fpn.console.errors import UserError
from keras_fpn.data.formats import FORMATS, find_halves, read_content
from keras_fpn.data.instances import read_instances
from keras_fpn.ops import masks
from tests.data import disguises
from tests.data.data_sets import write_picture
from tests.data.labelling_tools import (
    HEIGHT,
    SIZE,
    WIDTH,
    cvat,
    cvat_xml,
    datumaro,
    exterior,
    label_studio,
    labelme,
    percent,
    result_of,
    shape,
    supervisely,
    via,
    write,
)  # fmt: skip
from tests.data.tool_data_sets import TOOLS, cvat_video, in_one_folder


def _picture(path, orientation=None):
    exif = Image.Exif()
    if orientation:
        exif[274] = orientation
    write_picture(path, SIZE, exif=exif)


def _png(mask, packed=False):
    file = io.BytesIO()
    Image.fromarray(np.array(mask, np.uint8)).save(file, "PNG")
    data = zlib.compress(file.getvalue()) if packed else file.getvalue()
    return base64.b64encode(data).decode()


DOG = [[8, 6], [16, 6], [16, 18]]
# A car [10, 20, 30, 30], a dog with the corners above, and a car [5, 6, 20, 10], as each tool keeps them; how the first
# two are read.
SHAPES = {
    tool: (
        shape(tool, "car", [10, 20, 30, 30]),
        shape(tool, "dog", [8, 6, 8, 12], sum(DOG, [])),
        shape(tool, "car", [5, 6, 20, 10]),
    )
    for tool in (labelme, via, label_studio, supervisely, datumaro, cvat)
}
WANTED = [("a.jpg", "car", [10, 20, 30, 30]), ("a.jpg", "dog", [8, 6, 8, 12])]


def objects_of(content):
    """`(name of the picture, class, box)` of each object, sorted."""
    files = {image["id"]: image["file_name"].rpartition("/")[2] for image in content["images"]}
    names = {category["id"]: category["name"] for category in content["categories"]}
    items = [(files[each["image_id"]], names[each["category_id"]], each["bbox"]) for each in content["annotations"]]
    return sorted((file, name, [round(side, 6) for side in box]) for file, name, box in items)


@pytest.mark.parametrize("disguise", disguises.OF_FOLDERS)
def test_every_tool_as_other_machines_leave_its_files(tmp_path, disguise, caplog):
    with disguises.quiet(caplog):
        for number, (_, write_all) in enumerate(TOOLS.values()):
            root = tmp_path / str(number) / "data"
            root.mkdir(parents=True)
            write_all(root)
            given = find_halves(root)[1]
            wanted = {half: _regardless_of_letters(read_content(*place)) for half, place in given.items()}
            changed = find_halves(disguise(root))[1]
            assert {half: _regardless_of_letters(read_content(*place)) for half, place in changed.items()} == wanted


def _regardless_of_letters(content):
    return [(file.lower(), name, box) for file, name, box in objects_of(content)]


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
                       "value": percent(40, 30, 20, 12, rotation=90, rectanglelabels=["car"])}, [28, 30, 12, 20]),
    "Label Studio ellipse": (
        label_studio, {"type": "ellipselabels", "value": {"x": 50, "y": 50, "radiusX": 10, "radiusY": 10, "rotation": 0,
                                                          "ellipselabels": ["car"]}}, [32, 24, 16, 12]),
    "Supervisely rectangle, in whole pixels": (
        supervisely, {"classTitle": "car", "geometryType": "rectangle", "points": exterior([39, 49], [10, 20])},
        [10, 20, 30, 30]),
    "Supervisely rectangle, in fractions": (
        supervisely, {"classTitle": "car", "geometryType": "rectangle", "points": exterior([10.5, 20], [40, 49.25])},
        [10.5, 20, 29.5, 29.25]),
    "Supervisely rectangle to the border": (
        supervisely, {"classTitle": "car", "geometryType": "rectangle", "points": exterior([10, 20], [80, 60])},
        [10, 20, 70, 40]),
    "Supervisely rectangle of an old project": (
        supervisely, {"classTitle": "car", "points": exterior([10, 20], [39, 49])}, [10, 20, 30, 30]),
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
        {"classTitle": name, "geometryType": "polygon", "points": exterior(*points), "instance": "c0ffee"}
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
         {"type": "rectangle", "value": percent(1, 2, 3, 4)},
         {"type": "rectanglelabels", "value": percent(1, 2, 3, 4, rectanglelabels=["car"]), "image_rotation": 90}],
        "brush masks (1), key points (1), shapes drawn on a picture that was turned in the tool (1), shapes without a"
        " label (1)",
    ),
    "Supervisely": (
        supervisely,
        [{"classTitle": "car", "geometryType": "point", "points": exterior([1, 2])},
         {"classTitle": "car", "geometryType": "line", "points": exterior([1, 2], [3, 4])},
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
    assert objects_of(read_content(*half)) == [WANTED[0]]
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
        label_studio, {"type": "rectanglelabels", "value": percent(1, 2, 3, 4, rectanglelabels=[5])},
        "its label 5 is no name"),
    "Supervisely, no class": (
        supervisely, {"geometryType": "rectangle", "points": exterior([1, 2], [3, 4])},
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


# What a tool would never write, where it is looked at before an entry is read: {name: (tool, shape, file, change)}.
_OF_ANOTHER_KIND = {
    "VIA, attributes": (via, ("car", _RECT), "via_project.json",
                        lambda content: content["_via_attributes"].update(region={"type": "text"})),
    "VIA, order": (via, ("car", _RECT), "via_project.json", lambda content: content.update(_via_image_id_list=5)),
    "Supervisely, tags of the project": (supervisely, SHAPES[supervisely][0], "meta.json",
                                         lambda content: content.update(tags=5)),
    "Supervisely, tags": (supervisely, SHAPES[supervisely][0], "ds0/ann/a.jpg.json",
                          lambda content: content.update(tags=5)),
    "Datumaro, items": (datumaro, SHAPES[datumaro][0], "annotations/default.json",
                        lambda content: content.update(items=5)),
    "labelme, type": (labelme, SHAPES[labelme][0], "a.json",
                      lambda content: content["shapes"][0].update(shape_type=["rectangle"])),
}  # fmt: skip


@pytest.mark.parametrize("name", _OF_ANOTHER_KIND)
def test_values_of_another_kind_are_passed_over_or_told_in_one_line(tmp_path, name):
    tool, shape, file, change = _OF_ANOTHER_KIND[name]
    tool(tmp_path, [shape])
    content = json.loads((tmp_path / file).read_text())
    change(content)
    write(tmp_path / file, content)
    try:
        known, halves = find_halves(tmp_path)
        (half,) = halves.values()
        assert len(read_instances(*half).annotations) == 1
    except UserError as error:
        assert "\n" not in str(error) and str(tmp_path) in str(error)
        assert name in ("Datumaro, items", "labelme, type")


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
    write(tmp_path / "settings.json", {"shapes": 3})
    assert objects_of(read_content(tmp_path, tmp_path)) == WANTED
    assert caplog.messages == [
        f"{tmp_path}: 1 of 2 JSON files are passed over, as they are not labelme's, first settings.json"
    ]


@pytest.mark.parametrize("content", ["[1, 2]", "5", "{}"])
def test_a_json_file_that_comes_before_those_of_labelme_tells_no_folder(tmp_path, content):
    labelme(tmp_path, [SHAPES[labelme][0]])
    write(tmp_path / "_index.json", content)
    known, halves = find_halves(tmp_path)
    assert known.name == "labelme" and halves["all"].images == str(tmp_path)
    assert len(objects_of(read_content(*halves["all"]))) == 1


def test_one_labelme_file_is_annotations_too(tmp_path):
    labelme(tmp_path, SHAPES[labelme][:2])
    assert objects_of(read_content(tmp_path / "a.json", tmp_path)) == WANTED
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
        write(folder / "project.json", content)
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
    write(file, content)
    with pytest.raises(UserError, match="'a.jpg' and '/elsewhere/a.jpg' would both be 'a.jpg' of the image folder; "):
        read_content(file, images)


# ---------------------------------------------------------------------------------------------- Label Studio


def test_the_annotation_of_label_studio_that_was_made_last_counts(tmp_path, caplog):
    file, images = label_studio(tmp_path, [SHAPES[label_studio][0]])
    (task,) = json.loads(file.read_text())
    (first,) = task["annotations"]
    later = first | {"id": 5, "created_at": "2024-02-01T00:00:00Z",
                     "result": [result_of("x", SIZE, **SHAPES[label_studio][1])]}  # fmt: skip
    cancelled = first | {"id": 6, "created_at": "2024-03-01T00:00:00Z", "was_cancelled": True, "result": []}
    nothing = task | {"id": 12, "annotations": [first | {"result": []}], "data": {"image": "/data/upload/1/b.jpg"}}
    untouched = task | {"id": 13, "annotations": [cancelled], "data": {"image": "/data/upload/1/c.jpg"}}
    _picture(images / "b.jpg")
    write(file, [task | {"annotations": [later, first, cancelled]}, nothing, untouched])
    content = read_content(file, images)
    assert objects_of(content) == [("a.jpg", "dog", [8, 6, 8, 12])]
    assert [image["id"] for image in content["images"]] == [11, 12]  # the tool's; the second has no objects
    assert [message.partition(": ")[2] for message in caplog.messages] == [
        "1 of 3 tasks are left out: nobody labelled them, or all cancelled",
        "1 tasks have several annotations; the one made last counts",
    ]
    write(file, [untouched])
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
    box, label = percent(10, 20, 30, 30), {"labels": ["car"], **percent(10, 20, 30, 30)}
    results = [{"type": "rectangle", "value": box}, {"type": "labels", "value": label},
               {"type": "choices", "value": {"choices": ["street"]}}]  # fmt: skip
    file, images = label_studio(tmp_path, results)
    (task,) = json.loads(file.read_text())
    for result in task["annotations"][0]["result"]:
        result["id"] = "same"
    task["completions"] = task.pop("annotations")
    write(file, [task])
    assert objects_of(read_content(file, images)) == [WANTED[0]]


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


def test_supervisely_images_without_the_tag_of_a_half_are_counted(tmp_path, caplog):
    for name, tags in (("a.jpg", ["train"]), ("b.jpg", ["val"]), ("c.jpg", []), ("d.jpg", ["train", "val"])):
        supervisely(tmp_path, [SHAPES[supervisely][0]], name, tags=tags)
    _, halves = find_halves(tmp_path)
    assert [image["file_name"] for image in read_content(*halves["train"])["images"]] == ["ds0/img/a.jpg"]
    assert caplog.messages == [
        f"{tmp_path}@train: 2 of 4 images are in no half and left out, as no tag or several tell it, first"
        " ds0/ann/c.jpg.json; tag them train or val"
    ]


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
    file = write(tmp_path / "annotations.xml", content)
    with pytest.raises(UserError, match=told) as caught:
        read_content(file, tmp_path)
    assert str(file) in str(caught.value) and "\n" not in str(caught.value)


def test_cvat_tracks_need_their_frames(tmp_path):
    cvat_video(tmp_path)
    file, images = tmp_path / "train" / "annotations.xml", tmp_path / "train" / "images"
    (images / "frame_000001.PNG").unlink()
    with pytest.raises(UserError, match=r"frame 1 is not in [^()]*; export the annotations with all images"):
        read_content(file, images)
    with pytest.raises(UserError, match="has no frame_000000.PNG and so on; export it with its images"):
        read_content(file, tmp_path)
    items = read_content(tmp_path / "val" / "annotations.xml", tmp_path / "val" / "images")["annotations"]
    assert [item["track_id"] for item in items] == [0, 1, 2, 3]


def test_cvat_tracks_without_a_box_for_each_frame_are_told(tmp_path, caplog):
    boxes = [f'<box frame="{frame}" outside="{outside}" occluded="0" keyframe="1" xtl="1" ytl="2" xbr="3" ybr="4"/>'
             for frame, outside in ((0, 0), (3, 0), (4, 1), (6, 0))]  # fmt: skip
    track = f'<track id="0" label="car">{"".join(boxes)}</track>'
    write(tmp_path / "annotations.xml", cvat_xml(track))
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
    in_one_folder(tool, key, *names)(tmp_path)
    told = r"several \(one\.?\w*, two\.?\w*\), and their names do not tell .*; "
    with pytest.raises(UserError, match=told) as caught:
        find_halves(tmp_path)
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)
