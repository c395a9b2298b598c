"""`CONTENT` of `data_sets` as labelling tools write it: their own formats, and their exports in COCO's."""

import csv
import json

from tests.data import labelling_tools
from tests.data.data_sets import CONTENT, CROWDS, NAMES, OUTLINES, instances, write_picture
from tests.data.labelling_tools import cvat, datumaro, label_studio, labelme, supervisely, via, write


def _pictures(tool, half):
    """(name, width and height, shapes) of each picture of a half."""
    for name, (width, height, objects) in CONTENT[half].items():
        shapes = []
        for label, *box in objects:
            key = name, tuple(box)
            given = {"size": (width, height), "classes": NAMES, "is_crowd": key in CROWDS}
            shapes.append(labelling_tools.shape(tool, label, box, OUTLINES.get(key), **given))
        yield name, (width, height), shapes


def in_folders(tool, **options):
    """Each half in a folder of its own, as the tool writes it for one data set."""

    def write_halves(root):
        for half in CONTENT:
            for name, size, shapes in _pictures(tool, half):
                tool(root / half, shapes, name, size, **options)

    return write_halves


def in_one_folder(tool, key, train, val, **options):
    """Both halves side by side, each under a name of its own."""

    def write_halves(root):
        for half, given in (("train", train), ("val", val)):
            for name, size, shapes in _pictures(tool, half):
                tool(root, shapes, name, size, **{key: given}, **options)

    return write_halves


def labelme_3(root):
    """labelme 3 has colours, and no "shape_type" of a polygon, "group_id" or size; paths are those of Windows."""
    old = {"version": "3.16.7", "lineColor": [0, 255, 0, 128], "fillColor": [255, 0, 0, 128], "flags": {}}
    for half in CONTENT:
        for name, size, shapes in _pictures(labelme, half):
            for shape in shapes:
                if shape["shape_type"] == "polygon":
                    del shape["shape_type"]
            write_picture(root / half / name, size)
            content = old | {"shapes": shapes, "imagePath": f"..\\{half}\\{name}", "imageData": None}
            write((root / half / name).with_suffix(".json"), content)


def labelme_apart(root):
    """The JSON files in a folder beside that of the pictures."""
    for half in CONTENT:
        for name, size, shapes in _pictures(labelme, half):
            labelme(root / half / "images", shapes, name, size, imagePath=f"../images/{name}")
        (root / half / "annotations").mkdir()
        for file in (root / half / "images").glob("*.json"):
            file.rename(root / half / "annotations" / file.name)


def via_1(root):
    """VIA 1: the images alone, regions under numbers, and more of each file."""
    in_folders(via, file="via_region_data.json")(root)
    for half in CONTENT:
        file = root / half / "via_region_data.json"
        content = json.loads(file.read_text())["_via_img_metadata"]
        for key, entry in content.items():
            regions = {str(index): region for index, region in enumerate(entry["regions"])}
            content[key] = {"fileref": "", "base64_img_data": ""} | entry | {"regions": regions}
        write(file, content)


def via_csv(root):
    header = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes\n"
    for half in CONTENT:
        rows = []
        for name, size, shapes in _pictures(via, half):
            write_picture(root / name, size)
            rows += [(name, 823, "{}", len(shapes), index, json.dumps(shape), json.dumps({"type": label}))
                     for index, (label, shape) in enumerate(shapes)]  # fmt: skip
            rows += [] if shapes else [(name, 823, "{}", 0, 0, "{}", "{}")]
        with open(root / f"via_{half}.csv", "w", newline="") as stream:
            stream.write(header)
            csv.writer(stream).writerows(rows)


def label_studio_min(root):
    """Its pictures as they were called before they were uploaded."""
    for half in CONTENT:
        entries = []
        for number, (name, size, results) in enumerate(_pictures(label_studio, half)):
            write_picture(root / "images" / name, size)
            sides = {"original_width": size[0], "original_height": size[1]}
            entries.append({
                "image": f"/data/upload/1/0a1b2c3d-{name}", "id": 11 + number, "annotator": 1, "annotation_id": 4,
                "label": [each["value"] | sides for each in results], "created_at": "2024-01-02T00:00:00Z",
                "updated_at": "", "lead_time": 9.1,
            })  # fmt: skip
        write(root / f"{half}.json", entries)


def supervisely_tags(root):
    for half in CONTENT:
        for name, size, objects in _pictures(supervisely, half):
            supervisely(root, objects, name, size, tags=[half], classes=NAMES)


def cvat_project(root):
    """A project: one file of all subsets, whose pictures lie in folders of their names."""
    body = ""
    for half, subset in (("train", "Train"), ("val", "Validation")):
        for number, (name, size, shapes) in enumerate(_pictures(cvat, half)):
            write_picture(root / "images" / subset / name, size)
            body += f'<image id="{number}" name="{name}" subset="{subset}" task_id="9" width="{size[0]}"'
            body += f' height="{size[1]}">{"".join(shapes)}</image>'
    write(root / "annotations.xml", labelling_tools.cvat_xml(body, "project", NAMES))


def frame_of(name):
    """The frame of a video that a picture is."""
    number = next([*pictures].index(name) for pictures in CONTENT.values() if name in pictures)
    return f"frame_{number:06d}.PNG"


def cvat_video(root):
    """Tracks of videos, whose frames are those of the images folder; each object is on one frame and leaves.

    The frames are the pictures to the last byte, whatever their name says, so that nothing is encoded anew, and the
    file says no size of the video, as they have several.
    """
    shape = '<{tag} frame="{frame}" keyframe="1" outside="{outside}" occluded="0" {place} z_order="0">{inside}</{tag}>'
    for half, pictures in CONTENT.items():
        tracks = []
        for frame, (name, (width, height, objects)) in enumerate(pictures.items()):
            picture = root / half / "images" / name
            write_picture(picture, (width, height))
            picture.rename(picture.with_name(frame_of(name)))
            for label, *box in objects:
                flat = OUTLINES.get((name, tuple(box)), [])
                corners = list(zip(flat[::2], flat[1::2], strict=True))
                tag, place = labelling_tools.cvat_place(box, corners)
                is_crowd = str((name, tuple(box)) in CROWDS).lower()
                inside = f'<attribute name="is_crowd">{is_crowd}</attribute>'
                seen = [shape.format(tag=tag, frame=frame + outside, outside=outside, place=place, inside=inside)
                        for outside in (0, 1)]  # fmt: skip
                tracks.append(f'<track id="{len(tracks)}" label="{label}">{"".join(seen)}</track>')
        write(root / half / "annotations.xml", labelling_tools.cvat_xml("\n".join(tracks), classes=NAMES, size=None))


# {how it was written: (name of the format, function that writes it below a folder)}
TOOLS = {
    "labelme": ("labelme", in_folders(labelme)),
    "labelme of version 3": ("labelme", labelme_3),
    "labelme apart from pictures": ("labelme", labelme_apart),
    "VIA projects": ("via", in_folders(via)),
    "VIA projects side by side": ("via", in_one_folder(via, "file", "train.json", "val.json")),
    "VIA 1": ("via", via_1),
    "VIA CSV": ("via", via_csv),
    "Label Studio": ("label-studio", in_folders(label_studio)),
    "Label Studio JSON-MIN": ("label-studio", label_studio_min),
    "Supervisely data sets": ("supervisely", in_one_folder(supervisely, "data_set", "train", "val", classes=NAMES)),
    "Supervisely tags": ("supervisely", supervisely_tags),
    "Datumaro": ("datumaro", in_one_folder(datumaro, "subset", "train", "val", classes=NAMES)),
    "CVAT": ("cvat", in_folders(cvat, classes=NAMES)),
    "CVAT project": ("cvat", cvat_project),
    "CVAT video": ("cvat", cvat_video),
}  # fmt: skip

# --------------------------------------------------------------------------------------------- exports as COCO

# Annotation files, names of a picture in each and image folders. Looked up in files of Label Studio's converter
# (label-studio-sdk 2.1.2) and Datumaro 1.13.12, and in the documentation or sources of the others.
EXPORTS = {
    "Label Studio": (["result.json"], ["images/0a1b2c3d-a.jpg"], ["."]),
    "Label Studio, Windows": (["result.json"], [r"images\0a1b2c3d-a.jpg"], ["."]),
    "CVAT, not divided": (["annotations/instances_default.json"], ["a.jpg"], ["images/default"]),
    "CVAT, pictures in one folder": (["annotations/instances_default.json"], ["a.jpg"], ["images"]),
    "CVAT, subsets": (
        [f"annotations/instances_{name}.json" for name in ("Train", "Validation", "Test")], ["a.jpg"] * 3,
        ["images/Train", "images/Validation", "images/Test"],
    ),
    "Roboflow": (
        ["train/_annotations.coco.json", "valid/_annotations.coco.json", "test/_annotations.coco.json"],
        ["a.jpg"] * 3, ["train", "valid", "test"],
    ),
    "Roboflow, not divided": (["_annotations.coco.json"], ["a.jpg"], ["."]),
    "labelme2coco of labelme": (["annotations.json"], ["JPEGImages/a.jpg"], ["."]),
    "labelme2coco of PyPI": (["train.json", "val.json"], ["a.jpg", "b.jpg"], [".", "."]),
    "Datumaro": (
        ["annotations/instances_train.json", "annotations/instances_val.json"], ["a/b one.jpg", "c.jpg"],
        ["images/train", "images/val"],
    ),
    "Supervisely, a data set": (["ds0/annotations/instances.json"], ["a.jpg"], ["ds0/images"]),
    "Supervisely, data sets": (
        ["train/annotations/instances.json", "val/annotations/instances.json"], ["a.jpg"] * 2,
        ["train/images", "val/images"],
    ),
    "Supervisely, ann and img": (["ds0/ann/instances.json"], ["a.jpg"], ["ds0/img"]),
    "VIA": (["via_export_coco.json"], ["a.jpg"], ["."]),
    "FiftyOne": (["labels.json"], ["a.jpg"], ["data"]),
    "FiftyOne, splits": (["train/labels.json", "validation/labels.json"], ["a.jpg"] * 2,
                         ["train/data", "validation/data"]),
    "names of halves": (["annotations/train.json", "annotations/val.json"], ["a.jpg"] * 2, ["train", "val"]),
    "names of halves, one folder": (["annotations/train.json", "annotations/val.json"], ["a.jpg", "b.jpg"],
                                    ["images", "images"]),
    "names of halves at the top": (["train.json", "val.json"], ["a.jpg", "b.jpg"], ["images", "images"]),
    "names of halves and folders": (["labels_train.json", "labels_valid.json"], ["a.jpg"] * 2,
                                    ["images/train", "images/valid"]),
    "paths from the top": (["annotations/train.json", "annotations/val.json"],
                           ["images/train/a.jpg", "images/val/a.jpg"], [".", "."]),
    "COCO's names and one folder": (["annotations/instances_train.json", "annotations/instances_val.json"],
                                    ["a.jpg", "b.jpg"], ["images", "images"]),
}  # fmt: skip


def exported(files, names, images):
    """A function that writes an export of two halves below a folder."""

    def write_halves(root):
        for half, file, name, folder in zip(CONTENT, files, names, images, strict=False):
            inside = name.rpartition("/")[0]
            inside = f"{inside}/" if inside else ""
            write(root / file, instances(half, inside))
            for picture, (width, height, _) in CONTENT[half].items():
                write_picture(root / folder / inside / picture, (width, height))

    return write_halves
