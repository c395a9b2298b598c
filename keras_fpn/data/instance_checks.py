"""Checks of an instances file before it is trusted, whoever reads it: images, ids, files, boxes, fields."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_fpn.console.errors import UserError
from keras_fpn.data.box_forms import in_pixels
from keras_fpn.data.box_sanity import refuse_another_form
from keras_fpn.data.fields import ObjectField
from keras_fpn.data.image_files import check_large_claims, find_images
from keras_fpn.data.instances import Instances, with_crowds_as_objects
from keras_fpn.data.objects import Objects, is_number, read_numbers, short, shown

log = logging.getLogger(__name__)

_MOST_PIXELS = 2**31


class Checked(NamedTuple):
    """Instances that were checked.

    Attributes:
        instances: with boxes in COCO's form.
        files: the path of the picture of each image.
        objects: the sound ones, with a column for each field.
        rows: `[n]` int64, the image that each of them is on.
        dropped: ids of the objects that were left out.
    """

    instances: Instances
    files: list[str]
    objects: Objects
    rows: np.ndarray
    dropped: list[int]


def check_instances(
    path: Path,
    images: Path,
    instances: Instances,
    category_ids: Sequence[int],
    fields: Mapping[str, ObjectField],
    drop_invalid: bool,
    boxes: str,
    crowds: str,
) -> Checked:
    """Check instances, and find their pictures.

    Args:
        path: the annotations, for errors.
        images: folder of their pictures.
        category_ids: in the order of the classes.
        fields: to be read of each object.
        drop_invalid: whether to leave out objects that a field finds invalid.
        boxes, crowds: see `read_coco`.

    Raises:
        UserError: something that training or evaluation could not trust; names the file, the entry and the mend.
    """
    if instances.root is not None:
        log.warning(
            "%s: category 0 (%r) is left out of the classes: it is the parent of all others, and no object has it",
            path, instances.root,
        )  # fmt: skip
    _check_images(path, instances.images)
    files = find_images(path, instances.images, images)
    check_large_claims(path, instances.images, files)
    instances = as_read(instances, boxes, crowds)
    objects, rows = _find_objects(path, instances, category_ids, drop_invalid)
    if boxes == "xywh":
        refuse_another_form(objects)
    found, objects = objects, _read_fields(objects, fields.values())
    sound = np.isin([entry["id"] for entry in found.entries], [entry["id"] for entry in objects.entries])
    dropped = [entry["id"] for entry, is_sound in zip(found.entries, sound, strict=True) if not is_sound]
    return Checked(instances, files, objects, rows[sound], dropped)


def as_read(instances: Instances, boxes: str, crowds: str) -> Instances:
    """The instances with boxes in COCO's form, and crowds as objects where they are to be; see `read_coco`."""
    instances = in_pixels(instances, boxes)
    return with_crowds_as_objects(instances) if crowds == "objects" else instances


def _check_images(path: Path, entries: list[dict]) -> None:
    """Every image names a file and has a size."""
    if not entries:
        raise UserError(f'{path}: "images" is empty; there is nothing to read')
    for entry in entries:
        image = f"{path}: image {entry['id']}"
        if not isinstance(entry.get("file_name"), str) or not entry["file_name"]:
            raise UserError(f'{image} has no "file_name"; add it')
        for key in ("height", "width"):
            value = entry.get(key)
            if not is_number(value) or not 1 <= value < _MOST_PIXELS or not float(value).is_integer():
                raise UserError(
                    f'{image} has "{key}" {short(value)}; write the size of {shown(entry["file_name"])} in pixels'
                )


def _find_objects(path: Path, instances: Instances, category_ids, drop_invalid) -> tuple[Objects, np.ndarray]:
    """The objects of a file, nothing read of them yet, and the row of "images" that each is on, [n] int64."""
    items, entries = instances.annotations, instances.images
    ids = read_numbers(path, items, "id", "int64", wanted="a whole number")
    unique, count = np.unique(ids, return_counts=True)
    if (count > 1).any():
        twice = unique[np.argmax(count > 1)]
        raise UserError(f"{path}: annotation id {twice} is given twice; make the annotation ids unique")
    rows = instances.rows_of_images()
    return Objects(path, items, [entries[row] for row in rows.tolist()], category_ids, drop_invalid), rows


def _read_fields(objects: Objects, fields: Iterable[ObjectField]) -> Objects:
    """The sound objects, with a column for each field; a field sees what those before it found sound."""
    for each in fields:
        column, is_sound = each.read(objects)
        dtype = each.dtype if each.kept_dtype is None else each.kept_dtype
        shape = each.shape if each.kept_shape is None else each.kept_shape
        if column.dtype != np.dtype(dtype) or column.shape != (len(objects), *shape):
            raise UserError(
                f"field {each.name!r}: read gives {column.dtype} {list(column.shape)} of {len(objects)} objects; it"
                f" declares {np.dtype(dtype)} {[len(objects), *shape]}"
            )
        objects = objects.with_column(each.name, column, is_sound)
    return objects
