"""Images, objects and classes as they are met in a tool's files, numbered as COCO's."""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from keras_fpn.console.errors import UserError
from keras_fpn.data.entry_values import as_whole
from keras_fpn.data.formats.outlines import Outline
from keras_fpn.data.objects import is_whole, short

log = logging.getLogger(__name__)


class Collected:
    """Content of a tool's files as it is read, until it is whole.

    Images, objects and classes keep the tool's own ids where all of a kind have one, a whole number of its own; they
    are 1, 2, 3 ... otherwise.

    Args:
        source: the annotations, for messages.
        classes: `(id or None, name)` of the classes that the tool lists, in its order, those without objects, too.
    """

    def __init__(self, source: str, classes: Iterable[tuple[Any, str]] = ()):
        self.source = source
        self._classes = dict.fromkeys(name for _, name in classes)
        for number, name in classes:
            self._classes[name] = number
        self._images: list[dict[str, Any]] = []
        self._objects: list[dict[str, Any]] = []
        self._places: dict[str, str] = {}
        self._left_out: Counter[str] = Counter()

    def add_image(self, file_name: str, size: Sequence[int], number: Any = None, named: str | None = None) -> int:
        """Add an image; returns its place among the images.

        Args:
            file_name: relative to the image folder.
            size: height and width, pixels.
            number: the tool's own id.
            named: what the tool calls the file, where `file_name` was found by it.

        Raises:
            UserError: two images that the tool calls otherwise were found to be one file.
        """
        named = file_name if named is None else named
        other = self._places.setdefault(file_name, named)
        if other != named:
            raise UserError(
                f"{self.source}: {short(other)} and {short(named)} would both be {short(file_name)} of the image"
                " folder; give the folder that both paths begin in"
            )
        height, width = (int(side) for side in size)
        self._images.append({"id": number, "file_name": file_name, "height": height, "width": width})
        return len(self._images) - 1

    def add_object(self, image: int, name: str, outline: Outline, number: Any = None, **further: Any) -> None:
        """Add an object; what the tool says of it besides stays under its own key, unless it is empty.

        Args:
            image: place of its image, as `add_image` gave it.
            name: of its class.
            number: the tool's own id.
        """
        kept = {key: value for key, value in further.items() if not _is_empty(value)}
        entry = {"id": number, "image_id": image, "category_id": name, "iscrowd": 0, **outline.entry, **kept}
        self._objects.append(entry)

    def leave_out(self, kind: str, number: int = 1) -> None:
        """Count what becomes no object, by its kind in words, in the plural: "points"."""
        self._left_out[kind] += number

    def size(self, image: int) -> tuple[int, int]:
        """Height and width of the image at a place, pixels."""
        entry = self._images[image]
        return entry["height"], entry["width"]

    def content(self, others: Iterable[str] = ()) -> dict[str, Any]:
        """Content of a COCO instances file; tells in one line what was left out.

        Args:
            others: names of classes that another half of the data set has. They and those of the objects here come
                behind the listed ones, by name.
        """
        if self._left_out:
            kinds = ", ".join(f"{kind} ({number})" for kind, number in sorted(self._left_out.items()))
            log.warning("%s: left out, as no object with a box can be made of them: %s", self.source, kinds)
        further = {*others, *(entry["category_id"] for entry in self._objects)} - set(self._classes)
        names = [*self._classes, *sorted(further)]
        ids = dict(zip(names, _numbers([self._classes.get(name) for name in names]), strict=True))
        image_ids = _numbers([image["id"] for image in self._images])
        own = _numbers([entry["id"] for entry in self._objects], least=1)  # 0 is what tools write where they have none
        images = [{**image, "id": number} for image, number in zip(self._images, image_ids, strict=True)]
        annotations = [
            {**entry, "id": number, "image_id": image_ids[entry["image_id"]], "category_id": ids[entry["category_id"]]}
            for entry, number in zip(self._objects, own, strict=True)
        ]
        categories = [{"id": number, "name": name} for name, number in ids.items()]
        return {"images": images, "annotations": annotations, "categories": categories}


def _is_empty(value):
    return value is None or value is False or (isinstance(value, str | dict | list) and not value)


def _numbers(given: Sequence[Any], least: int = 0) -> list[int]:
    """The ids that are given, if each is a whole number and none is there twice; 1, 2, 3 ... otherwise."""
    whole = [as_whole(number) for number in given]
    if all(is_whole(number) and number >= least for number in whole) and len(set(whole)) == len(whole):
        return whole
    return list(range(1, len(given) + 1))
