"""Examples of TFDS as the content of a COCO instances file."""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_fpn.console.errors import UserError
from keras_fpn.data.objects import shown
from keras_fpn.data.tfds.boxes import boxes_in_pixels
from keras_fpn.data.tfds.schema import Schema, at

if TYPE_CHECKING:
    from keras_fpn.data.tfds.examples import Example

log = logging.getLogger(__name__)

_STARTS = ((b"\xff\xd8\xff", ".jpg"), (b"\x89PNG", ".png"), (b"GIF8", ".gif"), (b"BM", ".bmp"), (b"RIFF", ".webp"))


class Content:
    """Collects the content of an instances file, an example at a time.

    Args:
        schema: of the data set.
        source: for errors and notes.
    """

    def __init__(self, schema: Schema, source: str):
        self._schema, self._source = schema, source
        self._images: list[dict] = []
        self._annotations: list[dict] = []
        self._seen: dict[int, str] = {}
        self._num_empty = 0

    def add(self, example: "Example") -> dict:
        """Add an image and its objects; the entry of the image, to which its place may be added.

        Raises:
            UserError: another image has its id.
        """
        schema = self._schema
        entry: dict[str, Any] = {
            "id": self._image_id(example),
            "file_name": self._file_name(example),
            "height": example.height,
            "width": example.width,
        }
        if entry["id"] in self._seen:
            raise UserError(
                f"{self._source}: {shown(entry['file_name'])} and {shown(self._seen[entry['id']])} have the id"
                f" {entry['id']}; name another feature by --image-id-key"
            )
        self._seen[entry["id"]] = entry["file_name"]
        self._images.append(entry)
        self._annotations += self._objects(entry, at(example.features, schema.objects))
        return entry

    def as_coco(self) -> dict[str, Any]:
        """The content of the file. Objects count from 1 where they have no ids of their own, or some have one twice."""
        if self._num_empty:
            log.warning(
                "%s: left out %d boxes without width or height of %d",
                self._source, self._num_empty, self._num_empty + len(self._annotations),
            )  # fmt: skip
        ids = [item["id"] for item in self._annotations]
        if len(set(ids)) != len(ids):
            for number, item in enumerate(self._annotations, start=1):
                item["id"] = number
        pairs = zip(self._schema.category_ids, self._schema.class_names, strict=True)
        categories = [{"id": number, "name": name} for number, name in pairs]
        return {"images": self._images, "annotations": self._annotations, "categories": categories}

    def _image_id(self, example) -> int:
        path = self._schema.image_id
        return example.number if path is None else int(at(example.features, path))

    def _file_name(self, example) -> str:
        path = self._schema.file_name
        if path is not None:
            name = at(example.features, path)
            name = name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else str(name)
            if name:
                return name
        suffix = next((suffix for start, suffix in _STARTS if example.picture.startswith(start)), "")
        return f"{self._image_id(example):06d}{suffix}"

    def _objects(self, image, objects) -> list[dict]:
        """The annotations of an image; their ids, where they have none, follow those of the images before."""
        schema, first = self._schema, len(self._annotations) + 1
        boxes = boxes_in_pixels(objects[schema.box], schema.box_form, schema.known, image["height"], image["width"])
        count = len(boxes)
        labels = _column(objects, schema.label, [0] * count)
        others = {key: _named(_column(objects, key), names) for key, names in schema.others.items()}
        columns: dict[str, Sequence] = others | {
            "id": _column(objects, schema.object_id, range(first, first + count)),
            "image_id": [image["id"]] * count,
            "category_id": [self._category_id(label, image) for label in labels],
            "bbox": boxes.tolist(),
            "iscrowd": [int(value == 1) for value in _column(objects, schema.ignore, [0] * count)],
        }
        if schema.area is not None:
            columns["area"] = _column(objects, schema.area)
        items = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        if not schema.known.leaves_out_empty:
            return items
        kept = [item for item in items if min(item["bbox"][2:]) > 0]
        self._num_empty += len(items) - len(kept)
        return kept

    def _category_id(self, label, image) -> int:
        ids = self._schema.category_ids
        if not 0 <= label < len(ids):
            raise UserError(
                f"{self._source}: an object of {shown(image['file_name'])} has the label {label}, and there are"
                f" {len(ids)} classes; prepare the data set again"
            )
        return ids[label]


def _column(objects, key, default=()) -> Sequence:
    """The numbers that the objects of an image have under a key; the default where the key is None."""
    return default if key is None else np.asarray(objects[key]).tolist()


def _named(values, names) -> list:
    """Labels by their names, truths as 0 and 1, numbers as they are."""
    if names:
        return [names[value] if 0 <= value < len(names) else value for value in values]
    return [int(value) if isinstance(value, bool) else value for value in values]
