"""Companions of annotations: what their format has no place for, beside them; `formats.gathering` reads it back."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_fpn.console.files import write_text
from keras_fpn.data.conversion.sources import Source
from keras_fpn.data.formats.gathering import VERSION, companion

_OF_THE_FORMATS = {"id", "image_id", "category_id", "bbox"}


class Companion:
    """The companion of a half that is being written.

    Args:
        held: keys of an annotation that the format has a place for, besides box and class.
    """

    def __init__(self, source: Source, held: Sequence[str] = ()):
        self._source = source
        self._held = _OF_THE_FORMATS | set(held)
        self._images: list[dict[str, Any]] = []
        self._lost: Counter[str] = Counter()

    def add(
        self,
        name: str,
        entry: Mapping[str, Any],
        size: tuple[int, int],
        check: int,
        objects: Sequence[tuple[Mapping[str, Any], Sequence[float]]],
        unwritten: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Add an image.

        Args:
            name: of its picture, as a reader finds it.
            entry: as it was.
            size: width and height that a reader gives.
            check: of the file of its annotations.
            objects: annotation and the box that a reader gives, in the order of the file.
            unwritten: annotations that are not in the file.
        """
        given = {"width": size[0], "height": size[1]}
        self._images.append(
            {
                "name": name,
                "check": check,
                "entry": {
                    key: value
                    for key, value in entry.items()
                    if key not in ("file_name", "record") and given.get(key) != value
                },
                "objects": [self._object(item, box) for item, box in objects],
                "unwritten": [dict(item) for item in unwritten],
            }
        )

    def _object(self, item, box):
        self._lost.update(key for key in item if key not in self._held and not _says_nothing(key, item[key]))
        known = {"image_id", "category_id"} | ({"bbox"} if list(item["bbox"]) == list(box) else set())
        return {key: value for key, value in item.items() if key not in known}

    def write(self, root: Path, half: str) -> None:
        """Write it beside the annotations of a half."""
        source = self._source
        content = {
            "written by": "keras-fpn data convert, for keras-fpn",
            "version": VERSION,
            "classes": [{"id": number, "name": name} for number, name in source.class_names.items()],
            "categories": source.categories,
            "order": source.order,
            "further": source.further,
            "images": self._images,
        }
        write_text(companion(root, half), json.dumps(content, separators=(",", ":")) + "\n")

    def lost(self) -> Counter[str]:
        """How many objects have each key that other programs will not see."""
        return self._lost


def _says_nothing(key, value) -> bool:
    """A value that says no more than that there is none; an area can be had from the box, too."""
    return key == "area" or value in (None, 0, "", [])
