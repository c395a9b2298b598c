"""A data set to convert: found, read and checked as for training."""

import dataclasses
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_fpn.console.errors import UserError
from keras_fpn.data.class_choice import Classes, choose_classes, tell_of_classes, with_one_list
from keras_fpn.data.fields import choose
from keras_fpn.data.formats import FORMATS, AnnotationFormat, Half, JsonFormat, find_halves, format_of, read_content
from keras_fpn.data.instance_checks import check_instances
from keras_fpn.data.instances import Instances, class_order, read_instances, section
from keras_fpn.data.objects import is_finite, short

log = logging.getLogger(__name__)

_SECTIONS = ("images", "annotations", "categories")


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


def read_sources(
    known: AnnotationFormat,
    halves: Mapping[str, Half],
    boxes: str = "xywh",
    crowds: str = "ignore",
    drop_invalid: bool = False,
    classes: Classes | None = None,
) -> dict[str, Source]:
    """Read and check the halves of a data set.

    Args:
        known: their format.
        boxes, crowds, classes: see `read_coco`.
        drop_invalid: leave out boxes that training would refuse.

    Raises:
        UserError: something that training or evaluation could not trust; names the file and the entry.
    """
    contents = {name: _content(known, half) for name, half in halves.items()}
    parts = [read_instances(contents[name], half.images, half.annotations) for name, half in halves.items()]
    if classes is not None:
        given = parts
        parts = choose_classes(with_one_list(given), classes)
        tell_of_classes(given, parts, classes)
    sources = {
        name: _source(halves[name], part, contents[name], boxes, crowds, drop_invalid)
        for name, part in zip(halves, parts, strict=True)
    }
    return _with_all_names(sources)


def _content(known: AnnotationFormat, half: Half) -> dict[str, Any]:
    is_json = known.name == "coco" or isinstance(known, JsonFormat)
    content = (read_content if is_json else known.read)(half.annotations, half.images)
    section(half.annotations, content, "images")  # refuses what is no object
    return content


def _with_all_names(sources: Mapping[str, Source]) -> dict[str, Source]:
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


def _source(half: Half, instances: Instances, content, boxes, crowds, drop_invalid) -> Source:
    path, folder = Path(half.annotations), Path(half.images)
    ids = class_order(instances, None)
    found = check_instances(path, folder, instances, ids, choose(()), drop_invalid, boxes, crowds)
    objects: list[list[dict]] = [[] for _ in instances.images]
    for item, row in zip(_with_sound_areas(path, found.objects.entries), found.rows.tolist(), strict=True):
        objects[row].append(item)
    return Source(
        annotations=half.annotations,
        images=half.images,
        entries=instances.images,
        files=found.files,
        objects=objects,
        order=[item["id"] for item in found.objects.entries],
        categories=instances.categories,
        class_names={number: instances.class_names[number] for number in ids},
        further={key: value for key, value in content.items() if key not in _SECTIONS},
        left_out=len(found.dropped),
    )


def _with_sound_areas(path: Path, entries: Sequence[dict]) -> list[dict]:
    """Annotations without an "area" that is no number, or NaN, which evaluation would refuse; a line tells of it."""
    is_odd = [entry.get("area") is not None and not is_finite(entry["area"]) for entry in entries]
    if any(is_odd):
        log.warning(
            "%s: the area of %d of %d annotations is no number, and is left out", path, sum(is_odd), len(entries)
        )
    return [
        {key: value for key, value in entry.items() if key != "area"} if odd else entry
        for entry, odd in zip(entries, is_odd, strict=True)
    ]
