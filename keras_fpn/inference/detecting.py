"""Image files in, detections in the files' own pixels out.

    import keras_fpn
    model = keras_fpn.load_model("runs/demo")
    for found in keras_fpn.detect(model, ["street.jpg", "harbour.png"], threshold=0.5):
        print(found.file_name, found.names, found.scores, found.boxes)

Images are resized by the model's own rule, `model.settings["resize"]`, by the function that training and
evaluation use. `keras_fpn.export.artefact_inference` is the same for an exported detector.
"""

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_fpn.console.errors import UserError
from keras_fpn.console.picture_files import MAX_PIXELS
from keras_fpn.data import sizes, transforms
from keras_fpn.inference.images import ImageDetections, as_list, in_order, in_original_pixels
from keras_fpn.inference.reading import Unreadable, check_options, read_batches
from keras_fpn.models.detector import Detector


def detect(
    model: Detector, images: Any, threshold: float = 0.5, batch_size: int = 1, max_pixels: int = MAX_PIXELS
) -> list[ImageDetections]:
    """Find objects in one image or in many.

    Args:
        model: a `FasterRCNN`, `RPN` or `SegmentProposals`: whatever `keras_fpn.load_model` returns, but a `FastRCNN`.
        images: a path, a PIL image, an array `[H, W, 3]` or `[H, W]` of 0..255, or a list of these in any
            mixture.
        threshold: lowest score to return; the model itself drops what is below its
            `detections.score_threshold`.
        batch_size: images in one forward pass; only those that are padded to one size share it, so that each is
            answered as it is alone.
        max_pixels: a picture with more is refused before it takes memory.

    Returns:
        One `ImageDetections` for each image, in their order.

    Raises:
        UserError: a file is absent or no image, an array has another shape or holds NaN, or so does the model.
    """
    return in_order(iterate(model, as_list(images), threshold, batch_size, max_pixels))


def iterate(
    model: Detector,
    images: Iterable,
    threshold: float = 0.5,
    batch_size: int = 1,
    max_pixels: int = MAX_PIXELS,
    unreadable: Unreadable | None = None,
) -> Iterator[ImageDetections]:
    """`detect` for many images: yields as it goes, and reads an image when its turn comes.

    With a `batch_size` above 1 images of a rarer size come later than their turn; `index` says which each is.

    Args:
        unreadable: see `read_batches`.
    """
    check_options(threshold, batch_size, max_pixels)
    if "proposals" in model.further_inputs:
        raise UserError(
            f"{model.title}: it finds objects only among given proposals; keras-fpn evaluate MODEL --proposals DIR"
            " measures it, and detect takes an RPN or a Faster R-CNN"
        )
    check_weights(model)
    rule = model.settings["resize"]

    def padded_size(height, width):
        return sizes.padded_size(height, width, rule)

    for some in read_batches(images, batch_size, padded_size, max_pixels, unreadable):
        yield from _of_batch(model, some, threshold)


def detect_together(model: Detector, images: Sequence[Any], threshold: float = 0.5) -> list[ImageDetections]:
    """Find objects in images that share one batch whatever their sizes, as torchvision and detectron2 run them.

    The smaller are padded to the largest, which changes their scores: for comparisons with those; else see `detect`.
    """
    (some,) = read_batches(images, len(images), lambda *_: "one for all")
    return list(_of_batch(model, some, threshold))


def _of_batch(model, some, threshold):
    """Yield the `ImageDetections` of `reading.Read` images in one batch."""
    inputs = batch([one.pixels for one in some], model.settings["resize"])
    found = {name: value.numpy() for name, value in compiled(model)(inputs).items()}
    for row, (one, size) in enumerate(zip(some, inputs["image_sizes"].numpy(), strict=True)):
        rows = {name: value[row] for name, value in found.items()}
        seen = in_original_pixels(rows, one.pixels, one.file_name, size, threshold, model)
        yield dataclasses.replace(seen, index=one.index)


def check_weights(model: Detector, name: str | os.PathLike | None = None) -> None:
    """Refuse a model whose numbers are none: it would find nothing, or anything, without a word.

    Args:
        name: what the error calls it, the file that it came from.

    Raises:
        UserError: a weight is NaN or infinite.
    """
    for weight in model.weights:
        value = tf.convert_to_tensor(weight)
        if value.dtype.is_floating and not bool(tf.reduce_all(tf.math.is_finite(value))):
            raise UserError(
                f"{name or model.title}: its weight {weight.path} holds NaN or infinity, so that it finds nothing; take"
                " an earlier checkpoint, or train again with a lower learning rate"
            )


def compiled(model: Detector) -> Callable[[dict[str, tf.Tensor]], dict[str, tf.Tensor]]:
    """One graph for every batch and image size, kept with the model."""
    infer = getattr(model, "_inference_graph", None)
    if infer is None:
        infer = tf.function(lambda inputs: model(inputs, training=False), input_signature=[model.input_specs()])
        object.__setattr__(
            model, "_inference_graph", infer
        )  # past Keras' tracking: it is no part of the model
    return infer


def batch(images: Sequence[np.ndarray], rule: Mapping[str, Any]) -> dict[str, tf.Tensor]:
    """Batch for images of any sizes.

    Args:
        images: list of `[H, W, 3]` uint8 RGB.
        rule: the model's `settings["resize"]`.

    Returns:
        `{"images": [B, H, W, 3] float32, "image_sizes": [B, 2] int32}`, padded with 0 to multiples of the rule's
        `size_divisor`.
    """
    resized = [_resize(image, rule) for image in images]
    image_sizes = np.array([image.shape[:2] for image in resized], dtype=np.int32)
    height, width = (sizes.padded_side(int(side), rule["size_divisor"]) for side in image_sizes.max(axis=0))
    padded = np.zeros((len(resized), height, width, 3), np.float32)
    for index, image in enumerate(resized):
        padded[index, : image.shape[0], : image.shape[1]] = image
    return {"images": tf.constant(padded), "image_sizes": tf.constant(image_sizes)}


def _resize(image, rule):
    height, width = sizes.resized_size(*image.shape[:2], rule)
    return transforms.resize_image(image, height, width, rule["interpolation"]).numpy()
