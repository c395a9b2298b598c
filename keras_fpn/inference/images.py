"""Image files in, and detections in the files' own pixels: what every runtime needs, without TensorFlow."""

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from keras_fpn.console.errors import UserError
from keras_fpn.console.picture_files import MAX_PIXELS, check_pixels, opened, readable
from keras_fpn.data import rewriting
from keras_fpn.inference.listing import SUFFIXES, list_images
from keras_fpn.parts import output_fields

__all__ = [
    "MAX_PIXELS", "SUFFIXES", "ImageDetections", "above", "as_list", "check_images", "in_order",
    "in_original_pixels", "list_images", "read_image", "upright_size",
]  # fmt: skip


@dataclasses.dataclass(frozen=True)
class ImageDetections:
    """Detections of one image, best first.

    Attributes:
        boxes: `[N, 4]` float32, x1 y1 x2 y2 in pixels of the image as it is looked at (EXIF orientation
            applied).
        scores: `[N]` float32.
        classes: `[N]` int32, 0..K-1; of a model without classes (`RPN`) 0, "object", category id 0.
        names: N class names.
        category_ids: N ids of the data set the model was trained on.
        image: `[H, W, 3]` uint8 RGB.
        file_name: the path as it was given, or None for an array.
        further: `{field: N values}` of what the detector finds besides, in the image: of a model of segments "masks",
            run lengths (`keras_fpn.masks.decode` makes `[H, W]` bool of one), and the boxes are theirs.
        fields: the `OutputField`s of the detector.
        known: has `class_names` and `category_ids` of all classes.
        index: which of the images that were given together, from 0.
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    names: list[str]
    category_ids: list[int]
    image: np.ndarray
    file_name: str | None = None
    further: dict = dataclasses.field(default_factory=dict)
    fields: tuple = output_fields.STANDARD
    known: object = None
    index: int = 0

    def to_results(self, image_id: int) -> list[dict]:
        """Return COCO results: x, y, width, height in pixels, the data set's own category ids."""
        values = {"boxes": self.boxes, "scores": self.scores} | self.further
        file_name = {} if self.file_name is None else {"file_name": self.file_name}
        return [
            file_name | {"image_id": image_id} | output_fields.to_result(values, row, label, self.fields, self.known)
            for row, label in enumerate(self.classes.tolist())
        ]

    def to_keras(self, bounding_box_format: str) -> dict[str, np.ndarray]:
        """Return the boxes in Keras' own form, in one of its formats; Keras is imported, which reckons them.

        `keras.visualization.draw_bounding_boxes` draws a batch, here `{key: value[None]}`, and `data.from_boxes` reads
        it.

        Returns:
            `{"boxes": [N, 4] float32, "labels": [N] int32 0..K-1, "confidences": [N] float32}`.

        Raises:
            UserError: Keras knows no such format; names the nearest.
        """
        from keras.utils import bounding_boxes

        from keras_fpn.data.bounding_box_checks import check_format

        check_format(bounding_box_format)
        height, width = self.image.shape[:2]
        boxes = bounding_boxes.convert_format(
            self.boxes.astype(np.float64), "xyxy", bounding_box_format, height=height, width=width, dtype="float64"
        )
        boxes = np.asarray(boxes, np.float32)
        return {"boxes": boxes, "labels": self.classes.astype(np.int32), "confidences": self.scores.astype(np.float32)}

    def captions(self) -> list[str]:
        """Return N texts for a picture: the name of the class, and what further fields say."""
        columns = [(field, self.further[field.name]) for field in self.fields if field.name in self.further]
        return [
            " ".join(filter(None, [name, *(field.caption(values[row], self.known) for field, values in columns)]))
            for row, name in enumerate(self.names)
        ]


def read_image(image: Any, max_pixels: int = MAX_PIXELS) -> tuple[np.ndarray, str | None]:
    """Return `([H, W, 3] uint8 RGB, file name or None)` of a path, a PIL image or an array of 0..255.

    Raises:
        UserError: a file is absent, no image or damaged, a picture has more than `max_pixels`, or an array is of
            another shape or holds what are no numbers.
    """
    if isinstance(image, (str, os.PathLike)):
        with opened(image, max_pixels) as picture:
            return rewriting.upright(picture), os.fspath(image)
    if isinstance(image, Image.Image):
        check_pixels("a picture", *image.size, max_pixels)
        with readable("a picture"):
            return rewriting.upright(image), None
    return _rgb(np.asarray(image)), None


def upright_size(file: str | os.PathLike) -> tuple[int, int]:
    """Height and width of an image file as it is looked at, of which only the head is read.

    Raises:
        UserError: the file is no image, or has too many pixels.
    """
    with opened(file) as picture:
        width, height = picture.size
        # Pillow gives that of a TIFF picture upright.
        is_turned = picture.format != "TIFF" and rewriting.orientation_of(picture) >= 5
        return (width, height) if is_turned else (height, width)


def _rgb(array):
    """`[H, W, 3]` uint8 of an array of any numbers."""
    if array.ndim == 2:
        array = np.repeat(array[..., None], 3, axis=-1)
    if array.ndim != 3 or array.shape[-1] != 3 or not array.size:
        raise UserError(
            f"an image array has shape {array.shape}; give [height, width, 3] RGB or [height, width]"
        )
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind not in "biuf":
        raise UserError(f"an image array has dtype {array.dtype}; give numbers from 0 to 255")
    if not np.isfinite(array).all():
        raise UserError("an image array holds NaN or infinity; give numbers from 0 to 255")
    return np.clip(np.rint(array), 0, 255).astype(np.uint8)


def check_images(files: Iterable[str | os.PathLike], max_pixels: int = MAX_PIXELS) -> None:
    """Look at the head of every file, so that one that is no image is told before the work begins.

    Raises:
        UserError: a file is no image, or has more pixels.
    """
    for file in files:
        with opened(file, max_pixels):
            pass


def in_original_pixels(
    found: Mapping[str, np.ndarray],
    image: np.ndarray | None,
    file_name: str | None,
    resized_size: np.ndarray | Sequence[int],
    threshold: float,
    detector: Any,
    size: Sequence[int] = (),
) -> ImageDetections:
    """Bring detections of the resized image into the pixels of the image itself.

    Args:
        found: `{field: [D, *shape]}` and `"num_detections"`, in pixels of the resized image, best first.
        image: `[H, W, 3]` uint8, before it was resized; None where it is not at hand.
        file_name: its path, or None.
        resized_size: height and width that the detector saw, without padding.
        threshold: lowest score to return.
        detector: has `output_fields`, `class_names` and `category_ids`: a model, or the description of an exported one.
        size: height and width of an image that is not at hand.
    """
    seen = above(found, image, file_name, threshold, detector)
    fields = detector.output_fields
    rows, size = _rows_above(found, threshold), size if image is None else image.shape[:2]
    values = output_fields.in_original(found, rows, fields, size, _ratio(size, resized_size))
    further = {field.name: values[field.name] for field in output_fields.further(fields) if field.name in values}
    return dataclasses.replace(seen, boxes=values["boxes"].astype(np.float32), further=further)


def above(
    found: Mapping[str, np.ndarray], image: Any, file_name: str | None, threshold: float, detector: Any
) -> ImageDetections:
    """The boxes of at least `threshold`, in the pixels that the detector saw; see `in_original_pixels`."""
    rows = _rows_above(found, threshold)
    labels = output_fields.labels_of(found)[rows]
    return ImageDetections(
        boxes=found["boxes"][rows],
        scores=found["scores"][rows],
        classes=labels,
        names=[detector.class_names[label] for label in labels],
        category_ids=[detector.category_ids[label] for label in labels],
        image=image,
        file_name=file_name,
        further={
            field.name: found[field.name][rows]
            for field in output_fields.further(detector.output_fields)
            if field.name in found
        },
        fields=tuple(detector.output_fields),
        known=detector,
    )


def _rows_above(found, threshold):
    return np.flatnonzero(found["scores"][: int(found["num_detections"])] >= threshold)


def _ratio(size, resized_size):
    """`[2]` width and height, original over resized, each axis by its own: rounding makes the two differ."""
    scale_y, scale_x = np.array(size, np.float32) / resized_size
    return np.array([scale_x, scale_y], np.float32)


def in_order(found: Iterable[ImageDetections]) -> list[ImageDetections]:
    """Detections of images as the images were given."""
    return sorted(found, key=lambda one: one.index)


def as_list(images: Any) -> list:
    """One image or many as a list."""
    if isinstance(images, (str, os.PathLike, Image.Image)) or hasattr(images, "shape"):
        return [images]
    return list(images)
