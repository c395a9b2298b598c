"""Two halves of a data set held against what can be learnt from one and measured on the other."""

import logging
import os
from collections.abc import Sequence

import numpy as np

from keras_fpn.console.errors import UserError
from keras_fpn.data.coco import CocoDataset
from keras_fpn.data.objects import short

log = logging.getLogger(__name__)

_NAMED = 5  # classes that a line names


def check_halves(train_set: CocoDataset, val_set: CocoDataset) -> None:
    """Refuse a training half without an object; tell of classes that have none, and of images that are in both halves.

    Raises:
        UserError: no image of the training half has an object, or every object of a half is marked as a crowd.
    """
    for data_set, what in ((train_set, "learn"), (val_set, "measure")):
        _refuse_crowds_alone(data_set, what)
    if not any((record.is_crowd == 0).any() for record in train_set.records):
        raise UserError(f"{train_set.annotations}: no image has an object, so nothing can be learnt; annotate some")
    _tell_of_classes(train_set, "learnt")
    _tell_of_classes(val_set, "measured")
    _tell_of_shared_images(train_set, val_set)


def check_measurable(data_set: CocoDataset) -> None:
    """Refuse annotations on which nothing can be measured; tell of classes that cannot be.

    Raises:
        UserError: no image has an object, or every object is marked as a crowd.
    """
    _refuse_crowds_alone(data_set, "measure")
    if not any(len(record.boxes) for record in data_set.records):
        raise UserError(
            f"{data_set.annotations}: no image has an object, so nothing can be measured; annotate some (keras-fpn"
            " detect finds objects in pictures without annotations)"
        )
    _tell_of_classes(data_set, "measured")


def _refuse_crowds_alone(data_set, what):
    crowds = [record.is_crowd for record in data_set.records]
    number, marked = sum(map(len, crowds)), sum(int(crowd.sum()) for crowd in crowds)
    if number and marked == number:
        raise UserError(
            f'{data_set.annotations}: "iscrowd" is 1 for all {number} objects, which leaves nothing to {what} (CVAT'
            ' writes masks so); give --set data.crowds=objects (from Python read_coco(..., crowds="objects"))'
        )


def objects_of_classes(classes: np.ndarray, crowd: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    """`[number]` objects of each class, with its crowds and without.

    Args:
        classes: `[n]` class of each object, from 0.
        crowd: `[n]` 1 where it is a crowd.
        number: of classes.
    """
    with_crowds, without = (np.bincount(classes[keep], minlength=number) for keep in (slice(None), crowd != 1))
    return with_crowds, without


def _tell_of_classes(data_set, done):
    """A line about classes that have no object, and one about those that have crowds alone."""
    number = len(data_set.class_names)
    classes = np.concatenate([record.classes for record in data_set.records])
    crowd = np.concatenate([record.is_crowd for record in data_set.records])
    of_all, of_objects = objects_of_classes(classes, crowd, number)
    for found, why in (
        (of_all == 0, "no object has"),
        ((of_all > 0) & (of_objects == 0), 'every object has "iscrowd" 1 of'),
    ):
        if found.any() and len(classes):
            names = [data_set.class_names[index] for index in np.flatnonzero(found)[:_NAMED]]
            more = f" and {int(found.sum()) - _NAMED} more" if found.sum() > _NAMED else ""
            log.warning(
                "%s: %s %s%s, of %d classes; it cannot be %s",
                data_set.annotations, why, ", ".join(short(name, 30) for name in names), more, number, done,
            )  # fmt: skip


def _tell_of_shared_images(train_set, val_set):
    known = {place: record for place, record in zip(_places(train_set), train_set.records, strict=True)}
    shared = [record for place, record in zip(_places(val_set), val_set.records, strict=True) if place in known]
    if shared:
        log.warning(
            "%s: %d of %d images are among the training images, first %s; the figures will tell how well these were"
            " learnt by heart, so give other images",
            val_set.annotations, len(shared), len(val_set), short(shared[0].file_name),
        )  # fmt: skip


def _places(data_set: CocoDataset) -> Sequence[tuple]:
    """The folder, links followed, and the name of each image file, and the place of the picture in it."""
    real: dict[str, str] = {}
    places = []
    for record in data_set.records:
        folder, name = os.path.split(record.path)
        if folder not in real:
            real[folder] = os.path.realpath(folder)
        places.append((real[folder], name, record.place))
    return places
