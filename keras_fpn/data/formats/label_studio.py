"""Label Studio: its JSON export of tasks, and the shorter JSON-MIN."""

import logging
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from keras_fpn.console.errors import UserError
from keras_fpn.data.formats import outlines
from keras_fpn.data.formats.collected import Collected
from keras_fpn.data.formats.entries import objects_of, read_json, reading, text
from keras_fpn.data.formats.format import Half, JsonFormat
from keras_fpn.data.formats.half_files import find_files
from keras_fpn.data.formats.half_names import half_in
from keras_fpn.data.formats.json_files import begins_as, json_files
from keras_fpn.data.formats.outlines import Outline
from keras_fpn.data.formats.picture_folders import is_picture
from keras_fpn.data.formats.picture_places import (
    image_folder,
    name_inside,
    places_beside,
    size_of,
)
from keras_fpn.data.formats.siblings import class_names
from keras_fpn.data.objects import is_number, short

log = logging.getLogger(__name__)

_HEAD = re.compile(rb'\s*\[\s*\{.*?"(annotations|completions|annotation_id|annotator)"', re.DOTALL)
_UPLOADED = re.compile(r"[0-9a-f]{8}-(.+)")  # what the tool puts before the names of uploaded files
_USUAL = ("image", "img", "picture", "photo", "url")  # names of the picture among the data of a task
_WITHOUT_BOX = {
    "keypoint": "key points", "keypointlabels": "key points", "brush": "brush masks", "brushlabels": "brush masks",
    "bitmask": "bit masks", "bitmasklabels": "bit masks", "magicwand": "brush masks", "vector": "vectors",
    "vectorlabels": "vectors", "videorectangle": "tracks of videos",
}  # fmt: skip
_SHAPES = ("rectangle", "ellipse", "polygon")


class LabelStudio(JsonFormat):
    """Label Studio's exports. Of several annotations of a task the one made last counts that was not cancelled.

    Tasks without one are not labelled yet and left out. Classes are in the order of their names.
    """

    name, title = "label-studio", "Label Studio JSON"
    layout = "a JSON or JSON-MIN export of Label Studio beside images/ or the images, also in train/ and val/"

    def find(self, folder: Path) -> dict[str, Half] | None:
        """See `AnnotationFormat`."""
        found = find_files(folder, _files_in, f"files of {self.title}")
        return None if found is None else {half: self._half(file) for half, file in found.items()}

    def matches(self, content: Any) -> bool:
        """See `JsonFormat`."""
        if not isinstance(content, list) or not content or not all(isinstance(task, dict) for task in content):
            return False
        return all(_is_whole_task(task) for task in content) or all("annotation_id" in task for task in content)

    def images_of(self, annotations: str) -> str | None:
        """See `AnnotationFormat`."""
        return self._half(Path(annotations)).images

    def from_json(self, content: Any, annotations: str, images: str) -> dict[str, Any]:
        """See `JsonFormat`."""
        tasks = _tasks(annotations, content)
        collected = Collected(annotations)
        for number, picture, results in tasks:
            with reading(annotations, f"task {short(number)}"):
                _add(collected, number, picture, results, images)
        if not tasks:
            raise UserError(f"{annotations}: no task is labelled; label some, and export them again")
        return collected.content(class_names(self, annotations, lambda path: _names(path, annotations, tasks)))

    def _half(self, file: Path) -> Half:
        content = read_json(file)
        named = [_shortened(picture) for _, picture, _ in _tasks(str(file), content, is_told=False)]
        return Half(str(file), str(image_folder(places_beside(file, half_in(file.stem)), named)))


def _files_in(folder: Path) -> list[Path]:
    return [file for file in json_files(folder) if begins_as(file, _HEAD) and LabelStudio().matches(_parsed(file))]


def _parsed(file: Path) -> Any:
    try:
        return read_json(file)
    except UserError:
        return None


def _is_whole_task(task):
    results = task.get("annotations", task.get("completions"))
    return isinstance(results, list) and isinstance(task.get("data"), dict)


# ------------------------------------------------------------------------------------------------ tasks


class _Task(NamedTuple):
    """A labelled task: its id, what the tool calls its picture, and the results of the annotation that counts."""

    number: Any
    picture: str
    results: list[dict]


def _tasks(source: str, content: list, is_told: bool = True) -> list[_Task]:
    """The tasks that are labelled, in the order of the file."""
    made: dict[Any, list[tuple[str, _Task]]] = {}  # by task: when each annotation was made
    for index, task in enumerate(content):
        with reading(source, f"task {short(task.get('id', index))}"):
            number = task.get("id", f"entry {index}")
            made.setdefault(number, []).extend(_made(task) if _is_whole_task(task) else _made_of_min(task))
    found = [max(annotations, key=lambda each: each[0])[1] for annotations in made.values() if annotations]
    several = sum(len(annotations) > 1 for annotations in made.values())
    if is_told and len(found) < len(made):
        log.warning("%s: %d of %d tasks are left out: nobody labelled them, or all cancelled",
                    source, len(made) - len(found), len(made))  # fmt: skip
    if is_told and several:
        log.warning("%s: %d tasks have several annotations; the one made last counts", source, several)
    return found


def _made(task: dict) -> Iterator[tuple[str, _Task]]:
    """The annotations of a task that were not cancelled, with the time at which each was made."""
    annotations = task["annotations"] if "annotations" in task else task["completions"]
    for each in objects_of(annotations, "annotations"):
        if not each.get("was_cancelled") and not each.get("skipped"):
            results = objects_of(each.get("result"), '"result"')
            yield str(each.get("created_at") or ""), _Task(task.get("id"), _picture(task["data"]), results)


def _made_of_min(task: dict) -> Iterator[tuple[str, _Task]]:
    """The annotation of an entry of JSON-MIN, which has an entry for each; none of a task that nobody labelled."""
    if task["annotation_id"] is not None:
        yield str(task.get("created_at") or ""), _Task(task.get("id"), _picture(task), _results_of_min(task))


def _picture(data: dict) -> str:
    """The picture among the data of a task: an address or a path."""
    texts = {key: value for key, value in data.items() if isinstance(value, str)}
    named = [texts[key] for key in sorted(texts, key=lambda key: key.lower() not in _USUAL)
             if is_picture(_shortened(texts[key]))]  # fmt: skip
    usual = [value for key, value in texts.items() if key.lower() in _USUAL]
    if not named and not usual:
        raise ValueError("none of its data names a picture")
    return (named or usual)[0]


def _shortened(picture: str) -> str:
    """A path from what the tool writes: an address, or a path of its server."""
    parts = urlsplit(picture) if "://" in picture or picture.startswith("/") else None
    if parts is None:
        return picture
    local = parse_qs(parts.query).get("d")  # /data/local-files/?d=folder/a.jpg
    return local[0] if local else unquote(parts.path)


def _results_of_min(task: dict) -> list[dict]:
    """The results of an entry of JSON-MIN, in which lists of values stand under the names of the controls."""
    values = [value for listed in task.values() if isinstance(listed, list)
              for value in listed if isinstance(value, dict)]  # fmt: skip
    return [{"type": _kind_of_value(value), "value": value, "original_width": value.get("original_width"),
             "original_height": value.get("original_height")} for value in values]  # fmt: skip


def _kind_of_value(value: dict) -> str:
    named = next((key for key in value if key.endswith("labels") and key != "labels"), None)
    if named is not None:
        return named
    by_shape = {"radiusX": "ellipse", "points": "polygon", "width": "rectangle", "rle": "brush"}
    return next((kind for key, kind in by_shape.items() if key in value), "")


def _names(file: str, own: str, tasks: list[_Task]) -> set[str]:
    """The labels in a file; those of the `own` one, whose tasks are at hand, are not read again."""
    return {
        label
        for _, _, results in (tasks if file == own else _tasks(file, read_json(file), is_told=False))
        for result in results
        if _shape(result) in _SHAPES and (label := _label(result, results))
    }


# ------------------------------------------------------------------------------------------------ one task


def _add(collected: Collected, number: Any, picture: str, results: list[dict], images: str) -> None:
    name = _name(images, picture)
    said = next((size for result in results if all(map(is_number, size := _said(result)))), None)
    image = collected.add_image(name, said or size_of(collected.source, images, name), number, picture)
    for result in results:
        with reading(collected.source, f"result {short(result.get('id'))} of task {short(number)}"):
            outline = _outline(collected, result, *collected.size(image))
            if outline is None:
                continue
            label = _label(result, results)
            if label is None:
                collected.leave_out("shapes without a label")
                continue
            collected.add_object(image, label, outline)


def _name(images: str, picture: str) -> str:
    """The picture's name in the image folder, under which it may have lost what uploading put before it."""
    name = name_inside(images, _shortened(picture))
    if os.path.isfile(os.path.join(images, name)):
        return name
    uploaded = _UPLOADED.fullmatch(name.rpartition("/")[2])
    return name_inside(images, uploaded[1]) if uploaded else name


def _said(result):
    return result.get("original_height"), result.get("original_width")


def _shape(result: dict) -> str:
    """ "rectangle" of "rectanglelabels", and so on."""
    kind = result.get("type")
    return kind.removesuffix("labels") if isinstance(kind, str) and kind != "labels" else str(kind)


def _label(result: dict, results: Iterable[dict]) -> str | None:
    """The first label of a shape: its own, or that of the result that a separate control gave the same region."""
    own = result["value"]
    for value in (own, *(each["value"] for each in results if _is_of_region(each, result))):
        labels = next((value[key] for key in (f"{_shape(result)}labels", "labels") if value.get(key)), None)
        if labels:
            return text(labels[0] if isinstance(labels, list) else labels, "its label")
    return None


def _is_of_region(result, other):
    return result.get("type") == "labels" and result.get("id") is not None and result["id"] == other.get("id")


def _outline(collected: Collected, result: dict, height: int, width: int) -> Outline | None:
    shape = _shape(result)
    without = _WITHOUT_BOX.get(str(result.get("type")))
    if without or shape not in _SHAPES:
        if without:
            collected.leave_out(without)
        return None  # an answer about the image, a relation, a label of a region
    if result.get("image_rotation"):
        collected.leave_out("shapes drawn on a picture that was turned in the tool")
        return None
    value = result["value"]
    if shape == "polygon":
        points = [(x * width / 100, y * height / 100) for x, y in value["points"]]
        if len(points) >= 3:
            return outlines.polygon(points)
        collected.leave_out("polygons of fewer than three points")
        return None
    x, y, turn = value["x"] * width / 100, value["y"] * height / 100, value.get("rotation") or 0
    if shape == "ellipse":
        return outlines.ellipse((x, y), (value["radiusX"] * width / 100, value["radiusY"] * height / 100), turn)
    far = x + value["width"] * width / 100, y + value["height"] * height / 100
    return outlines.turned_rectangle((x, y, *far), (x, y), turn)  # about its upper left corner
