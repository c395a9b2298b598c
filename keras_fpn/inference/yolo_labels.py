"""Detections as YOLO's label files: a line an object, its polygon where there are masks, else its box."""

from pathlib import PurePath

from keras_fpn.console.files import write_text
from keras_fpn.inference.images import ImageDetections
from keras_fpn.inference.polygons import Polygons
from keras_fpn.inference.result_forms import PreLabels
from keras_fpn.ops.mask_outlines import as_one

_DECIMALS = 6  # of a share of the picture


class YoloLabels(PreLabels):
    """A text file for each picture, and classes.txt; a line has one polygon, so parts are joined by a thin bridge.

    Scores are left out: a line with one is a prediction to some programs, and an error to others.
    """

    ending = ".txt"

    def __init__(self, folder, known):
        super().__init__(folder, known)
        self._polygons = Polygons()
        write_text(folder / "classes.txt", "".join(f"{name}\n" for name in known.class_names))

    def add(self, one: ImageDetections, name: PurePath) -> None:
        """See `PreLabels`."""
        height, width = one.image.shape[:2]
        labels = one.classes.tolist()
        lines = [
            self._line(label, result, width, height)
            for label, result in zip(labels, one.to_results(image_id=0), strict=True)
        ]
        write_text(self.folder / name, "".join(f"{line}\n" for line in lines))

    def note(self) -> str:
        """See `PreLabels`."""
        return self._polygons.note()

    def _line(self, label, result, width, height):
        parts = self._polygons.parts(result)
        if parts:
            shares = (as_one(parts) / (width, height)).ravel().tolist()
        else:
            x, y, across, down = result["bbox"]
            shares = [(x + across / 2) / width, (y + down / 2) / height, across / width, down / height]
        return " ".join([str(label), *(f"{share:.{_DECIMALS}f}" for share in shares)])
