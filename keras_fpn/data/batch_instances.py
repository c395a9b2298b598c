"""The ground truth of batches as COCO instances: what AP is measured against where there is no annotation file."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_fpn.console.errors import UserError
from keras_fpn.data.decode import readable_errors
from keras_fpn.parts.classes import numbered

_COMPARED = 8  # batches of a second pass


def instances_of(
    dataset: tf.data.Dataset, class_names: Sequence[str], category_ids: Sequence[int] | None = None
) -> dict[str, Any]:
    """Gather the ground truth of a dataset in one pass: `COCOEvaluation(dataset, instances_of(dataset, class_names))`.

    Args:
        dataset: finite, of `from_boxes` or `load_coco`, which gives the same images in each pass.
        class_names: K names, those of the model.
        category_ids: K ids, those of the model; 1..K without them, as a model has them.

    Returns:
        the content of a COCO instances file. Boxes are in pixels of the images before they were resized, to some 1e-5
        of them; "area" is left out, so that small and large go by the boxes.

    Raises:
        UserError: the dataset never ends, gives other images in a second pass or an id twice, or has a class beyond
            the names.
    """
    classes = numbered(len(class_names), class_names, category_ids)
    if int(dataset.cardinality()) == tf.data.INFINITE_CARDINALITY:
        raise UserError("instances_of: the dataset never ends; give it without repeat")
    images: list[dict[str, int]] = []
    annotations: list[dict[str, Any]] = []
    first: list[tuple] = []
    with readable_errors():
        for number, (inputs, targets) in enumerate(dataset.as_numpy_iterator()):
            if number < _COMPARED:
                first.append((inputs["images"], targets))
            for index, size in enumerate(inputs["image_sizes"]):
                own = {name: values[index] for name, values in targets.items()}
                images.append(_image(own))
                annotations += _annotations(own, size, classes, len(annotations) + 1)
        _check_order(dataset, first)
    _check_ids(images)
    categories = [
        {"id": number, "name": name} for number, name in zip(classes.category_ids, classes.class_names, strict=True)
    ]
    return {"images": images, "annotations": annotations, "categories": categories}


def _image(targets: Mapping[str, Any]) -> dict[str, int]:
    height, width = targets["original_sizes"].tolist()
    return {"id": int(targets["image_ids"]), "height": height, "width": width}


def _annotations(targets, size, classes, first_id):
    """Entries of the objects of an image, which was resized to `size`."""
    rows = np.flatnonzero(targets["classes"] >= 0)
    labels = targets["classes"][rows].tolist()
    if labels and max(labels) >= len(classes):
        raise UserError(
            f"instances_of: image {targets['image_ids']} has class {max(labels)}, beyond the {len(classes)} class_names"
        )
    ratio = np.tile(targets["original_sizes"][::-1] / size[::-1].astype(np.float64), 2)
    boxes = targets["boxes"][rows] * ratio
    boxes[:, 2:] -= boxes[:, :2]
    return [
        {
            "id": number,
            "image_id": int(targets["image_ids"]),
            "category_id": classes.category_ids[label],
            "bbox": box,
            "iscrowd": crowd,
        }
        for number, (label, box, crowd) in enumerate(
            zip(labels, boxes.tolist(), targets["is_crowd"][rows].tolist(), strict=True), start=first_id
        )
    ]


def _check_order(dataset, first):
    """Refuse a dataset whose images or boxes are others in another pass: results would be held against wrong ones."""
    again = dataset.take(len(first)).as_numpy_iterator()
    for (images, targets), (inputs, others) in zip(first, again, strict=True):
        same = np.array_equal(images, inputs["images"])
        if not same or not all(np.array_equal(targets[key], others[key]) for key in targets):
            raise UserError(
                "instances_of: the dataset gives other images in a second pass; leave out shuffle (or give it"
                " reshuffle_each_iteration=False) and augmentation of what is measured"
            )


def _check_ids(images):
    twice = [number for number, count in Counter(image["id"] for image in images).items() if count > 1]
    if twice:
        raise UserError(f"instances_of: the dataset gives image id {twice[0]} twice; number its images differently")
