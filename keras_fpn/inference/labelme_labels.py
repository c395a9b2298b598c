"""Detections as labelme's JSON files, to be corrected there: polygons where there are masks, else rectangles."""

import os
from pathlib import PurePath

from keras_fpn.console.files import write_json
from keras_fpn.inference.images import ImageDetections
from keras_fpn.inference.polygons import Polygons
from keras_fpn.inference.result_forms import PreLabels

_VERSION = "5.5.0"  # of labelme, whose form this is


class LabelmeLabels(PreLabels):
    """A JSON file for each picture; parts of one object share a "group_id", scores stand in "description"."""

    ending = ".json"

    def __init__(self, folder, known):
        super().__init__(folder, known)
        self._polygons = Polygons()

    def add(self, one: ImageDetections, name: PurePath) -> None:
        """See `PreLabels`."""
        place = self.folder / name
        shapes: list[dict] = []
        for number, result in enumerate(one.to_results(image_id=0)):
            shapes += self._shapes(result, number)
        height, width = one.image.shape[:2]
        picture = os.path.relpath(os.path.abspath(one.file_name or ""), os.path.abspath(place.parent))
        path = {"imagePath": picture.replace(os.sep, "/"), "imageData": None}
        size = {"imageHeight": height, "imageWidth": width}
        write_json(place, {"version": _VERSION, "flags": {}, "shapes": shapes} | path | size)

    def note(self) -> str:
        """See `PreLabels`."""
        return self._polygons.note()

    def _shapes(self, result, number):
        shape = {"label": result["category"], "flags": {}, "description": f"score {result['score']:.3f}", "mask": None}
        parts = self._polygons.parts(result)
        if not parts:
            x, y, width, height = result["bbox"]
            corners = [[x, y], [x + width, y + height]]
            return [shape | {"points": corners, "group_id": None, "shape_type": "rectangle"}]
        group = {"group_id": number if len(parts) > 1 else None, "shape_type": "polygon"}
        return [shape | {"points": part.tolist()} | group for part in parts]
