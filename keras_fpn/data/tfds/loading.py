"""Batches of a TFDS data set, read where it lies."""

import os
from typing import Any

import tensorflow as tf

from keras_fpn.data.pipeline import load_coco
from keras_fpn.data.tfds.keys import NAMES, read_keys
from keras_fpn.data.tfds.names import PREFIX, Name
from keras_fpn.data.tfds.prepared import find_prepared


def load_tfds(
    data: str | os.PathLike,
    split: str,
    *,
    tfds_dir: str | os.PathLike | None = None,
    annotations: str | os.PathLike | None = None,
    **options: Any,
) -> tf.data.Dataset:
    """Load a split of a TFDS data set as batches for `fit`, `evaluate` and `predict` of a `Detector`.

    The labels are read once, now; a picture is read from its TFRecord file when its turn comes. So shuffling, resuming
    and all else are those of `load_coco`.

    Args:
        data: name of a prepared data set, such as "voc/2012", or a folder that holds one.
        split: "train", or a part, such as "train[:90%]" or "train+validation".
        tfds_dir: where data sets are prepared; TFDS's own folder by default.
        annotations: COCO's own instances file, to take in place of what TFDS kept of it; joined by the ids of images.
        options: those of `load_coco`; and for a data set that is not known, where it does not tell by itself:
            `objects_key`, `box_key`, `label_key`, `ignore_key`, `object_id_key`, `area_key`, `image_key`,
            `image_id_key`, `file_name_key`: names of its features; `class_name` of the one class where objects have no
            label; `box_form`: "REL_YXYX", "REL_XYXY", "YXYX", "XYXY" or "XYWH".

    Returns:
        see `load_coco`.

    Raises:
        UserError: see `load_coco`; there is no such data set or split, or it cannot be read so.
    """
    keys = {name: options.pop(name) for name in NAMES if options.get(name) is not None}
    data = os.fspath(data).removeprefix(PREFIX)
    original = None if annotations is None else os.path.abspath(annotations)
    name = Name(str(find_prepared(data, tfds_dir)), split, read_keys(keys, data), original)
    return load_coco(str(name), "", **options)
