"""Supervisely projects: meta.json, and a folder of each data set with ann/ and img/."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_fpn.console.errors import UserError
from keras_fpn.data.formats import encoded_masks, outlines
from keras_fpn.data.formats.collected import Collected
from keras_fpn.data.formats.counted import counted
from keras_fpn.data.formats.entries import objects_of, read_json, reading, text
from keras_fpn.data.formats.format import AnnotationFormat, Half
from keras_fpn.data.formats.half_files import folders
from keras_fpn.data.formats.half_names import WORDS, half_in
from keras_fpn.data.formats.outlines import Outline
from keras_fpn.data.formats.picture_folders import is_picture, walk
from keras_fpn.data.formats.picture_places import size_of
from keras_fpn.data.formats.spelling import Spelling, files_ending
from keras_fpn.data.objects import short, shown

log = logging.getLogger(__name__)

_META, _ANN, _IMG = "meta.json", "ann", "img"
_WITHOUT_BOX = {
    "point": "points", "polyline": "polylines", "line": "polylines", "graph": "key points", "cuboid": "cuboids",
    "cuboid_2d": "cuboids", "alpha_mask": "alpha masks", "multichannel_bitmap": "masks of several channels",
}  # fmt: skip


class Supervisely(AnnotationFormat):
    """A project of Supervisely: its folder. FOLDER@train is what is in data sets of this name, or has this tag.

    Objects with one "instance" and one class are one object. Classes are in the order of meta.json.
    """

    name, title = "supervisely", "Supervisely project"
    layout = "a Supervisely project: meta.json, and folders with ann/ and img/"

    def find(self, folder: Path) -> dict[str, Half] | None:
        """See `AnnotationFormat`."""
        place = next((each for each in (folder, *folders(folder)) if _is_project(each)), None)
        if place is None:
            return None
        halves = _halves(place)
        names = {half: f"{place}@{half}" for half in WORDS if half in halves} or {"all": str(place)}
        return {half: Half(name, str(place)) for half, name in names.items()}

    def recognises(self, annotations: str) -> bool:
        """See `AnnotationFormat`."""
        folder, _ = _split(annotations)
        return os.path.isdir(folder) and _is_project(Path(folder))

    def check_there(self, annotations: str) -> None:
        """See `AnnotationFormat`."""
        super().check_there(_split(annotations)[0])

    def images_of(self, annotations: str) -> str | None:
        """See `AnnotationFormat`."""
        return _split(annotations)[0]

    def files(self, annotations: str) -> list[Path]:
        """See `AnnotationFormat`."""
        root = Path(_split(annotations)[0])
        return [root / _META, *(file for data_set in _data_sets(root) for file in _files(data_set))]

    def read(self, annotations: str, images: str) -> dict[str, Any]:
        """See `AnnotationFormat`."""
        name, half = _split(annotations)
        root = Path(name)
        with reading(str(root / _META), '"classes"'):
            classes = objects_of(read_json(root / _META)["classes"], '"classes"')
            listed = [(each.get("id"), text(each["title"], '"title"')) for each in classes]
        if half is not None and half not in _halves(root):
            raise UserError(f"{annotations}: no data set and no tag of {root} is of this half; leave out @{half}")
        collected = Collected(annotations, listed)
        by_tags = half is not None and not _named_halves(root)
        if by_tags:
            _tell_of_untagged(annotations, root)
        for data_set in _data_sets(root):
            if half is None or by_tags or half_in(data_set.name) == half:
                _read_data_set(collected, data_set, images, half if by_tags else None)
        return collected.content()


def _split(annotations: str) -> tuple[str, str | None]:
    """The folder, and the half behind its "@"."""
    folder, mark, half = annotations.rpartition("@")
    is_part = mark and half in WORDS and os.path.isdir(folder) and not os.path.exists(annotations)
    return (folder, half) if is_part else (annotations, None)


def _is_project(folder: Path) -> bool:
    meta = folder / _META
    if not meta.is_file() or not _data_sets(folder):
        return False
    try:
        content = read_json(meta)
    except UserError:
        return False
    return isinstance(content, dict) and isinstance(content.get("classes"), list)


def _data_sets(root: Path) -> list[Path]:
    """The folders with ann/ and img/, those inside others, too; by name."""
    places = (Path(place) for place, _ in walk(root))
    return sorted(place for place in places if (place / _ANN).is_dir() and (place / _IMG).is_dir())


def _files(data_set: Path) -> list[Path]:
    return files_ending(data_set / _ANN, ".json")


def _halves(root: Path) -> set[str]:
    """The halves that the names of data sets tell, or else tags of images."""
    named = _named_halves(root)
    if named:
        return named
    if not {"train", "val"} <= _halves_of_tags(read_json(root / _META)):
        return set()
    used = {half for data_set in _data_sets(root) for file in _files(data_set) if (half := _tagged(read_json(file)))}
    return used if {"train", "val"} <= used else set()


def _named_halves(root: Path) -> set[str]:
    """The halves where the name of each data set tells one, and both are there."""
    halves = {half_in(data_set.name) for data_set in _data_sets(root)}
    return {half for half in halves if half} if None not in halves and {"train", "val"} <= halves else set()


def _tagged(content: Any) -> str | None:
    """The half that a tag of an image tells."""
    found = _halves_of_tags(content)
    return found.pop() if len(found) == 1 else None


def _halves_of_tags(content: Any) -> set[str]:
    """The halves that the tags of a project or of an image name."""
    tags = content.get("tags") if isinstance(content, dict) else None
    named = [tag for tag in tags if isinstance(tag, dict)] if isinstance(tags, list) else []
    return {half for tag in named if (half := half_in(str(tag.get("name", ""))))}


def _tell_of_untagged(annotations: str, root: Path) -> None:
    """A line about the images that are in no half."""
    files = [file for data_set in _data_sets(root) for file in _files(data_set)]
    untold = [file for file in files if _tagged(read_json(file)) is None]
    if untold:
        log.warning(
            "%s: %d of %d images are in no half and left out, as no tag or several tell it, first %s; tag them train or"
            " val",
            annotations, len(untold), len(files), shown(os.path.relpath(untold[0], root)),
        )  # fmt: skip


# ------------------------------------------------------------------------------------------------ one data set


def _read_data_set(collected: Collected, data_set: Path, images: str, tag: str | None) -> None:
    pictures = {each.name: each for each in sorted((data_set / _IMG).iterdir()) if is_picture(each.name)}
    spelling = Spelling()
    for file in counted(_files(data_set), data_set.name, "files"):
        content = read_json(file)
        if tag is not None and _tagged(content) != tag:
            continue
        with reading(str(file), "the file"):
            picture = _picture(file, pictures, spelling)
            size = content.get("size") or {}
            sides: Any = size.get("height"), size.get("width")
            name = os.path.relpath(picture, images).replace(os.sep, "/")
            image = collected.add_image(name, sides if all(sides) else size_of(str(file), images, name))
            _add_objects(collected, file, image, objects_of(content.get("objects"), '"objects"'))


def _picture(file: Path, pictures: Mapping[str, Path], spelling: Spelling) -> Path:
    """The picture of an annotation file: a.jpg of a.jpg.json, and of a.json in older projects."""
    same = spelling.of(file.parent.parent / _IMG / file.stem).name
    if same in pictures:
        return pictures[same]
    found = [path for name, path in pictures.items() if os.path.splitext(name)[0] == file.stem]
    if len(found) != 1:
        several = f"several have its name: {', '.join(shown(path.name) for path in found)}" if found else "add it"
        raise UserError(f"{file}: its picture {shown(file.stem)} is not in {file.parent.parent / _IMG}; {several}")
    return found[0]


def _add_objects(collected: Collected, file: Path, image: int, objects: list[dict]) -> None:
    height, width = collected.size(image)
    groups: dict[Any, list[tuple[dict, Outline]]] = {}
    for index, each in enumerate(objects):
        with reading(str(file), f"object {short(each.get('id', index))}"):
            outline = _outline(collected, each, height, width)
            if outline is not None:
                name = text(each["classTitle"], '"classTitle"')
                key = (name, each["instance"]) if each.get("instance") else (name, index, "alone")
                groups.setdefault(key, []).append((each, outline))
    for (name, *_), parts in groups.items():
        outline = outlines.joined([each for _, each in parts], height, width)
        first = parts[0][0]
        with reading(str(file), f"object {short(first.get('id'))}"):
            tags = {text(tag["name"], '"name"'): tag.get("value") for tag in objects_of(first.get("tags"), '"tags"')}
        collected.add_object(image, name, outline, first.get("id"), tags=tags)


def _outline(collected: Collected, each: dict, height: int, width: int) -> Outline | None:
    kind = each.get("geometryType") or _kind(each)
    if kind == "rectangle":
        return _rectangle(each["points"]["exterior"], height, width)
    if kind in ("polygon", "oriented_bbox"):
        points, holes = each["points"]["exterior"], each["points"].get("interior")
        if holes:
            collected.leave_out("holes of polygons (the polygons stay, filled)", len(holes))
        if len(points) >= 3:
            return outlines.polygon(points)
        collected.leave_out("polygons of fewer than three points")
    elif kind == "bitmap":
        left, top = each["bitmap"]["origin"]
        pixels = encoded_masks.pixels(each["bitmap"]["data"], '"bitmap"', is_packed=True)
        found = outlines.mask(pixels, int(left), int(top), height, width)
        if found is None:
            collected.leave_out("empty masks")
        return found
    else:
        collected.leave_out(_WITHOUT_BOX.get(str(kind), f"objects of the unknown type {kind!r}"))
    return None


def _kind(each: dict) -> str:
    """The kind of an object of an old project, which does not say it."""
    if each.get("bitmap"):
        return "bitmap"
    return "rectangle" if len(each["points"]["exterior"]) == 2 else "polygon"


def _rectangle(corners: Any, height: int, width: int) -> Outline:
    """A rectangle by its corners: whole numbers are pixels, of which the last is inside, others are places."""
    x1, y1, x2, y2 = outlines.rectangle(corners).box
    if all(float(side).is_integer() for side in (x1, y1, x2, y2)):
        x2, y2 = min(x2 + 1, max(x2, width)), min(y2 + 1, max(y2, height))
    return outlines.rectangle([(x1, y1), (x2, y2)])
