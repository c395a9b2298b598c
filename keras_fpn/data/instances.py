"""COCO instances files: read, and what training and evaluation both rest on checked in one place."""

import dataclasses
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_fpn.console.errors import UserError
from keras_fpn.data.entry_values import text_of, with_plain_crowds, with_whole_ids
from keras_fpn.data.formats import format_of, read_content
from keras_fpn.data.objects import entry_name, is_whole, read_numbers, short

_SECTIONS = ("images", "annotations", "categories")
# (section, what an annotation calls its id, what is said of one that is there twice)
_UNIQUE = (
    ("images", "image_id", "image {} is listed twice; make the image ids unique"),
    ("categories", "category_id", "category id {} is given twice; make the ids unique"),
)
_IDS = {"images": ("id",), "annotations": ("id", "image_id", "category_id"), "categories": ("id",)}


@dataclass(frozen=True)
class Instances:
    """The content of an instances file: lists of objects whose images and categories have ids of their own.

    Attributes:
        source: the path, or "annotations" for a dict: the start of an error.
        images: its "images", each with a whole number as "id".
        annotations: its "annotations", of which nothing is checked but "iscrowd": 0 or 1, or absent. Ids that are whole
            numbers in another form ("17", 17.0) are whole numbers here and in the other lists.
        categories: its "categories", each with a whole number as "id".
        class_names: `{category id: name}` in the order of the file, the id where there is no name. Two categories of
            one name, as exporters that list the super-category write them, have their ids behind it.
    """

    source: str
    images: list[dict]
    annotations: list[dict]
    categories: list[dict]
    class_names: Mapping[int, str]
    root: str | None = None  # the name of a category that was left out, see `root_category`

    def rows_of_images(self) -> np.ndarray:
        """`[n]` int64: the row of "images" that each annotation is on.

        Raises:
            UserError: an annotation names none of the images.
        """
        wanted = 'a whole number, the "id" of its image'
        image_ids = read_numbers(self.source, self.annotations, "image_id", "int64", wanted=wanted)
        row_of = {image["id"]: row for row, image in enumerate(self.images)}
        rows = np.array([row_of.get(number, -1) for number in image_ids.tolist()], np.int64)
        if (rows < 0).any():
            first = int(np.argmax(rows < 0))
            raise UserError(
                f"{self.source}: {entry_name(self.annotations[first], first)} has image_id"
                f' {image_ids[first]}, which is not in "images"; correct it or add the entry'
            )
        return rows


def read_instances(
    annotations: "str | os.PathLike | dict[str, Any] | Instances",
    images: str | os.PathLike | None = None,
    source: str = "annotations",
) -> Instances:
    """Read an instances file, or annotations in another of the `formats`, or take the content of one as a dict.

    Args:
        annotations: path or name; a dict, which is not changed; or what was read, which is given back.
        images: folder of the images, which some formats need; by default where the format has it.
        source: where a dict comes from, the start of an error.

    Raises:
        UserError: there is no such file, or it is no instances file; names the file, the entry and the mend.
    """
    if isinstance(annotations, Instances):
        return annotations
    source = source if isinstance(annotations, dict) else str(annotations)
    content = annotations if isinstance(annotations, dict) else _read(annotations, images)
    sections = {key: with_whole_ids(_objects(source, content, key), _IDS[key]) for key in _SECTIONS}
    for section, reference, twice in _UNIQUE:
        _check_ids(source, sections[section], section, reference, twice)
    sections["annotations"] = with_plain_crowds(source, sections["annotations"])
    root = root_category(sections["categories"], sections["annotations"])
    sections["categories"] = [category for category in sections["categories"] if category is not root]
    names = _class_names(sections["categories"])
    return Instances(source, **sections, class_names=names, root=None if root is None else _name(root))


def _read(annotations, images):
    if images is None:
        images = format_of(annotations).images_of(os.fspath(annotations)) or ""
    return read_content(annotations, images)


def with_crowds_as_objects(instances: Instances) -> Instances:
    """The instances without a crowd among them."""
    items = [{**item, "iscrowd": 0} if item.get("iscrowd") else item for item in instances.annotations]
    return dataclasses.replace(instances, annotations=items)


def section(source: str, content: Any, key: str) -> list[Any]:
    """One of the lists of an instances file, whatever its entries are.

    Raises:
        UserError: there is no such list.
    """
    if isinstance(content, list):
        raise UserError(
            f"{source}: holds a list (a results file?); give a COCO instances file, an object with "
            f'"images", "annotations" and "categories"'
        )
    value = content.get(key) if isinstance(content, dict) else None
    if not isinstance(value, list):
        what = "is missing" if value is None else "is not a list"
        raise UserError(f'{source}: "{key}" {what}; a COCO instances file has "images", "annotations" and "categories"')
    return value


def _objects(source: str, content: Any, key: str) -> list[dict]:
    """One of the lists of a file, every entry of which is an object."""
    value = section(source, content, key)
    wrong = next((index for index, item in enumerate(value) if not isinstance(item, dict)), None)
    if wrong is not None:
        raise UserError(f'{source}: entry {wrong} of "{key}" is not an object; correct it')
    return value


def _check_ids(source: str, entries: list[dict], section: str, reference: str, twice: str) -> None:
    """Refuse an id that is no whole number, or is given twice: `twice` says so, with room for the id."""
    seen = set()
    for index, entry in enumerate(entries):
        if not is_whole(entry.get("id")):
            _refuse_id(source, index, entry, section, reference)
        if entry["id"] in seen:
            raise UserError(f"{source}: {twice.format(entry['id'])}")
        seen.add(entry["id"])


def _refuse_id(source, index, entry, section, reference):
    """Tell of an id that is no whole number; a string is there, so that "add it" would mislead."""
    name, value = f'{source}: entry {index} of "{section}" has', entry.get("id")
    if value is None:
        raise UserError(f'{name} no whole number as "id"; add it')
    found = f"the string {short(value)}" if isinstance(value, str) else short(value)
    raise UserError(
        f'{name} {found} as "id", and ids are whole numbers here; number the {section} 1, 2, 3 ... and write the'
        f' numbers as "{reference}" of the annotations, too'
    )


def root_category(categories: list[dict], annotations: list[dict]) -> dict | None:
    """The category that Roboflow's exports list as the parent of all others: no class, and no object has it."""
    if len(categories) < 2:
        return None
    root = next((category for category in categories if category.get("id") == 0), None)
    if root is None or not _name(root) or str(root.get("supercategory", "")).lower() != "none":
        return None
    if any(category.get("supercategory") != root["name"] for category in categories if category is not root):
        return None
    return None if any(entry.get("category_id") == 0 for entry in annotations) else root


def _class_names(categories: list[dict]) -> dict[int, str]:
    names = {category["id"]: _name(category) or str(category["id"]) for category in categories}
    count = Counter(names.values())
    return {number: name if count[name] == 1 else f"{name} ({number})" for number, name in names.items()}


def _name(category: dict) -> str:
    """The name of a category, "" where it has none."""
    return text_of(category.get("name"))


def class_order(instances: Instances, wanted: tuple[int, ...] | None) -> tuple[int, ...]:
    """The category ids in the order of the classes: those of the file by ascending id, or the `wanted` of a model.

    Raises:
        UserError: the file has no categories, one without a name, or one that is not wanted.
    """
    names = instances.class_names
    unnamed = next((category["id"] for category in instances.categories if not _name(category)), None)
    if unnamed is not None:
        raise UserError(f'{instances.source}: category {unnamed} has no "name"; add it')
    if not names:
        raise UserError(f'{instances.source}: "categories" is empty; list the classes that the annotations use')
    if wanted is None:
        return tuple(sorted(names))
    unknown = sorted(set(names) - set(wanted))
    if unknown:
        raise UserError(
            f"{instances.source}: category {unknown[0]} ({names[unknown[0]]!r}) is not one of the model's "
            f"category ids {short(wanted)}; evaluate on the categories of the training data"
        )
    return wanted
