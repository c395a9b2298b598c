"""COCO instances files: read, and what training and evaluation both rest on checked in one place."""

import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_fpn.console.errors import UserError
from keras_fpn.data.objects import is_whole, read_numbers, short

_SECTIONS = ("images", "annotations", "categories")


@dataclass(frozen=True)
class Instances:
    """The content of an instances file: lists of objects whose images and categories have ids of their own.

    Attributes:
        source: the path, or "annotations" for a dict: the start of an error.
        images: its "images", each with a whole number as "id".
        annotations: its "annotations", of which nothing is checked.
        categories: its "categories", each with a whole number as "id".
        class_names: `{category id: name}` in the order of the file, the id where there is no name. Two categories of
            one name, as exporters that list the super-category write them, have their ids behind it.
    """

    source: str
    images: list[dict]
    annotations: list[dict]
    categories: list[dict]
    class_names: Mapping[int, str]

    def rows_of_images(self) -> np.ndarray:
        """`[n]` int64: the row of "images" that each annotation is on.

        Raises:
            UserError: an annotation names none of the images.
        """
        image_ids = read_numbers(self.source, self.annotations, "image_id", "int64", wanted="a whole number")
        row_of = {image["id"]: row for row, image in enumerate(self.images)}
        rows = np.array([row_of.get(number, -1) for number in image_ids.tolist()], np.int64)
        if (rows < 0).any():
            first = int(np.argmax(rows < 0))
            raise UserError(
                f"{self.source}: annotation {self.annotations[first].get('id', f'number {first}')} has image_id"
                f' {image_ids[first]}, which is not in "images"; correct it or add the entry'
            )
        return rows


def read_instances(annotations: str | os.PathLike | dict[str, Any]) -> Instances:
    """Read an instances file, or take its content as a dict, which is not changed.

    Raises:
        UserError: there is no such file, or it is no instances file; names the file, the entry and the mend.
    """
    source = "annotations" if isinstance(annotations, dict) else str(annotations)
    content = annotations if isinstance(annotations, dict) else _read_json(Path(annotations))
    sections = {key: _objects(source, content, key) for key in _SECTIONS}
    _check_image_ids(source, sections["images"])
    return Instances(source, **sections, class_names=_class_names(source, sections["categories"]))


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such annotation file; check the path") from None
    except OSError as error:
        raise UserError(f"{path}: cannot read the annotation file ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a whole JSON file ({error}); write or download it again") from None


def _objects(source: str, content: Any, key: str) -> list[dict]:
    """One of the lists of a file, every entry of which is an object."""
    if isinstance(content, list):
        raise UserError(
            f"{source}: holds a list (a results file?); give a COCO instances file, an object with "
            f'"images", "annotations" and "categories"'
        )
    value = content.get(key) if isinstance(content, dict) else None
    if not isinstance(value, list):
        what = "is missing" if value is None else "is not a list"
        raise UserError(f'{source}: "{key}" {what}; a COCO instances file has "images", "annotations" and "categories"')
    wrong = next((index for index, item in enumerate(value) if not isinstance(item, dict)), None)
    if wrong is not None:
        raise UserError(f'{source}: entry {wrong} of "{key}" is not an object; correct it')
    return value


def _check_image_ids(source: str, images: list[dict]) -> None:
    seen = set()
    for index, image in enumerate(images):
        if not is_whole(image.get("id")):
            raise UserError(f'{source}: entry {index} of "images" has no whole number as "id"; add it')
        if image["id"] in seen:
            raise UserError(f"{source}: image {image['id']} is listed twice; make the image ids unique")
        seen.add(image["id"])


def _class_names(source: str, categories: list[dict]) -> dict[int, str]:
    names: dict[int, str] = {}
    for index, category in enumerate(categories):
        number = category.get("id")
        if not is_whole(number):
            raise UserError(f'{source}: entry {index} of "categories" has no whole number as "id"; add it')
        if number in names:
            raise UserError(f"{source}: category id {number} is given twice; make the ids unique")
        names[number] = _name(category) or str(number)
    count = Counter(names.values())
    return {number: name if count[name] == 1 else f"{name} ({number})" for number, name in names.items()}


def _name(category: dict) -> str:
    """The name of a category, "" where it has none."""
    name = category.get("name")
    return name.strip() if isinstance(name, str) else ""


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
