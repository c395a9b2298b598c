"""labelme: a JSON file beside each picture (versions 3 to 6, and programs that write the same)."""

import glob
import logging
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from keras_fpn.console.errors import UserError
from keras_fpn.data.formats import encoded_masks, outlines
from keras_fpn.data.formats.collected import Collected
from keras_fpn.data.formats.counted import counted
from keras_fpn.data.formats.entries import objects_of, read_json, reading, text
from keras_fpn.data.formats.format import Half, JsonFormat
from keras_fpn.data.formats.half_files import divided, folders, half_folders
from keras_fpn.data.formats.json_files import begins_as
from keras_fpn.data.formats.outlines import Outline
from keras_fpn.data.formats.picture_folders import is_picture, walk
from keras_fpn.data.formats.picture_places import image_folder, name_inside, size_of
from keras_fpn.data.formats.siblings import class_names
from keras_fpn.data.formats.spelling import files_ending
from keras_fpn.data.objects import shown

log = logging.getLogger(__name__)

_HEAD = re.compile(rb'\s*\{.*?"(shapes|imagePath|imageData)"', re.DOTALL)
_WITHOUT_BOX = {"point": "points", "points": "points", "line": "lines", "linestrip": "line strips"}
_LOOKED_AT = 5  # files: others may come first by their names
_INSIDE = ("annotations", "annotation", "labels", "json", "jsons")


class Labelme(JsonFormat):
    """labelme's JSON files: of a folder, or one.

    Shapes with one "group_id" and one label are one object. A picture that is nowhere but inside the JSON file is not
    read. Classes are in the order of their names.
    """

    name, title = "labelme", "labelme JSON"
    layout = "labelme's JSON files beside their pictures, in one folder or in train/ and val/"

    def find(self, folder: Path) -> dict[str, Half] | None:
        """See `AnnotationFormat`."""
        own = _folder_of(folder)
        if own is not None:
            return {"all": self._half(own)}
        places = half_folders(folder)
        inside = {name: found for name, each in places.items() if (found := _folder_of(each))}
        unread = {
            name: file for name, each in places.items() if name not in inside
            for place in _places_in(each) for file in files_ending(place, ".json")[:1]
        }  # fmt: skip
        halves = divided(inside, f"{folder}: folders with {self.title}", unread)
        return None if halves is None else {half: self._half(each) for half, each in halves.items()}

    def recognises(self, annotations: str) -> bool:
        """See `AnnotationFormat`."""
        return os.path.isdir(annotations) and _has_labelme(Path(annotations))

    def matches(self, content: Any) -> bool:
        """See `JsonFormat`."""
        return isinstance(content, dict) and isinstance(content.get("shapes"), list) and "imagePath" in content

    def images_of(self, annotations: str) -> str | None:
        """See `AnnotationFormat`."""
        place = Path(annotations)
        return self._half(place).images if place.is_dir() else str(place.parent)

    def files(self, annotations: str) -> Iterable[Path]:
        """See `AnnotationFormat`."""
        return list(_files(Path(annotations))) if os.path.isdir(annotations) else [Path(annotations)]

    def read(self, annotations: str, images: str) -> dict[str, Any]:
        """See `AnnotationFormat`."""
        labels: set[str] = set()
        collected = _collect(annotations, self._contents(annotations, labels), images)
        names_of = self._labels_of
        return collected.content(
            class_names(self, annotations, lambda path: labels if path == annotations else names_of(path))
        )

    def from_json(self, content: Any, annotations: str, images: str) -> dict[str, Any]:
        """See `JsonFormat`."""
        return _collect(annotations, [(Path(annotations), content)], images).content()

    def _half(self, folder: Path) -> Half:
        first = _first_in(folder)
        named = "" if first is None else str(read_json(first)["imagePath"] or "")
        beside = [place for place in folders(folder.parent) if place.name.lower() in ("images", "jpegimages", "img")]
        return Half(str(folder), str(image_folder([folder, *beside], [named])))

    def _labels_of(self, annotations: str) -> set[str]:
        labels: set[str] = set()
        for _ in self._contents(annotations, labels):
            pass
        return labels

    def _contents(self, annotations: str, labels: set[str]) -> Iterator[tuple[Path, Any]]:
        """The files that are labelme's, each read once, with their contents; adds their labels to the set."""
        files, others = list(self.files(annotations)), []
        for file in counted(files, self.name, "files"):
            content = read_json(file)
            if self.matches(content):
                labels |= _labels(content)
                yield file, content
            else:
                others.append(file)
        if others:
            log.warning(
                "%s: %d of %d JSON files are passed over, as they are not labelme's, first %s",
                annotations, len(others), len(files), shown(os.path.relpath(others[0], annotations)),
            )  # fmt: skip


def _labels(content) -> set[str]:
    """The labels of the shapes that have boxes."""
    shapes = [shape for shape in content["shapes"] if isinstance(shape, dict)]
    boxed = [shape for shape in shapes if str(shape.get("shape_type")) not in _WITHOUT_BOX]
    return {shape["label"].strip() for shape in boxed if isinstance(shape.get("label"), str)}


def _files(folder: Path) -> Iterator[Path]:
    """The JSON files of a folder and of those below it, by name."""
    yield from sorted(file for place, _ in walk(folder) for file in files_ending(Path(place), ".json"))


def _first_in(folder: Path) -> Path | None:
    """The first file of labelme among the first JSON files of a folder."""
    files = files_ending(folder, ".json") or list(_files(folder))
    return next((file for file in files[:_LOOKED_AT] if _is_labelme(file)), None)


def _folder_of(folder: Path) -> Path | None:
    """The folder, or the one in it, that has labelme's files."""
    return next((place for place in _places_in(folder) if _has_labelme(place)), None)


def _places_in(folder: Path) -> list[Path]:
    return [folder, *(each for each in folders(folder) if each.name.lower() in _INSIDE)]


def _has_labelme(folder: Path) -> bool:
    """Whether one of the first JSON files that lie directly in a folder is labelme's."""
    return any(map(_is_labelme, files_ending(folder, ".json")[:_LOOKED_AT]))


def _is_labelme(file: Path) -> bool:
    try:
        return begins_as(file, _HEAD) and Labelme().matches(read_json(file))
    except UserError:
        return False


# ------------------------------------------------------------------------------------------------ one picture


def _collect(source: str, contents: Iterable[tuple[Path, Any]], images: str) -> Collected:
    collected = Collected(source)
    only_inside = []
    for file, content in contents:
        with reading(str(file), "the file"):
            named = text(content["imagePath"], '"imagePath"')
            name = _picture_of(file, named, images)
            if not os.path.isfile(os.path.join(images, name)) and content.get("imageData"):
                only_inside.append(file)
                continue
            size: Any = (content.get("imageHeight"), content.get("imageWidth"))
            image = collected.add_image(name, size if all(size) else size_of(str(file), images, name))
            _add_shapes(collected, file, image, objects_of(content["shapes"], '"shapes"'))
    if only_inside:
        more = f" (and {len(only_inside) - 1} more)" if len(only_inside) > 1 else ""
        raise UserError(
            f'{only_inside[0]}{more}: its picture is not in {images}, only inside the file as "imageData"; put the'
            " pictures beside the JSON files (labelme 5 has labelme_export_json FILE, which writes the picture)"
        )
    return collected


def _picture_of(file: Path, named: str, images: str) -> str:
    """The name of a picture in the image folder: where the file says, or a picture that has the file's own name."""
    path = os.path.normpath(os.path.join(file.parent, named.replace("\\", "/")))
    inside = os.path.relpath(path, images)
    if not inside.startswith("..") and os.path.isfile(path):
        return inside.replace(os.sep, "/")
    name = name_inside(images, named)
    if os.path.isfile(os.path.join(images, name)):
        return name
    beside = sorted(each for each in file.parent.glob(f"{glob.escape(file.stem)}.*") if is_picture(each.name))
    renamed = [os.path.relpath(each, images).replace(os.sep, "/") for each in beside]
    return renamed[0] if len(renamed) == 1 and not renamed[0].startswith("..") else name


def _add_shapes(collected: Collected, file: Path, image: int, shapes: list[dict]) -> None:
    height, width = collected.size(image)
    groups: dict[Any, list[tuple[dict, Outline]]] = {}
    for index, shape in enumerate(shapes):
        with reading(str(file), f"shape {index}"):
            label, group = text(shape["label"], '"label"'), shape.get("group_id")
            outline = _outline(collected, shape, height, width)
        if outline is not None:
            key = (label, index, "alone") if group is None else (label, group)
            groups.setdefault(key, []).append((shape, outline))
    for (label, *_), parts in groups.items():
        first = parts[0][0]
        collected.add_object(
            image,
            label,
            outlines.joined([outline for _, outline in parts], height, width),
            flags=first.get("flags"),
            group_id=first.get("group_id"),
            description=first.get("description"),
            difficult=first.get("difficult"),
        )


def _outline(collected: Collected, shape: dict, height: int, width: int) -> Outline | None:
    kind, points = shape.get("shape_type") or "polygon", shape["points"]
    if kind in _WITHOUT_BOX:
        collected.leave_out(_WITHOUT_BOX[kind])
    elif kind == "rectangle":
        return outlines.rectangle(points)
    elif kind == "circle":
        (x, y), (edge_x, edge_y) = points
        radius = float(np.hypot(edge_x - x, edge_y - y))
        return outlines.ellipse((x, y), (radius, radius))
    elif kind == "mask":
        (left, top), *_ = points
        pixels = encoded_masks.pixels(shape["mask"], '"mask"')
        found = outlines.mask(pixels, round(left), round(top), height, width)
        if found is None:
            collected.leave_out("empty masks")
        return found
    elif kind in ("polygon", "oriented_rectangle", "rotation"):
        if len(points) >= 3:
            return outlines.polygon(points)
        collected.leave_out("polygons of fewer than three points")
    else:
        collected.leave_out(f"shapes of the unknown type {kind!r}")
    return None
