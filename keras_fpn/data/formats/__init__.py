"""Annotation formats: each a file, read as COCO's.

    format       what a format is: how its annotations are found, recognised and read
    coco         COCO instances files; coco_layouts: as programs lay them into folders
    voc          Pascal VOC; voc_xml: one of its files
    yolo         YOLO; yolo_places: data.yaml and its like; yolo_labels: one of its files;
                 yolo_keypoints: its keypoints
    shards       an index beside TFRecord files that hold the pictures
    tfds         data sets of TensorFlow Datasets
    labelme, via, label_studio, supervisely, datumaro, cvat
                 what labelling tools write themselves
    csv_table    tables of boxes; csv_columns: by their headers; csv_rows, csv_classes: what is in them
    not_found    the error where no format knows a folder
    gathering, collected
                 images and objects -> the content of one instances file: of many files, of a tool's
    outlines, encoded_masks
                 shapes that tools draw -> boxes and segmentations
    half_names, half_files, class_lists, siblings, picture_folders, picture_places, spelling, entries, json_files,
    xml_elements, counted
                 names of halves and the files that have them, lists of classes, the classes of all halves, folders of
                 pictures and where they are, names in other letters, errors that name an entry, files of others,
                 progress: what many share

A format of one's own is a subclass of `AnnotationFormat`, made known by `register_format`. Nothing here imports
TensorFlow.
"""

import os
from pathlib import Path
from typing import Any

from keras_fpn.console.errors import UserError
from keras_fpn.data.formats.coco import Coco
from keras_fpn.data.formats.csv_table import CsvTable
from keras_fpn.data.formats.cvat import Cvat
from keras_fpn.data.formats.datumaro import Datumaro
from keras_fpn.data.formats.entries import read_json
from keras_fpn.data.formats.format import AnnotationFormat, Half, JsonFormat
from keras_fpn.data.formats.label_studio import LabelStudio
from keras_fpn.data.formats.labelme import Labelme
from keras_fpn.data.formats.not_found import no_data_set
from keras_fpn.data.formats.shards import Shards
from keras_fpn.data.formats.supervisely import Supervisely
from keras_fpn.data.formats.tfds import Tfds
from keras_fpn.data.formats.via import Via
from keras_fpn.data.formats.voc import Voc
from keras_fpn.data.formats.yolo import Yolo
from keras_fpn.data.listing import listed_once
from keras_fpn.parts.registry import Registry

__all__ = [
    "FORMATS", "AnnotationFormat", "Half", "JsonFormat", "find_halves", "format_of", "read_content", "register_format",
]  # fmt: skip

FORMATS = Registry("annotation format", "--from")


def register_format(annotation_format: AnnotationFormat) -> AnnotationFormat:
    """Make a format known by its name, and return it.

    Raises:
        UserError: it is no `AnnotationFormat`, or another one has its name.
    """
    if not isinstance(annotation_format, AnnotationFormat):
        raise UserError(f"register_format: {annotation_format!r} is no AnnotationFormat; give an object of a subclass")
    return FORMATS.add(annotation_format.name, annotation_format)


# COCO first: where a folder holds several formats, it says most.
COCO = register_format(Coco())
for _each in (Shards(), Tfds(), Voc(), Supervisely(), Datumaro(), Cvat(), Via(), LabelStudio(), Labelme(), Yolo()):
    register_format(_each)
# Tables last: those that other formats know by their headers are theirs.
register_format(CsvTable())


def format_of(annotations: str | os.PathLike) -> AnnotationFormat:
    """The format of annotations by their path or name; of JSON files COCO's, which content alone tells from others."""
    name = os.fspath(annotations)
    return next((each for each in FORMATS if each.recognises(name)), COCO)


def find_halves(data: str | os.PathLike) -> tuple[AnnotationFormat, dict[str, Half]]:
    """The format of a folder, or of another name that a format knows, and its halves; see `AnnotationFormat.find`.

    Raises:
        UserError: there is no such folder, or no known format in it.
    """
    named = ((each, each.find_named(os.fspath(data))) for each in FORMATS)
    root = Path(data)
    for each, halves in named:
        if halves is not None:
            return each, halves
    with listed_once():
        for each in FORMATS if root.is_dir() else ():
            halves = each.find(root)
            if halves is not None:
                return each, halves
        raise no_data_set(root, FORMATS)


def read_content(annotations: str | os.PathLike, images: str | os.PathLike) -> Any:
    """Read annotations of any known format as the content of a COCO instances file; see `AnnotationFormat.read`.

    What should be COCO's is given back as it is, unchecked.

    Raises:
        UserError: see `AnnotationFormat.read`.
    """
    name, images = os.fspath(annotations), os.fspath(images)
    known = format_of(name)
    if known is not COCO:
        return known.read(name, images)
    COCO.check_there(name)
    content = read_json(name)
    for each in FORMATS:
        if isinstance(each, JsonFormat) and each.matches(content):
            return each.from_json(content, name, images)
    return content
