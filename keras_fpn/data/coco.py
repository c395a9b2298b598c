"""Annotations in any known format: read, checked and brought to the conventions of this package.

Other formats are read as COCO's (`formats`). COCO writes boxes as x, y, width, height and gives categories any ids
(1..90 with gaps in COCO itself). Here boxes become x1, y1, x2, y2 clipped to the image, and classes become 0..K-1 in
ascending order of the category id. Whatever is wrong in a file is told in one line that names the file, the annotation
or image, and the mend.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from keras_fpn.console.errors import UserError
from keras_fpn.data import columns, joining
from keras_fpn.data.box_forms import FORMS
from keras_fpn.data.class_choice import (
    Classes,
    choose_classes,
    joined_by_name,
    tell_of_classes,
    tell_of_joining,
    with_one_list,
)
from keras_fpn.data.fields import ObjectField, choose
from keras_fpn.data.formats import Half
from keras_fpn.data.instance_checks import as_read, check_instances
from keras_fpn.data.instances import Instances, class_order, read_instances
from keras_fpn.data.picture_contents import Place, place_of
from keras_fpn.data.sources import Names, as_halves

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Record:
    """One image and its n objects.

    Attributes:
        path: the image file, or the TFRecord file that the picture lies in.
        file_name: the name the annotation file gives it.
        image_id: COCO's id.
        height, width: pixels, as the annotation file says; the file is held to it when it is decoded.
        fields: `{name: [n, ...]}`: what each object has, as it is kept in memory (see `ObjectField.unpack`).
        place: of the picture in a TFRecord file; None where it is a file of its own. See `picture_contents`.
    """

    path: str
    file_name: str
    image_id: int
    height: int
    width: int
    fields: Mapping[str, np.ndarray]
    place: Place | None = None

    @property
    def name(self) -> str:
        """The picture in an error: its file, and which of those in it."""
        return self.path if self.place is None else f"{self.path}: image {self.image_id} ({self.file_name})"

    @property
    def boxes(self) -> np.ndarray:
        """[n, 4] float32 x1, y1, x2, y2 in pixels, clipped to the image, width and height above zero."""
        return self.fields["boxes"]

    @property
    def classes(self) -> np.ndarray:
        """[n] int32 in 0..K-1."""
        return self.fields["classes"]

    @property
    def is_crowd(self) -> np.ndarray:
        """[n] int32, 1 where the box bounds a crowd rather than one object."""
        return self.fields["is_crowd"]


@dataclass(frozen=True)
class CocoDataset:
    """Checked annotations: the K `class_names`, their `category_ids`, and the `records`.

    `annotations` and `images` name what it was read from, in words where these are several `sources`. `fields` by name
    are what was read of each object. `proposals`, where there are some: the `proposal_files.ImageProposals` of its
    images. `boxes`, `crowds`, `classes` and `categories` are the arguments that it was read with. `rewritten`, once the
    pictures were looked at for it: the `rewritten_pictures.RewrittenPictures` among them.
    """

    annotations: str
    images: str
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    records: tuple[Record, ...]
    dropped: tuple[int, ...] = ()  # ids of the annotations left out by invalid_boxes="drop"
    proposals: object = None
    fields: Mapping[str, ObjectField] = field(default_factory=lambda: choose(()))
    boxes: str = "xywh"
    crowds: str = "ignore"
    sources: tuple[Half, ...] = ()
    classes: Classes | None = None
    categories: Mapping[str, int] | None = None
    rewritten: object = field(default=None, compare=False)

    def __len__(self) -> int:
        return len(self.records)

    def instances(self) -> Instances:
        """The annotations again, as one file, with boxes, crowds and classes as they were read.

        What a `COCOEvaluator` of this data set is made of.
        """
        parts = [read_instances(half.annotations, half.images) for half in self.sources]
        chosen = choose_classes(with_one_list(parts), self.classes, self.categories is not None)
        parts = _as_one(chosen, self.categories)
        joined = joining.join([as_read(part, self.boxes, self.crowds) for part in parts])
        categories = joined.categories
        for each in self.fields.values():
            categories = each.categories_to_measure(categories)
        return replace(joined, categories=categories)


def read_coco(
    annotations: Names,
    images: Names | None = None,
    *,
    category_ids: Sequence[int] | None = None,
    invalid_boxes: str = "refuse",
    fields: Sequence[str | ObjectField] = (),
    boxes: str = "xywh",
    crowds: str = "ignore",
    classes: Classes | None = None,
    categories: Mapping[str, int] | None = None,
    field_settings: Mapping[str, Any] = MappingProxyType({}),
) -> CocoDataset:
    """Read and check annotations and the presence of their image files.

    Args:
        annotations: a COCO instances file (JSON with "images", "annotations" and "categories"), or annotations in
            another of the `formats`; several are one data set: categories of one name are one class.
        images: folder that holds the "file_name" of each image, one for each of the annotations; None where their
            format tells.
        category_ids: the categories a model was trained on, in the order of its classes; the file's
            categories by ascending id if None. Give it when evaluating, so that class numbers agree with the
            model.
        invalid_boxes: "refuse" (an error) or "drop" boxes without width or height, with values that are not
            finite numbers, or wholly outside their image. COCO's own train2017 holds a few without height. With
            "masks" also objects that cover nothing of their box.
        fields: what to read of each object besides its box, its class and whether it is a crowd: names of per-object
            fields, such as "masks" (its "segmentation": polygons, or run lengths, compressed or not), or fields.
        boxes: the form of "bbox": "xywh" (x, y, width, height in pixels, COCO's), "xyxy" (two corners), "cxcywh" (the
            middle, width, height), or the same as shares 0..1 of the image: "shares" (x, y, width, height),
            "xyxy_shares", "cxcywh_shares" (YOLO's). A file that seems to be in another form is refused.
        crowds: "ignore" (COCO's: objects with "iscrowd" 1 are neither learnt nor measured) or "objects" (they are
            objects like others: CVAT writes masks so).
        classes: names of those to keep, or `{name: names that become it}` to rename and merge; all by default.
        categories: `{name: id}` that a model learnt (its `categories`): where those of the file have these names, or
            some of them, they have these ids, whatever the file says.
        field_settings: `{key: value}` of what fields declare as settings of the data (`ObjectField.settings`).

    Returns:
        the records in the order of "images"; images without objects are kept.

    Raises:
        UserError: anything in the file that training or evaluation could not trust; there is no field of a name.
    """
    chosen = {name: _told(each, field_settings) for name, each in choose(fields).items()}
    _check_choice("invalid_boxes", invalid_boxes, ("refuse", "drop"))
    _check_choice("boxes", boxes, tuple(FORMS))
    _check_choice("crowds", crowds, ("ignore", "objects"))
    sources = tuple(as_halves(annotations, images))
    given = [read_instances(half.annotations, half.images) for half in sources]
    chosen_parts = choose_classes(with_one_list(given), classes, categories is not None)
    parts = _as_one(chosen_parts, categories)
    tell_of_classes(given, parts, classes)
    tell_of_joining(chosen_parts, categories)
    joining.tell_of_ids(given, parts)
    ids = class_order(parts[0], None if category_ids is None else tuple(int(number) for number in category_ids))
    names = tuple(parts[0].class_names.get(number, str(number)) for number in ids)
    chosen = _of_parts(chosen, parts, ids)
    records, dropped = [], []
    for source, part in zip(sources, parts, strict=True):
        own, left_out = _read_records(source, part, ids, chosen, invalid_boxes == "drop", boxes, crowds)
        records += own
        dropped += left_out
    return CocoDataset(
        annotations=" and ".join(half.annotations for half in sources),
        images=" and ".join(half.images for half in sources),
        class_names=names,
        category_ids=ids,
        records=tuple(records),
        dropped=tuple(dropped),
        fields=chosen,
        boxes=boxes,
        crowds=crowds,
        sources=sources,
        classes=classes,
        categories=categories,
    )


def _told(each: ObjectField, settings: Mapping[str, Any]) -> ObjectField:
    """A field that was told what it declares; those that declare nothing are as they are."""
    own = {key: settings[key] for key in each.settings.model_fields if key in settings}
    return each.with_settings(**own) if own else each


def _of_parts(fields: Mapping[str, ObjectField], parts: Sequence[Instances], ids: Sequence[int]):
    """The fields as the parts of a data set have them, which must be alike."""
    found = []
    for part, categories in zip(parts, joining.completed_categories(parts), strict=True):
        of_id = {category["id"]: category for category in categories}
        of_classes = [of_id[number] for number in ids if number in of_id]
        found.append({name: each.for_categories(of_classes, part.source) for name, each in fields.items()})
    for part, others in zip(parts[1:], found[1:], strict=True):
        for name, each in found[0].items():
            each.check_same_as(others[name], parts[0].source, part.source)
    return found[0]


def _as_one(parts: Sequence[Instances], categories: Mapping[str, int] | None) -> list[Instances]:
    """The parts of a data set, which have one list of categories, with a model's and ids of their own."""
    return joining.with_own_ids(joined_by_name(parts, categories))


def _read_records(source: Half, instances: Instances, ids, fields, drop_invalid, boxes, crowds):
    """(records of a source, ids of the objects that were left out)."""
    annotations = Path(source.annotations)
    found = check_instances(annotations, Path(source.images), instances, ids, fields, drop_invalid, boxes, crowds)
    if found.dropped:
        log.warning(
            "%s: dropped %d of %d boxes as invalid", annotations, len(found.dropped), len(instances.annotations)
        )
    return _gather(found.instances.images, found.files, found.rows, found.objects.columns), found.dropped


def _check_choice(name, value, choices) -> None:
    if value not in choices:
        raise UserError(f"{name} must be {' or '.join(map(json.dumps, choices))}, not {value!r}")


def _gather(entries, paths: Sequence[str], rows, column_of: Mapping[str, np.ndarray]) -> tuple[Record, ...]:
    names = list(column_of)
    parts = (columns.split(column_of[name], rows, len(entries)) for name in names)
    return tuple(
        Record(
            path=path,
            file_name=entry["file_name"],
            image_id=entry["id"],
            height=int(entry["height"]),
            width=int(entry["width"]),
            fields=dict(zip(names, own, strict=True)),
            place=place_of(entry),
        )
        for entry, path, *own in zip(entries, paths, *parts, strict=True)
    )
