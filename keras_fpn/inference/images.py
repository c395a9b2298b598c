"""Image files in, and detections in the files' own pixels: what every runtime needs, without TensorFlow."""

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from keras_fpn.console.errors import UserError
from keras_fpn.parts import output_fields

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp")
_UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


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

    def to_results(self, image_id: int) -> list[dict]:
        """Return COCO results: x, y, width, height in pixels, the data set's own category ids."""
        values = {"boxes": self.boxes, "scores": self.scores} | self.further
        file_name = {} if self.file_name is None else {"file_name": self.file_name}
        return [
            file_name | {"image_id": image_id} | output_fields.to_result(values, row, label, self.fields, self.known)
            for row, label in enumerate(self.classes.tolist())
        ]

    def captions(self) -> list[str]:
        """Return N texts for a picture: the name of the class, and what further fields say."""
        columns = [(field, self.further[field.name]) for field in self.fields if field.name in self.further]
        return [
            " ".join(filter(None, [name, *(field.caption(values[row], self.known) for field, values in columns)]))
            for row, name in enumerate(self.names)
        ]


def read_image(image: Any) -> tuple[np.ndarray, str | None]:
    """Return `([H, W, 3] uint8 RGB, file name or None)` of a path, a PIL image or an array of 0..255."""
    file_name = None
    if isinstance(image, (str, os.PathLike)):
        file_name = os.fspath(image)
        try:
            with Image.open(file_name) as opened:
                return _pixels(opened), file_name
        except FileNotFoundError:
            raise UserError(f"{file_name}: no such image file") from None
        except _UNREADABLE as error:
            raise _not_readable(file_name, error) from None
    if isinstance(image, Image.Image):
        return _pixels(image), file_name
    array = np.asarray(image)
    if array.ndim == 2:
        array = np.repeat(array[..., None], 3, axis=-1)
    if array.ndim != 3 or array.shape[-1] != 3 or not array.size:
        raise UserError(
            f"an image array has shape {array.shape}; give [height, width, 3] RGB or [height, width]"
        )
    if array.dtype != np.uint8:
        array = np.clip(np.rint(array), 0, 255).astype(np.uint8)
    return array, file_name


def check_images(files: Iterable[str | os.PathLike]) -> None:
    """Look at the head of every file, so that one that is no image is told before the work begins.

    Raises:
        UserError: a file is no image.
    """
    for file in files:
        try:
            Image.open(file).close()
        except _UNREADABLE as error:
            raise _not_readable(file, error) from None


def _not_readable(file, error):
    return UserError(f"{file}: not a readable image ({error}); re-encode or remove it")


def _pixels(picture):
    """`[H, W, 3]` uint8 RGB as the picture is looked at; of 16 bits the upper 8, as TensorFlow decodes them."""
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I;16"):
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    return np.asarray(picture.convert("RGB"))


def list_images(paths: Iterable[str | os.PathLike]) -> list[Path]:
    """Return the image files among `paths`; a folder stands for the images in it, by name.

    Names that begin with a dot are left out (macOS writes such files beside the pictures).

    Raises:
        UserError: a path is absent, or a folder has no image in it.
    """
    files = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(item for item in path.iterdir() if _is_image_name(item) and item.is_file())
            if not inside:
                raise UserError(f"{path}: no images in this folder ({', '.join(SUFFIXES)})")
            files += inside
        elif path.is_file():
            files.append(path)
        else:
            raise UserError(f"{path}: no such image file or folder")
    return files


def _is_image_name(path):
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def in_original_pixels(
    found: Mapping[str, np.ndarray],
    image: np.ndarray,
    file_name: str | None,
    resized_size: np.ndarray | Sequence[int],
    threshold: float,
    detector: Any,
) -> ImageDetections:
    """Bring detections of the resized image into the pixels of the image itself.

    Args:
        found: `{field: [D, *shape]}` and `"num_detections"`, in pixels of the resized image, best first.
        image: `[H, W, 3]` uint8, before it was resized.
        file_name: its path, or None.
        resized_size: height and width that the detector saw, without padding.
        threshold: lowest score to return.
        detector: has `output_fields`, `class_names` and `category_ids`: a model, or the description of an exported one.
    """
    seen = above(found, image, file_name, threshold, detector)
    fields = detector.output_fields
    rows, size = _rows_above(found, threshold), image.shape[:2]
    values = output_fields.in_original(found, rows, fields, size, _ratio(image, resized_size))
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


def _ratio(image, resized_size):
    """`[2]` width and height, original over resized, each axis by its own: rounding makes the two differ."""
    scale_y, scale_x = np.array(image.shape[:2], np.float32) / resized_size
    return np.array([scale_x, scale_y], np.float32)


def as_list(images: Any) -> list:
    """One image or many as a list."""
    if isinstance(images, (str, os.PathLike, Image.Image)) or hasattr(images, "shape"):
        return [images]
    return list(images)
