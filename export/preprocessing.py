"""From an image to what an artefact is fed, without TensorFlow: the sizes and the pixels of `keras_fpn.data`.

The "pillow" filter equals `pillow_resize.resize_pillow` bit for bit; "bilinear" equals `pillow_resize.resize_bilinear`
to the rounding of float32. Sizes are those of `keras_fpn.data.sizes`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from keras_fpn.console.errors import UserError
from keras_fpn.data.sizes import fit_size, padded_side, resized_size
from keras_fpn.export.description import Description


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
    sizes = [resized_size(image.shape[0], image.shape[1], rule) for image in images]
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
