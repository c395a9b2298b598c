"""Data sets in Keras' own form -> batches: images with boxes in one of Keras' formats, and labels.

    element                                                       such as
    {"images", "bounding_boxes": {"boxes", "labels"}}             Keras, KerasHub
    (images, {"boxes", "labels"})                                 the same for `fit`
    (images, {"boxes", "classes"})                                KerasCV
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_fpn.console.errors import UserError
from keras_fpn.data import bounding_box_checks
from keras_fpn.data.decode import demand, readable_errors
from keras_fpn.data.picture_batches import batches_of
from keras_fpn.parts.classes import numbered

_LOOKED_AT = 32  # images, when the dataset is given
_LABELS = ("labels", "classes")  # Keras' key, and KerasCV's
_CROWD, _IDS = "is_crowd", "image_ids"  # further keys that count, with boxes and with images
_PADDING = -1  # label of a row that is no object
_OVERSHOOT = 1  # of pixels beyond 0..255, which are cut off: what a resize leaves


def from_boxes(
    dataset: tf.data.Dataset,
    bounding_box_format: str,
    class_names: Sequence[str] | None = None,
    *,
    batch_size: int = 2,
    min_side: int | Sequence[int] = 800,
    max_side: int = 1333,
    rounding: str = "half_up",
    interpolation: str = "pillow",
    size_divisor: int = 32,
    canvas: Sequence[int] | None = None,
    horizontal_flip: bool = False,
    scale_jitter: Sequence[float] | None = None,
    augmentations: Mapping[str, Any] = MappingProxyType({}),
    seed: int = 0,
    drop_remainder: bool = False,
    invalid_boxes: str = "refuse",
) -> tf.data.Dataset:
    """Bring a data set in Keras' own form to batches for `fit`, `evaluate` and `predict` of a `Detector`.

    Order and repetition are the dataset's own: `dataset.shuffle(...)`, `.repeat()`. Its first 32 images are looked at
    now, which tells what is wrong with all of them; what is wrong with a later one is found when its turn comes.
    AP of a model: `COCOEvaluation(batches, instances_of(batches, class_names))`.

    Args:
        dataset: of `{"images", "bounding_boxes": {"boxes", "labels"}}`, `(images, {"boxes", "labels"})` or `(images,
            {"boxes", "classes"})`, single images or batches, dense or ragged. Images are `[H, W, 3]` RGB 0..255 (of one
            channel, or four, they become RGB), boxes `[N, 4]`, labels `[N]` whole numbers, -1 in rows that are padding.
            Beside the boxes there may be "is_crowd" `[N]` 0 or 1, beside the images "image_ids", whole numbers; without
            them images are numbered from 0 as they come.
        bounding_box_format: of the boxes, one of those of `keras.utils.bounding_boxes.convert_format`: "xyxy", "yxyx",
            "xywh", "center_xywh", "center_yxhw", and shares of the image "rel_xyxy", "rel_yxyx", "rel_xywh",
            "rel_center_xywh".
        class_names: K names; labels are then held to 0..K-1. A model that is trained on the batches is made with their
            number and the names.
        batch_size, min_side, max_side, rounding, interpolation, size_divisor, canvas, horizontal_flip, scale_jitter,
            augmentations, seed, drop_remainder: see `load_coco`. Each pass is augmented anew. Augmentations that take
            other pictures (mosaic, copy_paste) are refused, as those that end before a run does (`until`).
        invalid_boxes: "refuse" (an error) or "drop" boxes without width or height, that are not finite, or wholly
            outside their image.

    Returns:
        a dataset of (inputs, targets) as `load_coco` gives it; "original_sizes" are those of the images given.

    Raises:
        UserError: a bad argument, a dataset of another form, or one of its first images that cannot be right. A later
            one raises a TensorFlow error with the same line, of which `readable_errors()` makes a UserError.
    """
    if not isinstance(dataset, tf.data.Dataset):
        raise UserError(f"from_boxes: a tf.data.Dataset is needed, not {type(dataset).__name__}")
    if invalid_boxes not in ("refuse", "drop"):
        raise UserError(f'from_boxes: invalid_boxes must be "refuse" or "drop", not {invalid_boxes!r}')
    bounding_box_checks.check_format(bounding_box_format)
    if class_names is not None:
        class_names = numbered(len(class_names), class_names).class_names
    reading = _Reading(
        bounding_box_format.lower(), class_names, invalid_boxes == "drop", is_whole=interpolation == "pillow"
    )
    singles = _singles(dataset)
    signature = [tf.TensorSpec([], tf.int64), singles.element_spec]
    picture = tf.function(reading.picture, input_signature=signature, autograph=False)
    with readable_errors():
        _look_at_first(singles, reading, picture)
    pictures = singles.enumerate().map(picture, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    with _in_our_name():
        return batches_of(
            pictures,
            batch_size=batch_size,
            min_side=min_side,
            max_side=max_side,
            rounding=rounding,
            interpolation=interpolation,
            size_divisor=size_divisor,
            canvas=canvas,
            horizontal_flip=horizontal_flip,
            scale_jitter=scale_jitter,
            augmentations=augmentations,
            seed=seed,
            drop_remainder=drop_remainder,
        )


@contextlib.contextmanager
def _in_our_name() -> Iterator[None]:
    """The arguments are those of `load_coco`; so is what is said of them, but for the name of the function."""
    try:
        yield
    except UserError as error:
        raise UserError(str(error).replace("load_coco: ", "from_boxes: ", 1)) from None


# ---------------------------------------------------------------------------------------- form of the elements


def _singles(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Dataset of one image an element: `{"images", "boxes", "labels"}`, and "is_crowd" and "image_ids" if given."""
    parts = _parts(dataset.element_spec)
    is_batched = bounding_box_checks.is_batched(parts)
    taken = dataset.map(lambda *element: _parts(element[0] if len(element) == 1 else element))
    return taken.unbatch() if is_batched else taken


def _parts(element: Any) -> dict[str, Any]:
    """Parts of an element, or of its specification, by the names of this file."""
    if isinstance(element, tuple | list):
        if len(element) != 2:
            weights = " (weights are left out: the losses are weighted by sampling)" if len(element) == 3 else ""
            raise UserError(
                f"from_boxes: an element is a tuple of {len(element)}, and two are needed: images, boxes{weights}"
            )
        element = {"images": element[0], "bounding_boxes": element[1]}
    images = _value(element, ("images",), "an element")
    objects = _value(element, ("bounding_boxes",), "an element")
    parts = {"images": images, "boxes": _value(objects, ("boxes",), "bounding_boxes")}
    parts["labels"] = _value(objects, _LABELS, "bounding_boxes")
    parts |= {key: given[key] for key, given in ((_CROWD, objects), (_IDS, element)) if key in given}
    return parts


def _value(given, keys, name):
    """The value under one of some keys."""
    if not isinstance(given, Mapping):
        raise UserError(
            f'from_boxes: {name} is no dict; give {{"images", "bounding_boxes": {{"boxes", "labels"}}}} or (images,'
            ' {"boxes", "labels"})'
        )
    found = [key for key in keys if key in given]
    if not found:
        there = ", ".join(f'"{key}"' for key in given) or "none"
        raise UserError(f'from_boxes: {name} has no "{keys[0]}", its keys are {there}; rename them by dataset.map')
    return given[found[0]]


def _dense(values: Any, shape: Sequence[int | None]) -> tf.Tensor:
    """Ragged values as a tensor."""
    values = values.to_tensor() if isinstance(values, tf.RaggedTensor) else values
    return tf.ensure_shape(values, shape)


# --------------------------------------------------------------------------------------------- one image of it


def _look_at_first(singles, reading, picture) -> None:
    """Refuse what the first images tell of all, and what is wrong with one of them, by what reads it."""
    boxes, sizes, ranges = [], [], []
    examples = list(singles.take(_LOOKED_AT))
    for element in examples:
        image, (_, own) = _dense(element["images"], [None, None, None]), reading.objects(element)
        boxes.append(own.numpy())
        sizes.append(np.tile(image.shape[:2], (len(own), 1)))
        if image.dtype.is_floating and tf.size(image):
            ranges.append((float(tf.reduce_min(image)), float(tf.reduce_max(image))))
    if not examples:
        raise UserError("from_boxes: the dataset is empty")
    bounding_box_checks.check_range(ranges)
    bounding_box_checks.check_seems_right(
        np.concatenate(boxes), np.concatenate(sizes).astype(np.float64), reading.bounding_box_format
    )
    for number, element in enumerate(examples):
        picture(tf.constant(number, tf.int64), element)


@dataclass(frozen=True)
class _Reading:
    """How an image of the dataset is read; arguments of `from_boxes`. `is_whole`: pixels become uint8."""

    bounding_box_format: str
    class_names: tuple[str, ...] | None
    drop_invalid: bool
    is_whole: bool

    def picture(
        self, number: tf.Tensor, element: Mapping[str, Any]
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor], tf.Tensor]:
        """(image, rows by field, image id) of an element of `_singles`, every number of it checked."""
        image_id = tf.cast(element[_IDS], tf.int64) if _IDS in element else number
        name = tf.strings.join(["from_boxes: image ", tf.strings.as_string(image_id)])
        image = self._image(element["images"], name)
        labels, boxes = self.objects(element)
        crowd = _dense(element[_CROWD], [None]) if _CROWD in element else tf.zeros_like(labels)
        crowd = tf.cast(crowd, tf.int32)[: tf.shape(labels)[0]]
        with tf.control_dependencies(self._checks_of_labels(labels, boxes, name)):
            is_object = tf.not_equal(tf.cast(labels, tf.float64), _PADDING)
        labels, boxes, crowd = (tf.boolean_mask(rows, is_object) for rows in (labels, boxes, crowd))
        boxes, is_sound = self._in_pixels(boxes, tf.shape(image)[:2], name)
        rows = {"classes": tf.cast(labels, tf.int32), "is_crowd": crowd, "boxes": boxes}
        return image, {key: tf.boolean_mask(own, is_sound) for key, own in rows.items()}, image_id

    def objects(self, element: Mapping[str, Any]) -> tuple[tf.Tensor, tf.Tensor]:
        """Labels [n] and boxes [n, 4] float64 as they are given, rows that are padding among them."""
        return _dense(element["labels"], [None]), tf.cast(_dense(element["boxes"], [None, 4]), tf.float64)

    def _image(self, image, name):
        image = _dense(image, [None, None, None])
        if image.dtype != tf.uint8:
            values = tf.cast(image, tf.float32)
            low, high = tf.reduce_min(values), tf.reduce_max(values)
            is_in_range = tf.reduce_all((values >= -_OVERSHOOT) & (values <= 255 + _OVERSHOOT))  # NaN is not
            texts = [tf.strings.as_string(value, shortest=True) for value in (low, high)]
            parts = (": has pixels from ", texts[0], " to ", texts[1], "; give 0..255")
            with tf.control_dependencies([demand(is_in_range, name, *parts)]):
                image = tf.clip_by_value(values, 0, 255)
            image = tf.cast(tf.round(image), tf.uint8) if self.is_whole else image
        with tf.control_dependencies([demand(tf.size(image) > 0, name, ": has no pixels")]):
            return _as_rgb(image, name)

    def _checks_of_labels(self, labels, boxes, name):
        """Assertions that labels are whole numbers of classes, or padding."""
        values = tf.cast(labels, tf.float64)
        yield demand(
            tf.equal(tf.shape(boxes)[0], tf.shape(labels)[0]), name,
            ": has ", tf.strings.as_string(tf.shape(boxes)[0]), " boxes and ",
            tf.strings.as_string(tf.shape(labels)[0]), " labels",
        )  # fmt: skip
        is_whole = tf.equal(values, tf.round(values))
        yield _demand_all(is_whole, values, name, ": label ", "; labels are whole numbers")
        yield _demand_all(values >= _PADDING, values, name, ": label ", "; labels count from 0, and -1 is padding")
        if self.class_names is not None:
            number = len(self.class_names)
            mend = f" is beyond the {number} class_names; labels count from 0 and end at {number - 1}"
            yield _demand_all(values < number, values, name, ": label ", mend)

    def _in_pixels(self, given, size, name):
        """Boxes x1, y1, x2, y2 float32 clipped to the image, and which of them [n] are kept."""
        height, width = tf.unstack(tf.cast(size, tf.float64))
        corners = keras.utils.bounding_boxes.convert_format(
            given, self.bounding_box_format, "xyxy", height=height, width=width, dtype="float64"
        )
        boxes = tf.cast(tf.clip_by_value(corners, 0.0, tf.stack([width, height, width, height])), tf.float32)
        is_finite = tf.reduce_all(tf.math.is_finite(given), axis=1)
        has_extent = tf.reduce_all(corners[:, 2:] > corners[:, :2], axis=1)
        is_inside = tf.reduce_all(boxes[:, 2:] > boxes[:, :2], axis=1)
        if self.drop_invalid:
            return boxes, is_finite & has_extent & is_inside
        mend = f'; it is read as "{self.bounding_box_format}": correct it, or drop such boxes: invalid_boxes="drop"'
        checks = [
            _demand_all(is_right, given, name, ": box [", f"] {wrong}{mend}")
            for is_right, wrong in (
                (is_finite, "is not finite"),
                (has_extent, "has no positive width and height (label -1 marks padding)"),
                (is_inside, "lies outside the image"),
            )
        ]
        with tf.control_dependencies(checks):
            return tf.identity(boxes), tf.ones_like(is_inside)


def _as_rgb(image: tf.Tensor, name: tf.Tensor) -> tf.Tensor:
    """The image with three channels: of one they are grey, the fourth is transparency."""
    channels = tf.shape(image)[-1]
    check = demand(
        tf.reduce_any(channels == [1, 3, 4]), name,
        ": has ", tf.strings.as_string(channels), " channels; the last axis is RGB, 3 of them",
    )  # fmt: skip
    with tf.control_dependencies([check]):
        image = tf.cond(channels == 1, lambda: tf.repeat(image, 3, axis=-1), lambda: image[..., :3])
    return tf.ensure_shape(image, [None, None, 3])


def _demand_all(is_right: tf.Tensor, rows: tf.Tensor, *texts: Any) -> tf.Operation | None:
    """Assertion that names the first row that is wrong between the last two texts."""
    rows = tf.reshape(rows, [tf.shape(is_right)[0], -1])
    some = tf.concat([rows, tf.zeros([1, tf.shape(rows)[1]], rows.dtype)], 0)  # a row where there is none, too
    first = tf.strings.as_string(some[tf.argmin(tf.concat([is_right, [True]], 0), 0)], shortest=True)
    *before, after = texts
    return demand(tf.reduce_all(is_right), *before, tf.strings.reduce_join(first, separator=", "), after)
