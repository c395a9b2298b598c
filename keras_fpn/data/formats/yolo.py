"""YOLO: a text file beside each picture, and data.yaml, obj.data or classes.txt with the names of the classes."""

import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from keras_fpn.console.errors import UserError
from keras_fpn.data.formats import class_lists, half_names
from keras_fpn.data.formats.counted import counted
from keras_fpn.data.formats.format import AnnotationFormat, Half
from keras_fpn.data.formats.gathering import ReadImage, companion, gather
from keras_fpn.data.formats.picture_folders import has_pictures, picture_sizes, walk
from keras_fpn.data.formats.spelling import files_ending
from keras_fpn.data.formats.yolo_labels import LabelFile, as_object, check_lines, is_label_file, read_labels
from keras_fpn.data.formats.yolo_places import (
    DARKNET,
    YAMLS,
    Part,
    descriptions,
    label_file,
    part_of_labels,
    part_of_list,
    parts_of,
    swapped,
)
from keras_fpn.data.objects import shown

log = logging.getLogger(__name__)

_FILES = (*YAMLS, DARKNET)


class Yolo(AnnotationFormat):
    """YOLO label files with the data.yaml of Ultralytics and Roboflow, Darknet's obj.data, or a classes.txt.

    Annotations are named by the file and the half, "data.yaml@train", by a folder of label files, or by a list of
    pictures. The half of a file that has one alone need not be said.
    """

    name, title = "yolo", "YOLO"
    layout = (
        "data.yaml with names, train and val; or classes.txt beside images/train/, labels/train/ and the same of val"
    )

    def find(self, folder: Path) -> dict[str, Half] | None:
        """See `AnnotationFormat`."""
        found = descriptions(folder) or files_ending(folder, DARKNET)
        if len(found) > 1:
            raise UserError(f"{folder}: has {' and '.join(each.name for each in found)}; name one, such as {found[0]}")
        if found:
            return _halves_of(found[0])
        return _without_description(folder)

    def find_named(self, name: str) -> dict[str, Half] | None:
        """See `AnnotationFormat`: a data.yaml or obj.data."""
        path = Path(name)
        return _halves_of(path) if path.suffix.lower() in _FILES and path.is_file() else None

    def recognises(self, annotations: str) -> bool:
        """See `AnnotationFormat`."""
        path = Path(half_names.split(annotations, _FILES)[0])
        if path.suffix.lower() in _FILES:
            return True
        if path.suffix.lower() == ".txt":
            return "imagesets" not in [part.lower() for part in path.parts]
        return path.is_dir() and any(file.name.lower() not in class_lists.NAMES for file in files_ending(path, ".txt"))

    def images_of(self, annotations: str) -> str | None:
        """See `AnnotationFormat`."""
        part = _part(annotations, None)
        if part.labels is None:
            return str(part.image_folder())
        beside = swapped(part.labels / "all", "labels", "images").parent
        return str(beside) if beside.is_dir() else None

    def check_there(self, annotations: str) -> None:
        """See `AnnotationFormat`."""
        super().check_there(half_names.split(annotations, _FILES)[0])

    def files(self, annotations: str) -> Iterable[Path]:
        """See `AnnotationFormat`."""
        part = _part(annotations, None)
        labels = [file for _, file in part.pictures(self.images_of(annotations) or "")]
        own = [part.source, _companion(annotations, part)]
        return [file for file in [*own, *labels] if file.is_file()]

    def read(self, annotations: str, images: str) -> dict[str, Any]:
        """See `AnnotationFormat`."""
        self.check_there(annotations)
        part = _part(annotations, images)
        pictures = part.pictures(images)
        files = [read_labels(label) for _, label in counted(pictures, self.name, "files")]
        _check_any(annotations, images, files)
        check_lines(files, part.names, part.source, part.keypoints)
        _tell_of_others(annotations, images, part, files)
        sizes = picture_sizes([os.path.join(images, name) for name, _ in pictures])
        read = []
        for (name, _), file, (width, height, *_) in zip(pictures, files, sizes, strict=True):
            objects = [as_object(line, width, height, part.keypoints) for line in file.lines]
            read.append(ReadImage(name, width, height, objects, file.check))
        keys = part.category_keys
        categories = [{"id": number, "name": name, **keys.get(number, {})} for number, name in part.names.items()]
        return gather(read, categories, _companion(annotations, part))


def _halves_of(source: Path) -> dict[str, Half]:
    parts = parts_of(source)
    if not parts:
        raise UserError(f"{source}: names no pictures; add train: and val:")
    halves = {half: Half(f"{source}@{half}", str(part.image_folder())) for half, part in parts.items()}
    return {"all": halves["train"]} if list(halves) == ["train"] else halves


def _without_description(folder: Path) -> dict[str, Half] | None:
    """The halves of folders alone: images/train and labels/train, train/images and train/labels, or images and labels.

    LabelImg's folder has pictures, label files and classes.txt.
    """
    images, labels = folder / "images", folder / "labels"
    if images.is_dir() and labels.is_dir():
        of_images, of_labels = half_names.folders_of_halves(images), half_names.folders_of_halves(labels)
        both = {half: Half(str(of_labels[half]), str(of_images[half])) for half in of_images if half in of_labels}
        return _named(both or {"all": Half(str(labels), str(images))})
    halves = half_names.folders_of_halves(folder)
    found = {half: Half(str(place / "labels"), str(place / "images")) for half, place in halves.items()
             if (place / "labels").is_dir() and (place / "images").is_dir()}  # fmt: skip
    if "train" in found:
        return _named(found)
    if class_lists.find_list([folder]) is None or not has_pictures(folder) or len(files_ending(folder, ".txt")) < 2:
        return None
    return {"all": Half(str(folder), str(folder))}


def _named(halves: dict[str, Half]) -> dict[str, Half] | None:
    """The halves if their folders hold text files; refused where nothing names their classes."""
    if not any(_has_texts(half.annotations) for half in halves.values()):
        return None
    for half in halves.values():
        part_of_labels(Path(half.annotations))
    return halves


def _has_texts(folder: str) -> bool:
    return any(file.lower().endswith(".txt") for _, files in walk(folder) for file in files)


def _part(annotations: str, images: str | None) -> Part:
    """The half that annotations name; of several the one that has the image folder."""
    name, half = half_names.split(annotations, _FILES)
    path = Path(name)
    if path.suffix.lower() == ".txt":
        return part_of_list(path)
    if path.suffix.lower() not in _FILES:
        return part_of_labels(path)
    parts = parts_of(path)
    if half is None and len(parts) > 1 and images is not None:
        fitting = [each for each, part in parts.items() if part.image_folder().resolve() == Path(images).resolve()]
        half = fitting[0] if len(fitting) == 1 else None
    if half is None and len(parts) == 1:
        return next(iter(parts.values()))
    if half not in parts:
        wanted = " or ".join(f"{name}@{each}" for each in parts)
        raise UserError(f"{annotations}: which half of {name} is meant? Write {wanted}")
    return parts[half]


def _companion(annotations: str, part: Part) -> Path:
    _, half = half_names.split(annotations, _FILES)
    return companion(part.source.parent, half or "all")


def _tell_of_others(annotations: str, images: str, part: Part, files: list[LabelFile]) -> None:
    """A line about label files without a picture, and one about pictures without a label file."""
    known, folder = {file.path for file in files}, part.label_folder()
    texts = [Path(place, name) for place, names in walk(folder) for name in names] if folder is not None else []
    left_out = [text for text in texts if text not in known and is_label_file(text)]
    if left_out:
        log.warning(
            "%s: %d label files in %s have no picture in %s and are left out, first %s; add their pictures",
            annotations, len(left_out), folder, images, shown(os.path.relpath(left_out[0], folder)),
        )  # fmt: skip
    missing = sum(not file.is_there for file in files)
    if missing:
        log.warning(
            "%s: %d of the %d pictures in %s have no label file; they count as pictures without an object",
            annotations, missing, len(files), images,
        )  # fmt: skip


def _check_any(annotations: str, images: str, files: list[LabelFile]) -> None:
    if not files:
        raise UserError(f"{images}: has no picture; name the folder of the images of {annotations}")
    if not any(file.is_there for file in files):
        raise UserError(
            f"{files[0].path}: not there, and no other of the {len(files)} pictures in {images} has a label file; they"
            f" are looked for as {label_file(Path('images/a.jpg'))} of images/a.jpg, or beside the picture"
        )
