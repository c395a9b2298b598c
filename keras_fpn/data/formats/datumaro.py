"""Datumaro's own JSON, which CVAT and Geti export, too."""

import os
import re
from pathlib import Path
from typing import Any

from keras_fpn.data.formats import outlines
from keras_fpn.data.formats.collected import Collected
from keras_fpn.data.formats.entries import objects_of, read_json, reading, text
from keras_fpn.data.formats.format import Half, JsonFormat
from keras_fpn.data.formats.half_files import divided, folders
from keras_fpn.data.formats.json_files import begins_as, json_files
from keras_fpn.data.formats.outlines import Outline
from keras_fpn.data.formats.picture_folders import is_picture
from keras_fpn.data.formats.picture_places import image_folder, name_inside, size_of
from keras_fpn.data.objects import is_whole, short
from keras_fpn.ops import masks

_HEAD = re.compile(rb'\s*\{.*?("dm_format_version"|"categories"\s*:\s*\{)', re.DOTALL)
_WITHOUT_BOX = {
    "label": "labels of whole images", "points": "points", "polyline": "polylines", "caption": "captions",
    "cuboid_3d": "cuboids", "cuboid_2d": "cuboids", "skeleton": "skeletons",
}  # fmt: skip


class Datumaro(JsonFormat):
    """Datumaro's JSON files: annotations of one group are one object, as its own COCO export has them."""

    name, title = "datumaro", "Datumaro JSON"
    layout = "Datumaro's annotations/train.json and val.json beside images/train/ and images/val/"

    def find(self, folder: Path) -> dict[str, Half] | None:
        """See `AnnotationFormat`."""
        inside = [each for each in folders(folder) if each.name.lower() == "annotations"]
        files = {file.name: file for each in inside for file in json_files(each)}
        read = {name: file for name, file in files.items() if begins_as(file, _HEAD)}
        unread = {name: file for name, file in files.items() if name not in read}
        found = divided(read, f"{folder}: files of {self.title}", unread)
        return None if found is None else {half: self._half(file) for half, file in found.items()}

    def matches(self, content: Any) -> bool:
        """See `JsonFormat`."""
        return (
            isinstance(content, dict)
            and isinstance(content.get("items"), list)
            and isinstance(content.get("categories"), dict)
        )

    def images_of(self, annotations: str) -> str | None:
        """See `AnnotationFormat`."""
        return self._half(Path(annotations)).images

    def from_json(self, content: Any, annotations: str, images: str) -> dict[str, Any]:
        """See `JsonFormat`."""
        with reading(annotations, '"categories"'):
            listed = objects_of((content["categories"].get("label") or {}).get("labels"), '"labels"')
            names = [text(label["name"], '"name"') for label in listed]
        collected = Collected(annotations, [(index, name) for index, name in enumerate(names)])
        for index, item in enumerate(content["items"]):
            with reading(annotations, f"item {_named(item, index)}"):
                image = _add_image(collected, item, images)
                _add_objects(collected, item, image, names)
        return collected.content()

    def _half(self, file: Path) -> Half:
        content = read_json(file)
        root = file.parent.parent if file.parent.name.lower() == "annotations" else file.parent
        usual = [each for each in folders(root) if each.name.lower() == "images"]
        places = [inside for each in usual for inside in folders(each) if inside.name == file.stem] + usual
        items = content.get("items") if isinstance(content, dict) else None
        named = [_path(item) for item in items if isinstance(item, dict)] if isinstance(items, list) else []
        return Half(str(file), str(image_folder([*places, root], [name for name in named if name])))


def _named(item, index):
    return short(item["id"]) if isinstance(item, dict) and "id" in item else str(index)


def _path(item: dict) -> str:
    """The path of the picture of an item; its id where it has none."""
    image = item.get("image") or item.get("media")
    path = image.get("path") if isinstance(image, dict) else None
    return path if isinstance(path, str) and path else str(item.get("id", ""))


def _add_image(collected: Collected, item: dict, images: str) -> int:
    named = _path(item)
    name = name_inside(images, named)
    if not is_picture(name) and not os.path.isfile(os.path.join(images, name)):
        raise ValueError(f'it has no picture ("image": "path"), or one of a video: {short(named)}')
    size = (item.get("image") or {}).get("size") or size_of(collected.source, images, name)
    attributes = item.get("attr") or {}
    return collected.add_image(name, size, attributes.get("id"), named)


def _add_objects(collected: Collected, item: dict, image: int, names: list[str]) -> None:
    height, width = collected.size(image)
    groups: dict[Any, list[tuple[dict, str, Outline]]] = {}
    for index, each in enumerate(objects_of(item.get("annotations"), '"annotations"')):
        with reading(collected.source, f"annotation {index} of item {_named(item, index)}"):
            outline = _outline(collected, each, height, width)
            if outline is None:
                continue
            number = each.get("label_id")
            if number is None:
                collected.leave_out("shapes without a label")
                continue
            if not is_whole(number) or not 0 <= number < len(names):
                raise ValueError(f'"label_id" {short(number)} is none of the {len(names)} labels')
            group = each.get("group") or 0
            groups.setdefault(("alone", index) if not group else (group, number), []).append(
                (each, names[number], outline)
            )
    for parts in groups.values():
        first, name, _ = parts[0]
        attributes = first.get("attributes") or {}
        outline = _of_group([each for _, _, each in parts], height, width)
        collected.add_object(
            image, name, outline, first.get("id"), attributes=attributes,
            **({"iscrowd": 1} if attributes.get("is_crowd") is True else {}),
        )  # fmt: skip


def _of_group(parts: list[Outline], height: int, width: int) -> Outline:
    """One object: its shape is that of its polygons and masks, where there are some, and its box is around all."""
    shaped = [part for part in parts if part.segmentation is not None]
    return outlines.joined(shaped or parts, height, width)._replace(box=outlines.joined_box(parts))


def _outline(collected: Collected, annotation: dict, height: int, width: int) -> Outline | None:
    kind = annotation["type"]
    if kind == "bbox":
        x, y, across, down = annotation["bbox"]
        return outlines.rectangle([(x, y), (x + across, y + down)])
    if kind == "polygon":
        return outlines.polygon(annotation["points"])
    if kind == "ellipse":
        x1, y1, x2, y2 = annotation["points"]
        return outlines.ellipse(((x1 + x2) / 2, (y1 + y2) / 2), (abs(x2 - x1) / 2, abs(y2 - y1) / 2))
    if kind == "mask":
        problem = masks.what_is_wrong(annotation["rle"], height, width)
        if problem:
            raise ValueError(f'"rle" {problem}')
        pixels = masks.decode(masks.from_annotation(annotation["rle"], height, width))
        found = outlines.mask(pixels, 0, 0, height, width)
        if found is None:
            collected.leave_out("empty masks")
        return found
    collected.leave_out(_WITHOUT_BOX.get(kind) or f"annotations of the unknown type {kind!r}")
    return None
