"""Annotations of a picture with some shapes, as labelling tools write them.

They are built here as the tools build them. Looked up in, and read by this package as they came from, these tools:
labelme 6.3.1 (`labelme._label_file.write_label_file`), the converter of label-studio-sdk 2.1.2 (JSON-MIN and COCO from
tasks), Datumaro 1.13.12 (`Dataset.export` to datumaro, cvat and coco_instances), Supervisely's SDK 6.74.51 (`Project`,
`Annotation`). From the tools' sources: VIA 2.0 (`pack_via_metadata`, and what a project saves), CVAT 2
(`dataset_manager/formats/cvat.py`, whose format is 1.1).

`labelme(root, shapes, picture)` and so on write the annotations of a picture, and return these and the image folder; a
further picture of the same file goes into it. `shape(tool, name, box)` is one of the shapes.
"""

import json
from urllib.parse import quote

from tests.data.data_sets import write_picture

SIZE = WIDTH, HEIGHT = 80, 60
CLASSES = ("car", "dog")


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def _with(file, new, add):
    """The content of a file, to which `add` has added; the new one where it is not there yet."""
    if not file.exists():
        return new
    content = json.loads(file.read_text())
    add(content)
    return content


# ------------------------------------------------------------------------------------------------- files


def labelme(root, shapes, picture="a.jpg", size=SIZE, **changed):
    write_picture(root / picture, size)
    given = [{"group_id": None, "description": "", "flags": {}, "mask": None} | shape for shape in shapes]
    content = {
        "version": "6.3.1", "flags": {}, "shapes": given, "imagePath": picture, "imageData": None,
        "imageHeight": size[1], "imageWidth": size[0],
    }  # fmt: skip
    write((root / picture).with_suffix(".json"), content | changed)
    return root, root


def via(root, shapes, picture="a.jpg", size=SIZE, file="via_project.json", attributes=None):
    write_picture(root / picture, size)
    regions = [{"region_attributes": {"type": name} if isinstance(name, str) else name, "shape_attributes": shape}
               for name, shape in shapes]  # fmt: skip
    key = f"{picture}823"
    entry = {"filename": picture, "size": 823, "regions": regions, "file_attributes": {}}
    declared = {"type": {"type": "text", "description": "", "default_value": ""}} if attributes is None else attributes
    project = {
        "_via_settings": {"ui": {}, "core": {"buffer_size": 18, "filepath": {}, "default_filepath": ""},
                          "project": {"name": "project"}},
        "_via_img_metadata": {key: entry},
        "_via_attributes": {"region": declared, "file": {}},
        "_via_data_format_version": "2.0.10",
        "_via_image_id_list": [key],
    }  # fmt: skip

    def add(content):
        content["_via_img_metadata"][key] = entry
        content["_via_image_id_list"].append(key)

    return write(root / file, _with(root / file, project, add)), root


def label_studio(
    root, results, picture="a.jpg", size=SIZE, file="project-1-at-2024-05-06-07-08-abcdef01.json", **changed
):
    write_picture(root / "images" / picture, size)
    given = [result_of(f"id{index}", size, **result) for index, result in enumerate(results)]
    annotation = {
        "id": 4, "completed_by": 1, "result": given, "was_cancelled": False, "ground_truth": False,
        "created_at": "2024-01-02T00:00:00.000000Z", "updated_at": "2024-01-02T00:00:00.000000Z",
    }  # fmt: skip
    task = {"id": 11, "annotations": [annotation], "file_upload": picture, "drafts": [], "predictions": [],
            "data": {"image": f"/data/upload/1/{quote(picture)}"}, "meta": {}, "inner_id": 1, "project": 1}  # fmt: skip
    tasks = _with(root / file, [], lambda content: None)
    return write(root / file, [*tasks, task | {"id": 11 + len(tasks)} | changed]), root / "images"


def result_of(number, size, type, value, **changed):
    return {
        "original_width": size[0], "original_height": size[1], "image_rotation": 0, "value": value, "id": number,
        "from_name": "label", "to_name": "image", "type": type, "origin": "manual",
    } | changed  # fmt: skip


def percent(x, y, width, height, size=SIZE, **further):
    across, down = 100 / size[0], 100 / size[1]
    return {"x": x * across, "y": y * down, "width": width * across, "height": height * down, "rotation": 0} | further


def supervisely(root, objects, picture="a.jpg", size=SIZE, data_set="ds0", tags=(), classes=CLASSES):
    write_picture(root / data_set / "img" / picture, size)
    content = {
        "description": "", "tags": [{"name": name, "value": None} for name in tags],
        "size": {"height": size[1], "width": size[0]},
        "objects": [{"id": 500 + index, "classId": 7, "description": "", "tags": [], "labelerLogin": "me"} | each
                    for index, each in enumerate(objects)],
    }  # fmt: skip
    write(root / data_set / "ann" / f"{picture}.json", content)
    listed = [{"title": name, "shape": "any", "color": "#0F8A24", "geometry_config": {}, "id": 70 + index, "hotkey": ""}
              for index, name in enumerate(classes)]  # fmt: skip
    meta = {"classes": listed, "tags": [{"name": name, "value_type": "none"} for name in ("train", "val")]}
    write(root / "meta.json", meta | {"projectType": "images"})
    return root, root


def datumaro(root, annotations, picture="a.jpg", size=SIZE, subset="default", classes=CLASSES, **changed):
    write_picture(root / "images" / subset / picture, size)
    labels = [{"name": name, "parent": "", "attributes": []} for name in classes]
    given = [{"id": 0, "attributes": {}, "group": 0, "label_id": 0, "z_order": 0} | each for each in annotations]
    item = {"id": picture.rpartition(".")[0], "annotations": given, "image": {"path": picture, "size": [*size[::-1]]}}
    item |= changed
    content = {
        "dm_format_version": "1.0", "media_type": 2, "infos": {},
        "categories": {"label": {"labels": labels, "label_groups": [], "attributes": []}}, "items": [item],
    }  # fmt: skip
    file = root / "annotations" / f"{subset}.json"
    return write(file, _with(file, content, lambda content: content["items"].append(item))), root / "images" / subset


def cvat_xml(body, kind="task", classes=CLASSES, size=SIZE):
    """A file of CVAT; `size` is that of a video."""
    further = "<color>#c06060</color><type>any</type><attributes></attributes>"
    labels = "".join(f"<label><name>{name}</name>{further}</label>" for name in classes)
    said = size and f"<original_size><width>{size[0]}</width><height>{size[1]}</height></original_size>"
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n'
        f"<meta><{kind}><id>4</id><name>streets</name><size>2</size><mode>annotation</mode><flipped>False</flipped>"
        f"<labels>{labels}</labels>{said or ''}</{kind}><dumped>2024-01-01 00:00:00.000000+00:00</dumped></meta>\n"
        f"{body}\n</annotations>\n"
    )


def cvat(root, shapes, picture="a.jpg", size=SIZE, file="annotations.xml", classes=CLASSES):
    write_picture(root / "images" / picture, size)
    image = f'<image id="{{}}" name="{picture}" width="{size[0]}" height="{size[1]}">{"".join(shapes)}</image>'
    place = root / file
    if not place.exists():
        return write(place, cvat_xml(image.format(3), classes=classes)), root / "images"
    text = place.read_text()
    image = image.format(3 + text.count("<image"))
    return write(place, text.replace("\n</annotations>", f"\n{image}\n</annotations>")), root / "images"


# ------------------------------------------------------------------------------------------------- shapes


def shape(tool, name, box, outline=None, size=SIZE, classes=CLASSES, is_crowd=False):
    """A shape as the tool keeps it: the box x, y, width, height, or the polygon x, y, x, y, ... that it bounds.

    Crowds are other than objects to Datumaro and CVAT alone.
    """
    flat = outline or []
    corners = [[x, y] for x, y in zip(flat[::2], flat[1::2], strict=True)]
    return _SHAPES[tool](name, box, corners, size=size, classes=classes, is_crowd=is_crowd)


def _labelme_shape(name, box, corners, **_):
    x, y, width, height = box
    if corners:
        return {"label": name, "points": corners, "shape_type": "polygon"}
    return {"label": name, "points": [[x + width, y + height], [x, y]], "shape_type": "rectangle"}


def _via_shape(name, box, corners, **_):
    if corners:
        xs, ys = map(list, zip(*corners, strict=True))
        return name, {"name": "polygon", "all_points_x": xs, "all_points_y": ys}
    return name, {"name": "rect"} | dict(zip(("x", "y", "width", "height"), box, strict=True))


def _label_studio_shape(name, box, corners, size, **_):
    if corners:
        points = [[x * 100 / size[0], y * 100 / size[1]] for x, y in corners]
        return {"type": "polygonlabels", "value": {"points": points, "closed": True, "polygonlabels": [name]}}
    return {"type": "rectanglelabels", "value": percent(*box, size, rectanglelabels=[name])}


def exterior(*points):
    return {"exterior": list(points), "interior": []}


def _supervisely_shape(name, box, corners, **_):
    """The second corner of a rectangle is its last pixel."""
    x, y, width, height = box
    kind = "polygon" if corners else "rectangle"
    points = exterior(*(corners or [[x, y], [x + width - 1, y + height - 1]]))
    return {"classTitle": name, "geometryType": kind, "points": points}


def _datumaro_shape(name, box, corners, classes, is_crowd, **_):
    points = [side for corner in corners for side in corner]
    drawn = {"type": "polygon", "points": points} if points else {"type": "bbox", "bbox": [*box]}
    return drawn | {"label_id": classes.index(name), "attributes": {"is_crowd": is_crowd}}


def _cvat_shape(name, box, corners, is_crowd, **_):
    inside = f'<attribute name="is_crowd">{str(is_crowd).lower()}</attribute>'
    tag, place = cvat_place(box, corners)
    return f'<{tag} label="{name}" source="manual" occluded="0" {place} z_order="0">{inside}</{tag}>'


def cvat_place(box, corners):
    """The tag of a shape, and the attributes that say where it is."""
    x, y, width, height = box
    if corners:
        return "polygon", 'points="{}"'.format(";".join(f"{across:.2f},{down:.2f}" for across, down in corners))
    return "box", f'xtl="{x:.2f}" ytl="{y:.2f}" xbr="{x + width:.2f}" ybr="{y + height:.2f}"'


_SHAPES = {
    labelme: _labelme_shape, via: _via_shape, label_studio: _label_studio_shape, supervisely: _supervisely_shape,
    datumaro: _datumaro_shape, cvat: _cvat_shape,
}  # fmt: skip
