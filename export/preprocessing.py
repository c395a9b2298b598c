"""From an image to what an artefact is fed, without TensorFlow: the sizes and the pixels of `keras_fpn.data`.

Sizes are computed in Python floats, as the references do. The "pillow" filter equals `pillow_resize.resize_pillow` bit
for bit; "bilinear" equals `pillow_resize.resize_bilinear` to the rounding of float32.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from keras_fpn.console.errors import UserError
from keras_fpn.export.description import Description


def resize_size(height: int, width: int, min_side: int, max_side: int, rounding: str = "half_up") -> tuple[int, int]:
    """Size after scaling the shorter side to `min_side`, or less where the longer would pass `max_side`.

    Args:
        height, width, min_side, max_side: whole numbers, pixels.
        rounding: "half_up" or "floor"; see `keras_fpn.data.transforms.resize_size`, which gives the same.

    Returns:
        (new_height, new_width), at least 1.
    """
    short, long = min(height, width), max(height, width)
    if rounding == "floor":
        scale = min(min_side / short, max_side / long)
        return max(math.floor(height * scale), 1), max(math.floor(width * scale), 1)
    if rounding != "half_up":
        raise UserError(f'rounding must be "half_up" or "floor", not {rounding!r}')
    scale = min_side / short
    # The shorter side is exact by definition; a product could miss it by one bit.
    sides = (min_side, scale * width) if height < width else (scale * height, min_side)
    shrink = min(max_side / max(sides), 1.0)
    new_height, new_width = (max(math.floor(side * shrink + 0.5), 1) for side in sides)
    return new_height, new_width


def fit_size(height: int, width: int, frame: tuple[int, int], rounding: str = "half_up") -> tuple[int, int]:
    """Largest size of the same shape inside `frame` (height, width); (new_height, new_width).

    Rounded as the model's own rule rounds ("half_up" or "floor"): where both give one scale, they give one size.
    """
    scale = min(frame[0] / height, frame[1] / width)
    half = 0.5 if rounding == "half_up" else 0.0
    sides = (math.floor(height * scale + half), math.floor(width * scale + half))
    new_height, new_width = (max(min(side, most), 1) for side, most in zip(sides, frame, strict=True))
    return new_height, new_width


def padded_side(side: int, divisor: int) -> int:
    """The next multiple of `divisor` from `side` up."""
    return -(-side // divisor) * divisor


def resize(image: np.ndarray, new_size: tuple[int, int], interpolation: str) -> np.ndarray:
    """Bring the pixels of an image to another size.

    Args:
        image: `[H, W, 3]` uint8.
        new_size: (height, width), pixels.
        interpolation: "pillow" or "bilinear", see `keras_fpn.data.pillow_resize`.

    Returns:
        `[height, width, 3]`, uint8 of "pillow", float32 of "bilinear".
    """
    if interpolation not in _FILTERS:
        raise UserError(f'interpolation must be "pillow" or "bilinear", not {interpolation!r}')
    return _FILTERS[interpolation](image, *new_size)


def _pillow(image, height, width):
    # One axis at a time: which of them comes first changes values by 1, and Pillow 13 chooses by the sizes.
    picture = Image.fromarray(image).resize((width, image.shape[0]), Image.Resampling.BILINEAR)
    return np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))


def _bilinear(image, height, width):
    columns = image.astype(np.float32) if width == image.shape[1] else _linear(image, width, axis=1)
    return columns if height == image.shape[0] else _linear(columns, height, axis=0)


def _linear(image, length, axis):
    old = image.shape[axis]
    # A float32 scale, and product and difference rounded together, as in `pillow_resize`.
    scale = float(np.float32(old) / np.float32(length))
    positions = np.maximum(((np.arange(length) + 0.5) * scale - 0.5).astype(np.float32), np.float32(0))
    lower = np.minimum(positions.astype(np.int32), old - 1)
    share = np.clip(positions - lower.astype(np.float32), 0, 1).reshape((-1, 1) if axis else (-1, 1, 1))
    upper = np.minimum(lower + 1, old - 1)
    return image.take(lower, axis) * (1 - share) + image.take(upper, axis) * share


_FILTERS = {"pillow": _pillow, "bilinear": _bilinear}


def as_input_type(image: np.ndarray, input_type: str) -> np.ndarray:
    """Pixels 0..255 as "float32", or rounded half up as "uint8"."""
    if image.dtype == input_type:
        return image
    if input_type == "uint8":
        image = np.clip(np.floor(image + np.float32(0.5)), 0, 255)
    return image.astype(input_type)


def batch(images: Sequence[np.ndarray], rule: Mapping[str, Any], input_type: str) -> dict[str, np.ndarray]:
    """Images brought to size by a model's own rule, in one array.

    Args:
        images: list of `[H, W, 3]` uint8 RGB.
        rule: `settings["resize"]` of the model, or `resize` of a description.
        input_type: "uint8" or "float32".

    Returns:
        `{"images": [B, H, W, 3] of the input type, "image_sizes": [B, 2] int32}`; padded with 0 at the bottom and at
        the right to the largest of them, and to multiples of the rule's `size_divisor`.
    """
    sizes = [
        resize_size(image.shape[0], image.shape[1], rule["min_side"], rule["max_side"], rounding=rule["rounding"])
        for image in images
    ]
    canvas = tuple(padded_side(max(sides), rule["size_divisor"]) for sides in zip(*sizes, strict=True))
    return _on_canvas(images, sizes, canvas, rule["interpolation"], input_type)


def letterbox(
    images: Sequence[np.ndarray], frame: tuple[int, int], rule: Mapping[str, Any], input_type: str
) -> dict[str, np.ndarray]:
    """Images as large as they fit into a frame, top left, in one array.

    Args:
        images: list of `[H, W, 3]` uint8 RGB.
        frame: (height, width), pixels.
        rule: the model's own, of which rounding and interpolation are read.
        input_type: "uint8" or "float32".

    Returns:
        `{"images": [B, *frame, 3] of the input type, padded with 0, "image_sizes": [B, 2] int32}`.
    """
    sizes = [fit_size(image.shape[0], image.shape[1], frame, rule["rounding"]) for image in images]
    return _on_canvas(images, sizes, frame, rule["interpolation"], input_type)


def prepare(images: Sequence[np.ndarray], description: Description) -> dict[str, np.ndarray]:
    """Inputs of an artefact of this `Description` for images of any sizes: `letterbox` for a frame, else `batch`."""
    if description.frame is None:
        return batch(images, description.resize, description.input_type)
    return letterbox(images, description.frame, description.resize, description.input_type)


def _on_canvas(images, sizes, canvas, interpolation, input_type):
    padded = np.zeros((len(images), *canvas, 3), input_type)
    for place, image, (height, width) in zip(padded, images, sizes, strict=True):
        place[:height, :width] = as_input_type(resize(image, (height, width), interpolation), input_type)
    return {"images": padded, "image_sizes": np.array(sizes, np.int32)}
