"""Image files in, detections in the files' own pixels out.

    from keras_fpn import load_model, inference
    model = load_model("runs/demo")
    for found in inference.detect(model, ["street.jpg", "harbour.png"], threshold=0.5):
        print(found.file_name, found.names, found.scores, found.boxes)

Images are resized by the model's own rule, `model.settings["resize"]`, by the function that training and
evaluation use.
"""

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps

from keras_fpn.data import transforms
from keras_fpn.errors import UserError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp")
_UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


@dataclasses.dataclass(frozen=True)
class ImageDetections:
    """What was found in one image, best first.

    Attributes:
        boxes: `[N, 4]` float32, x1 y1 x2 y2 in pixels of the image as it is looked at (EXIF orientation
            applied).
        scores: `[N]` float32.
        classes: `[N]` int32, 0..K-1; of a model without classes (`RPN`) 0, "object", category id 0.
        names: N class names.
        category_ids: N ids of the data set the model was trained on.
        image: `[H, W, 3]` uint8 RGB.
        file_name: the path as it was given, or None for an array.
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    names: list[str]
    category_ids: list[int]
    image: np.ndarray
    file_name: str | None = None

    def to_results(self, image_id: int) -> list[dict]:
        """Return COCO results: x, y, width, height in pixels, the data set's own category ids."""
        results = []
        for box, score, category_id, name in zip(
            self.boxes.astype(np.float64), self.scores, self.category_ids, self.names, strict=True
        ):
            x1, y1, x2, y2 = box.tolist()
            result = {} if self.file_name is None else {"file_name": self.file_name}
            result |= {"image_id": image_id, "category_id": category_id, "category": name}
            results.append(result | {"bbox": [x1, y1, x2 - x1, y2 - y1], "score": float(score)})
        return results


def detect(model, images, threshold=0.5, batch_size=1) -> list[ImageDetections]:
    """Find objects in one image or in many.

    Args:
        model: a `FasterRCNN` or `RPN`, or what `keras_fpn.load_model` returns.
        images: a path, a PIL image, an array `[H, W, 3]` or `[H, W]` of 0..255, or a list of these in any
            mixture.
        threshold: lowest score to return; the model itself drops what is below its
            `detections.score_threshold`.
        batch_size: images in one forward pass, padded to the largest of them.

    Returns:
        One `ImageDetections` for each image, in their order.

    Raises:
        UserError: a file is absent or no image, or an array has another shape.
    """
    if isinstance(images, (str, os.PathLike, Image.Image)) or hasattr(images, "shape"):
        images = [images]
    return list(iterate(model, images, threshold, batch_size))


def iterate(model, images, threshold=0.5, batch_size=1) -> Iterator[ImageDetections]:
    """`detect` for many images: yields as it goes, and reads an image when its turn comes."""
    infer = _compiled(model)
    images = list(images)
    for start in range(0, len(images), batch_size):
        loaded = [read_image(image) for image in images[start : start + batch_size]]
        inputs = _batch(loaded, model.settings["resize"])
        found = {name: value.numpy() for name, value in infer(inputs).items()}
        for index, (image, file_name) in enumerate(loaded):
            rows = {name: value[index] for name, value in found.items()}
            ratio = _ratio(image, inputs["image_sizes"][index].numpy())
            yield _in_original_pixels(rows, image, file_name, ratio, threshold, model)


def read_image(image) -> tuple[np.ndarray, str | None]:
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


def check_images(files) -> None:
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


def list_images(paths) -> list[Path]:
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


def _compiled(model):
    """One graph for every batch and image size, kept with the model."""
    infer = getattr(model, "_inference_graph", None)
    if infer is None:
        signature = {
            "images": tf.TensorSpec([None, None, None, 3], tf.float32),
            "image_sizes": tf.TensorSpec([None, 2], tf.int32),
        }
        infer = tf.function(lambda inputs: model(inputs, training=False), input_signature=[signature])
        object.__setattr__(
            model, "_inference_graph", infer
        )  # past Keras' tracking: it is no part of the model
    return infer


def _batch(loaded, rule):
    resized = [_resize(image, rule) for image, _ in loaded]
    sizes = np.array([image.shape[:2] for image in resized], dtype=np.int32)
    divisor = rule["size_divisor"]
    height, width = (-(-int(side) // divisor) * divisor for side in sizes.max(axis=0))
    images = np.zeros((len(resized), height, width, 3), np.float32)
    for index, image in enumerate(resized):
        images[index, : image.shape[0], : image.shape[1]] = image
    return {"images": tf.constant(images), "image_sizes": tf.constant(sizes)}


def _resize(image, rule):
    height, width = transforms.resize_size(
        image.shape[0], image.shape[1], rule["min_side"], rule["max_side"], rounding=rule["rounding"]
    )
    return transforms.resize_image(image, height, width, rule["interpolation"]).numpy()


def _ratio(image, resized_size):
    """Original over resized, each axis by its own: rounding makes the two differ."""
    scale_y, scale_x = np.array(image.shape[:2], np.float32) / resized_size
    return np.array([scale_x, scale_y, scale_x, scale_y], np.float32)


def _in_original_pixels(found, image, file_name, ratio, threshold, model):
    count = int(found["num_detections"])
    rows = np.flatnonzero(found["scores"][:count] >= threshold)
    height, width = image.shape[:2]
    boxes = np.clip(found["boxes"][rows] * ratio, 0, np.array([width, height, width, height], np.float32))
    classes = found.get("classes", np.zeros(len(found["scores"]), np.int32))[rows]  # of an RPN, all are one
    return ImageDetections(
        boxes=boxes,
        scores=found["scores"][rows],
        classes=classes,
        names=[model.class_names[label] for label in classes],
        category_ids=[model.category_ids[label] for label in classes],
        image=image,
        file_name=file_name,
    )
