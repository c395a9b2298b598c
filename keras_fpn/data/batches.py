"""Checks of what a caller hands to a detector: inputs and targets of a batch."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_fpn.console.errors import UserError

ONE_ARRAY = "images: one array [B, H, W, 3] is needed; give a single image as image[None], a list stacked"


def with_sizes(inputs: dict[str, tf.Tensor] | tf.Tensor) -> dict[str, tf.Tensor]:
    """Inputs as a dict; images without sizes are valid to their edges.

    Args:
        inputs: `{"images": [B, H, W, 3], "image_sizes": [B, 2] (optional)}`, or the images alone.

    Raises:
        UserError: the images are no array of four dimensions, or not RGB.
    """
    inputs = inputs if isinstance(inputs, dict) else {"images": inputs}
    images = inputs["images"]
    if isinstance(images, (list, tuple)) or tf.TensorShape(images.shape).rank not in (None, 4):
        raise UserError(ONE_ARRAY)
    channels = tf.TensorShape(images.shape)[-1]
    if channels not in (None, 3):
        raise UserError(f"images: the last axis is RGB, 3 of them, not {channels}; of RGBA give images[..., :3]")
    if "image_sizes" in inputs:
        return inputs
    shape = tf.shape(images)
    return inputs | {"image_sizes": tf.repeat(shape[None, 1:3], shape[0], axis=0)}


def check_arrays(inputs: Any) -> None:
    """Refuse NumPy arrays that are no images, before a graph answers something for them; others are left alone.

    Raises:
        UserError: images that are no array of four dimensions or hold NaN or infinity; sizes beyond them.
    """
    given = inputs if isinstance(inputs, dict) else {"images": inputs}
    images, image_sizes = given.get("images"), given.get("image_sizes")
    if not isinstance(images, np.ndarray):
        return
    if images.ndim != 4:
        raise UserError(ONE_ARRAY)
    if not np.issubdtype(images.dtype, np.integer) and not (
        np.issubdtype(images.dtype, np.floating) and np.isfinite(images).all()
    ):
        raise UserError("images: hold NaN, infinity or what is no number; give values 0..255")
    if image_sizes is None:
        return
    image_sizes = np.asarray(image_sizes)
    if image_sizes.shape != (len(images), 2) or (image_sizes < 1).any() or (image_sizes > images.shape[1:3]).any():
        raise UserError(f"image_sizes: give height and width of each image, [B, 2], from 1 to {images.shape[1:3]}")


def inputs_and_targets(data: Any) -> tuple[Any, Any]:
    """`(inputs, targets)` of what `fit` and `evaluate` hand to a step.

    Raises:
        UserError: there are sample weights.
    """
    inputs, targets, weights = keras.utils.unpack_x_y_sample_weight(data)
    if weights is not None:
        raise UserError("sample_weight: the losses of a detector are weighted by its sampling; leave it out")
    return inputs, targets


def check_targets(targets: Any) -> None:
    """Refuse targets without boxes and classes.

    Raises:
        UserError: a key is missing.
    """
    if not isinstance(targets, dict) or not {"boxes", "classes"} <= set(targets):
        raise UserError('targets: a dict with "boxes" [B, G, 4] and "classes" [B, G] is needed, see Detector')


def check_masks(targets: Mapping[str, tf.Tensor]) -> None:
    """Refuse targets without masks.

    Raises:
        UserError: the key is missing.
    """
    if "masks" not in targets:
        raise UserError(
            'targets: hold no masks; give "masks" [B, G, M, M], 0 or 1 of each object over its own box'
            ' (load_coco with fields=("masks",) does)'
        )


def check_proposals(inputs: Any) -> None:
    """Refuse inputs without proposals.

    Raises:
        UserError: a key is missing.
    """
    if not isinstance(inputs, dict) or not {"images", "proposals", "num_proposals"} <= set(inputs):
        raise UserError(
            'inputs: Fast R-CNN finds nothing by itself; give {"images", "image_sizes", "proposals" [B, P, 4],'
            ' "num_proposals" [B]}'
        )


def check_classes(classes: tf.Tensor, num_classes: int) -> None:
    """Refuse, when the batch is run, a class that the model does not have: K would silently be the background."""
    message = f"targets: classes must be 0..{num_classes - 1}, padded with -1"
    tf.debugging.assert_less(tf.cast(classes, tf.int32), num_classes, message)
