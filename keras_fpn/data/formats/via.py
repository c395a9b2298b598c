"""VGG Image Annotator (VIA) 1 and 2: project files, annotations as JSON, and annotations as CSV."""

import csv
import json
import logging
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_fpn.console.errors import UserError
from keras_fpn.console.naming import nearest
from keras_fpn.data.entry_values import text_of
from keras_fpn.data.formats import half_names, outlines
from keras_fpn.data.formats.collected import Collected
from keras_fpn.data.formats.counted import counted
from keras_fpn.data.formats.entries import objects_of, read_json, reading, text
from keras_fpn.data.formats.format import Half, JsonFormat
from keras_fpn.data.formats.half_files import find_files
from keras_fpn.data.formats.half_names import half_in
from keras_fpn.data.formats.json_files import begins_as, json_files
from keras_fpn.data.formats.outlines import Outline
from keras_fpn.data.formats.picture_places import image_folder, name_inside, places_beside, size_of
from keras_fpn.data.formats.siblings import class_names
from keras_fpn.data.listing import names_ending
from keras_fpn.data.objects import short

log = logging.getLogger(__name__)

_HEAD = re.compile(
    rb'\s*\{.*?"_via_(settings|img_metadata|attributes|data_format_version)"'
    rb'|\s*\{\s*"(?:[^"\\]|\\.)*"\s*:\s*\{\s*"(fileref|filename|size|regions|file_attributes)"', re.DOTALL
)  # fmt: skip
_ENDINGS = (".json", ".csv")
_CSV = re.compile(rb"#?\s*filename,\s*file_size,\s*file_attributes,\s*region_count,\s*region_id,", re.IGNORECASE)
_WITHOUT_BOX = {"point": "points", "polyline": "polylines"}
_CHOICES = ("dropdown", "radio", "checkbox", "image")  # the types of attribute that VIA's own COCO export writes
_ALONE = "object"  # the class where no region has any attribute


class Via(JsonFormat):
    """VIA's files. The class of a region is the value of one of its attributes.

    It is the only attribute that regions have, or the only one with a choice of values; where several could be meant,
    FILE@ATTRIBUTE names one. Classes are in the order of the project's list, or of their names.
    """

    name, title = "via", "VGG Image Annotator (VIA)"
    layout = "a VIA project or export (.json, .csv) beside the images or images/, also in train/ and val/"

    def find(self, folder: Path) -> dict[str, Half] | None:
        """See `AnnotationFormat`."""
        found = find_files(folder, _files_in, f"files of {self.title}")
        return None if found is None else {half: self._half(file) for half, file in found.items()}

    def recognises(self, annotations: str) -> bool:
        """See `AnnotationFormat`: a CSV file of VIA, or any of its files with an attribute named."""
        file, attribute = half_names.split(annotations, _ENDINGS)
        if attribute is not None:
            return _is_via(Path(file))
        return file.lower().endswith(".csv") and begins_as(Path(file), _CSV)

    def matches(self, content: Any) -> bool:
        """See `JsonFormat`."""
        if not isinstance(content, dict):
            return False
        if isinstance(content.get("_via_img_metadata"), dict):
            return True
        entries = list(content.values())
        return bool(entries) and all(isinstance(each, dict) and "filename" in each and "regions" in each
                                     for each in entries)  # fmt: skip

    def check_there(self, annotations: str) -> None:
        """See `AnnotationFormat`."""
        super().check_there(half_names.split(annotations, _ENDINGS)[0])

    def images_of(self, annotations: str) -> str | None:
        """See `AnnotationFormat`."""
        return self._half(Path(half_names.split(annotations, _ENDINGS)[0])).images

    def files(self, annotations: str) -> list[Path]:
        """See `AnnotationFormat`."""
        return [Path(half_names.split(annotations, _ENDINGS)[0])]

    def read(self, annotations: str, images: str) -> dict[str, Any]:
        """See `AnnotationFormat`."""
        file, _ = half_names.split(annotations, _ENDINGS)
        return self.from_json(_content(Path(file)), annotations, images)

    def from_json(self, content: Any, annotations: str, images: str) -> dict[str, Any]:
        """See `JsonFormat`."""
        file, attribute = half_names.split(annotations, _ENDINGS)
        classes = _Classes(file, content, attribute)
        collected = Collected(file, [(None, name) for name in classes.listed])
        for key, entry in counted(_entries(file, content), self.name, "images"):
            with reading(file, f"image {short(key)}"):
                _add(collected, classes, entry, key, images)
        return collected.content(class_names(self, file, lambda path: _names(path, file, content, classes)))

    def _half(self, file: Path) -> Half:
        content = _content(file)
        named = [str(entry.get("filename")) for _, entry in _entries(str(file), content)]
        half = half_in(file.stem) or half_in(file.parent.name)
        return Half(str(file), str(image_folder(places_beside(file, half), named)))


def _files_in(folder: Path) -> Iterator[Path]:
    yield from (file for file in json_files(folder) if _is_via(file))
    yield from (folder / name for name in names_ending(folder, ".csv") if begins_as(folder / name, _CSV))


def _is_via(file: Path) -> bool:
    return begins_as(file, _CSV if file.suffix.lower() == ".csv" else _HEAD)


# ------------------------------------------------------------------------------------------------ the file


def _content(file: Path) -> Any:
    return _from_csv(file) if file.suffix.lower() == ".csv" else read_json(file)


def _entries(source: str, content: Any) -> list[tuple[str, dict]]:
    """The images by their keys, in the order that VIA shows them in."""
    if not isinstance(content, dict) or not isinstance(images := content.get("_via_img_metadata", content), dict):
        raise UserError(f"{source}: is no file of VIA; export the annotations again")
    listed = content.get("_via_image_id_list")
    order = [key for key in listed if isinstance(key, str) and key in images] if isinstance(listed, list) else []
    keys = list(dict.fromkeys([*order, *images]))
    wrong = next((key for key in keys if not isinstance(images[key], dict)), None)
    if wrong is not None:
        raise UserError(f"{source}: image {short(wrong)} is no object; correct or remove it")
    return [(key, images[key]) for key in keys]


def _regions(entry: dict) -> list[dict]:
    """The regions of an image: a list, or in VIA 1 an object with numbers as keys."""
    regions = entry.get("regions")
    return objects_of(list(regions.values()) if isinstance(regions, dict) else regions, '"regions"')


def _from_csv(file: Path) -> dict[str, Any]:
    """The rows of a CSV file as VIA's JSON has them."""
    content: dict[str, Any] = {}
    try:
        with open(file, newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.reader(stream))
    except OSError as error:
        raise UserError(f"{file}: cannot read the annotation file ({error.strerror})") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file}: not a whole CSV file ({error}); export it again") from None
    for number, row in enumerate(rows[1:], 2):
        if not row:
            continue
        with reading(str(file), f"line {number}"):
            name, size, attributes, count, _, shape, region = row[:7]
            entry = content.setdefault(name + size, {"filename": name, "size": size, "regions": []})
            entry["file_attributes"] = json.loads(attributes)
            if count != "0":
                entry["regions"].append(
                    {"shape_attributes": json.loads(shape), "region_attributes": json.loads(region)}
                )
    return content


# ------------------------------------------------------------------------------------------------ classes


class _Classes:
    """Which attribute of the regions says their class, and the name that a value stands for.

    Attributes:
        attribute: None where no region has any.
        listed: the names in the order of the project's list; empty where it has none.
    """

    def __init__(self, source: str, content: Any, attribute: str | None):
        declared = content.get("_via_attributes") or {} if "_via_img_metadata" in content else {}
        region = declared.get("region") if isinstance(declared, dict) else None
        given = region.items() if isinstance(region, dict) else ()
        self._declared: Mapping[str, Any] = {name: each for name, each in given if isinstance(each, dict)}
        self._source = source
        used = self._used(content)
        if attribute is not None and attribute not in used:
            raise UserError(f"{source}: no region has an attribute {attribute!r}{nearest(attribute, used)}")
        self.attribute = self._chosen(used) if attribute is None else attribute
        options = self._declared.get(self.attribute, {}).get("options") if self.attribute else None
        self._options = options if isinstance(options, dict) else {}
        self.listed = list(dict.fromkeys(self._shown(value) for value in self._options))

    def _used(self, content) -> list[str]:
        """The attributes that the project declares or a region has."""
        used = dict.fromkeys(self._declared)
        for _, entry in _entries(self._source, content):
            with reading(self._source, f"image {short(entry.get('filename'))}"):
                for region in _regions(entry):
                    used |= dict.fromkeys(region.get("region_attributes") or {})
        return list(used)

    def _chosen(self, used: Sequence[str]) -> str | None:
        choices = [name for name in used if self._declared.get(name, {}).get("type") in _CHOICES]
        for names in (used, choices):
            if len(names) == 1:
                if len(used) > 1:
                    others = ", ".join(short(name) for name in used if name != names[0])
                    log.warning(
                        "%s: the class of a region is its attribute %s, the only one with a choice of values; not %s",
                        self._source, short(names[0]), others,
                    )  # fmt: skip
                return names[0]
        if not used:
            log.warning("%s: no region has an attribute; all are of one class, %r", self._source, _ALONE)
            return None
        raise UserError(
            f"{self._source}: regions have several attributes ({', '.join(map(short, used))}), and any could say their"
            f" class; name one behind the file: {self._source}@{used[0]}"
        )

    def of(self, region: dict) -> str | None:
        """The class of a region; None where its attribute is not filled in."""
        if self.attribute is None:
            return _ALONE
        value = (region.get("region_attributes") or {}).get(self.attribute)
        if isinstance(value, dict):  # check boxes: {"car": true}
            ticked = [each for each, is_on in value.items() if is_on]
            value = ticked[0] if len(ticked) == 1 else None
        return self._shown(value) or None

    def _shown(self, value) -> str:
        """The description of a value where the project has one."""
        key = text_of(value)
        return text_of(self._options.get(key)) or key


def _names(file: str, own: str, content: Any, classes: _Classes) -> set[str]:
    """The classes in a file; the `own` one, whose content is at hand, is not read again."""
    images = _entries(file, content if file == own else _content(Path(file)))
    regions = (region for _, entry in images for region in _regions(entry))
    return {name for region in regions if _has_box(region) and (name := classes.of(region))}


def _has_box(region):
    shape = region.get("shape_attributes")
    return isinstance(shape, dict) and shape.get("name") not in _WITHOUT_BOX


# ------------------------------------------------------------------------------------------------ one image


def _add(collected: Collected, classes: _Classes, entry: dict, key: str, images: str) -> None:
    named = text(entry["filename"], '"filename"')
    name = name_inside(images, named)
    image = collected.add_image(name, size_of(collected.source, images, name), key, named)
    for index, region in enumerate(_regions(entry)):
        with reading(collected.source, f"region {index} of image {short(named)}"):
            outline = _outline(collected, region["shape_attributes"])
            if outline is None:
                continue
            class_name = classes.of(region)
            if class_name is None:
                collected.leave_out(f"regions without a value of the attribute {classes.attribute!r}")
                continue
            others = {
                each: value for each, value in (region.get("region_attributes") or {}).items()
                if each != classes.attribute
            }  # fmt: skip
            collected.add_object(image, class_name, outline, attributes=others)


def _outline(collected: Collected, shape: dict) -> Outline | None:
    kind = shape["name"]
    if kind in _WITHOUT_BOX:
        collected.leave_out(_WITHOUT_BOX[kind])
    elif kind == "rect":
        x, y = shape["x"], shape["y"]
        return outlines.rectangle([(x, y), (x + shape["width"], y + shape["height"])])
    elif kind == "circle":
        return outlines.ellipse((shape["cx"], shape["cy"]), (shape["r"], shape["r"]))
    elif kind == "ellipse":  # VIA 1 turns none; the angle is in radians
        return outlines.ellipse(
            (shape["cx"], shape["cy"]), (shape["rx"], shape["ry"]), math.degrees(shape.get("theta", 0))
        )
    elif kind == "polygon":
        points = list(zip(shape["all_points_x"], shape["all_points_y"], strict=True))
        if len(points) >= 3:
            return outlines.polygon(points)
        collected.leave_out("polygons of fewer than three points")
    else:
        collected.leave_out(f"regions of the unknown shape {kind!r}")
    return None
