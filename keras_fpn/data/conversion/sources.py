"""A data set to convert: found, read and checked as for training."""

import dataclasses
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_fpn.console.errors import UserError
from keras_fpn.data.box_forms import in_pixels
from keras_fpn.data.box_sanity import refuse_another_form
from keras_fpn.data.fields import choose
from keras_fpn.data.formats import FORMATS, AnnotationFormat, Half, JsonFormat, find_halves, format_of, read_content
from keras_fpn.data.image_files import find_images
from keras_fpn.data.instances import Instances, class_order, read_instances, with_crowds_as_objects
from keras_fpn.data.objects import Objects, is_number, read_numbers, short, shown

log = logging.getLogger(__name__)

_SECTIONS = ("images", "annotations", "categories")
_MOST_PIXELS = 2**31


@dataclass(frozen=True)
class Source:
    """A half of a data set.

    Attributes:
        annotations: what it was read from, for errors.
        images: folder of its pictures.
        entries: its "images", whose sizes are sound.
        files: the path of the picture of each.
        objects: the "annotations" of each image, boxes x, y, width, height in pixels, in their order.
        order: the ids of all annotations in the order of the file.
        categories: its "categories", in the order of the file.
        class_names: `{category id: name}` of the classes in their order; no name is there twice.
        further: what else a COCO file says, such as its "licenses".
        left_out: how many objects were left out as invalid.
    """

    annotations: str
    images: str
    entries: Sequence[dict]
    files: Sequence[str]
    objects: Sequence[Sequence[dict]]
    order: Sequence[int]
    categories: Sequence[dict]
    class_names: Mapping[int, str]
    further: Mapping[str, Any]
    left_out: int = 0


def find_sources(data: str, images: str | None, from_format: str | None) -> tuple[AnnotationFormat, dict[str, Half]]:
    """The format of what is to be converted, and its halves.

    Args:
        data: a folder, annotations, or another name that a format knows.
        images: the folder of the pictures; None where the place of the annotations tells.
        from_format: name of the format; None where it is to be found out.

    Raises:
        UserError: there is nothing of this format, or nothing tells where the pictures are.
    """
    given = None if from_format is None else FORMATS[from_format]
    if images is not None:
        known = given or format_of(data)
        known.check_there(data)
        if os.path.isdir(data) and not known.recognises(data):
            raise UserError(f"{data}: is a folder, and --images goes with annotations; name these, or leave it out")
        return known, {"all": Half(data, images)}
    named = [each.find_named(data) for each in ([given] if given else FORMATS)]
    if os.path.isdir(data) or any(named):
        if given is None:
            return find_halves(data)
        halves = named[0] or given.find(Path(data))
        if halves is None:
            raise UserError(f"{data}: no {given.title} there; wanted {given.layout}")
        return given, halves
    known = given or format_of(data)
    known.check_there(data)
    folder = known.images_of(data)
    if folder is None:
        raise UserError(f"{data}: nothing tells where its pictures are; name their folder by --images DIR")
    return known, {"all": Half(data, folder)}


def read_source(
    known: AnnotationFormat, half: Half, boxes: str = "xywh", crowds: str = "ignore", drop_invalid: bool = False
) -> Source:
    """Read and check a half.

    Args:
        known: its format.
        boxes, crowds: see `read_coco`.
        drop_invalid: leave out boxes that training would refuse.

    Raises:
        UserError: something that training or evaluation could not trust; names the file and the entry.
    """
    if known.name == "coco" or isinstance(known, JsonFormat):
        content = read_content(half.annotations, half.images)
    else:
        content = known.read(half.annotations, half.images)
    instances = read_instances(content, half.images, half.annotations)
    if instances.root is not None:
        log.warning("%s: category 0 (%r) is left out: it is the parent of all others", half.annotations, instances.root)
    path = Path(half.annotations)
    _check_sizes(path, instances.images)
    files = find_images(path, instances.images, half.images)
    instances = in_pixels(instances, boxes)
    instances = with_crowds_as_objects(instances) if crowds == "objects" else instances
    sound = _sound(path, instances, boxes, drop_invalid)
    return _source(half, instances, files, sound, content)


def with_one_list(sources: Mapping[str, Source]) -> dict[str, Source]:
    """The sources with the same `class_names`: all that one of them has, by ascending id.

    Raises:
        UserError: an id has two names, or a name two ids.
    """
    names: dict[int, str] = {}
    for source in sources.values():
        for number, name in source.class_names.items():
            other = next((each for each, known in names.items() if known == name), number)
            if names.setdefault(number, name) != name or other != number:
                raise UserError(
                    f"{source.annotations}: category {number} is {short(name)}, and another half has"
                    f" {other if other != number else short(names[number])} for it; bring them into agreement"
                )
    names = {number: names[number] for number in sorted(names)}
    return {half: dataclasses.replace(source, class_names=names) for half, source in sources.items()}


def _source(half, instances, files, sound, content) -> Source:
    rows = {image["id"]: row for row, image in enumerate(instances.images)}
    objects: list[list[dict]] = [[] for _ in instances.images]
    for item in sound:
        objects[rows[item["image_id"]]].append(item)
    return Source(
        annotations=half.annotations,
        images=half.images,
        entries=instances.images,
        files=files,
        objects=objects,
        order=[item["id"] for item in sound],
        categories=instances.categories,
        class_names={number: instances.class_names[number] for number in class_order(instances, None)},
        further={key: value for key, value in content.items() if key not in _SECTIONS},
        left_out=len(instances.annotations) - len(sound),
    )


def _check_sizes(path, entries):
    if not entries:
        raise UserError(f'{path}: "images" is empty; there is nothing to convert')
    for entry in entries:
        name = entry.get("file_name")
        if not isinstance(name, str) or not name:
            raise UserError(f'{path}: image {entry["id"]} has no "file_name"; add it')
        for key in ("height", "width"):
            value = entry.get(key)
            if not is_number(value) or not 1 <= value < _MOST_PIXELS or not float(value).is_integer():
                raise UserError(
                    f'{path}: image {entry["id"]} has "{key}" {short(value)}; write the size of {shown(name)} in pixels'
                )


def _sound(path: Path, instances: Instances, boxes: str, drop_invalid: bool) -> Sequence[dict]:
    """The annotations that training would take."""
    items = instances.annotations
    unique, count = np.unique(read_numbers(path, items, "id", "int64", wanted="a whole number"), return_counts=True)
    if (count > 1).any():
        raise UserError(f"{path}: annotation id {unique[np.argmax(count > 1)]} is given twice; make the ids unique")
    images = [instances.images[row] for row in instances.rows_of_images().tolist()]
    objects = Objects(path, items, images, class_order(instances, None), drop_invalid)
    if boxes == "xywh":
        refuse_another_form(objects)
    for field in choose(()).values():
        column, is_sound = field.read(objects)
        objects = objects.with_column(field.name, column, is_sound)
    return objects.entries
