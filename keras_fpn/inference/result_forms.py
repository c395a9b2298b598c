"""Forms of detections besides pictures and COCO results: each a file, asked for by an option of `detect`.

A form changes results before they are written as JSON; a pre-label format has a file for each picture that a labelling
program opens, to be corrected there. This file names those that there are, and imports none of them.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from keras_fpn.parts.registry import Registry

if TYPE_CHECKING:
    from keras_fpn.inference.images import ImageDetections

RESULT_FORMS = Registry("form of results", "--json")
PRE_LABELS = Registry("format of pre-labels", "--pre-labels")


class ResultForm:
    """A form that results are given on their way into a file; a subclass is made for one file."""

    def change(self, result: Mapping[str, Any]) -> dict:
        """One COCO result in this form."""
        raise NotImplementedError

    def note(self) -> str:
        """A line about what could not be said of those that were changed; "" if nothing."""
        return ""


class PreLabels:
    """Files of pictures' detections for a labelling program; a subclass is made for one folder.

    Args:
        folder: the files are written into it.
        known: has `class_names` of all classes, in order.

    Attributes:
        ending: of the files, which have the names of their pictures otherwise, as the program looks for them.
    """

    ending: str = ""

    def __init__(self, folder: Path, known: Any):
        self.folder, self.known = folder, known

    def add(self, one: "ImageDetections", name: PurePath) -> None:
        """Write the file of one picture, `name` in the folder."""
        raise NotImplementedError

    def note(self) -> str:
        """A line about what could not be said of those that were added; "" if nothing."""
        return ""


@dataclass(frozen=True)
class Named:
    """A class of this file's that a word of the command line stands for.

    Attributes:
        name: the word.
        help: what it gives, for `--help`.
        target: "module:class".
    """

    name: str
    help: str
    target: str

    def load(self) -> type:
        """The class, whose module is now imported."""
        module, name = self.target.split(":")
        return getattr(importlib.import_module(module), name)


for _form in (
    Named("polygons", "in --json: outlines as polygons, not as run lengths", f"{__package__}.polygons:Polygons"),
):
    RESULT_FORMS.add(_form.name, _form)

for _format in (
    Named("labelme", "a JSON file a picture", f"{__package__}.labelme_labels:LabelmeLabels"),
    Named("yolo", "a text file a picture, and classes.txt", f"{__package__}.yolo_labels:YoloLabels"),
):
    PRE_LABELS.add(_format.name, _format)
