"""Keras' form of a data set held against what its batches could be: kinds and shapes, and what the first images tell.

A single box tells little: the rules go by the share of the boxes looked at, and leave those alone of which a few reach
over a border.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_fpn.console.errors import UserError
from keras_fpn.console.naming import nearest

# Those that Keras has had since 3.8, for what a line suggests; which it knows it says itself.
FORMATS = (
    "xyxy", "yxyx", "xywh", "center_xywh", "center_yxhw", "rel_xyxy", "rel_yxyx", "rel_xywh", "rel_center_xywh",
)  # fmt: skip
_RANKS = {"images": 3, "boxes": 2, "labels": 1, "is_crowd": 1, "image_ids": 0}  # of one image
_SHARE = 1.5  # the largest number of a box in shares of its image, with some room for those over a border
_LARGE = 8  # pixels: the shorter side of an image in which boxes of a pixel are no objects


def check_format(name: str) -> None:
    """Refuse a format of boxes that Keras does not know.

    Raises:
        UserError: names the nearest.
    """
    try:
        keras.utils.bounding_boxes.convert_format(np.zeros((1, 4)), name, "xyxy", height=1, width=1)
    except (ValueError, AttributeError):
        raise UserError(f"bounding_box_format: Keras knows no format {name!r}{nearest(name, FORMATS)}") from None


def is_batched(parts: Mapping[str, Any]) -> bool:
    """Whether elements are batches of images, from their specification.

    Raises:
        UserError: the parts are not of one kind, or no numbers where numbers are needed.
    """
    for key, spec in parts.items():
        if not (spec.dtype.is_floating or spec.dtype.is_integer or spec.dtype.is_bool):
            mend = "decode the files" if key == "images" else "give numbers (keras.layers.StringLookup makes them)"
            raise UserError(f'from_boxes: "{key}" are {spec.dtype.name}, no numbers; {mend}')
    ranks = {key: (spec.shape.rank, _RANKS[key]) for key, spec in parts.items() if spec.shape.rank is not None}
    for key, (rank, single) in ranks.items():
        if rank not in (single, single + 1):
            shape = parts[key].shape
            hint = "; of one-hot labels give the argmax" if key == "labels" else ""
            raise UserError(f'from_boxes: "{key}" have shape {shape}, and {_wanted(key)} is needed{hint}')
    batched = {key: rank > single for key, (rank, single) in ranks.items()}
    if not batched:
        raise UserError("from_boxes: no shape is known, so nothing tells single images from batches; set some")
    if len(set(batched.values())) > 1:
        kinds = [", ".join(f'"{key}"' for key, is_so in batched.items() if is_so is kind) for kind in (True, False)]
        hint = "; of one-hot labels give the argmax" if kinds[0] == '"labels"' else ""
        raise UserError(f"from_boxes: {kinds[0]} are of batches and {kinds[1]} of single images{hint}")
    return next(iter(batched.values()))


def _wanted(key):
    shapes = {"images": "[H, W, 3]", "boxes": "[N, 4]", "image_ids": "one number"}
    return f"{shapes.get(key, '[N]')} of an image, or a batch of such"


def check_range(ranges: Sequence[tuple[float, float]]) -> None:
    """Refuse images of which the least and the greatest pixel tell that they are no longer 0..255.

    Raises:
        UserError: says what they seem to be.
    """
    if not ranges:
        return
    low, high = np.min([least for least, _ in ranges]), np.max([most for _, most in ranges])
    seen = f"from_boxes: the first {len(ranges)} images have pixels from {low:g} to {high:g}"
    if low >= 0 and 0 < high <= 1:
        raise UserError(f"{seen}, and 0..255 is needed; multiply them by 255: the model itself normalises")
    if low < -_LARGE or (low < 0 and high < 128):
        raise UserError(f"{seen}, and 0..255 is needed; leave normalisation out: the model itself normalises")


def check_seems_right(boxes: np.ndarray, sizes: np.ndarray, bounding_box_format: str) -> None:
    """Refuse boxes that, in the format of this name, mostly cannot be right, and in another one are.

    Args:
        boxes: `[n, 4]` float64 as they are given.
        sizes: `[n, 2]` float64 height and width of the image of each.

    Raises:
        UserError: names the format that they seem to be in.
    """
    usable = np.isfinite(boxes).all(1) & (boxes != -1).any(1) & boxes.any(1)  # padding is -1 or 0
    boxes, sizes = boxes[usable], sizes[usable]
    if not len(boxes):
        return
    fitting = {name: _fits(boxes, sizes, name) for name in FORMATS}
    said = fitting.pop(bounding_box_format, 1.0)
    best = max(fitting.values())
    needed = 0.95 if len(boxes) >= 20 else 1
    if not (len(boxes) >= 3 and said <= 0.6 and best >= needed or len(boxes) >= 6 and said <= 0.85 and best >= 0.99):
        return
    names = [f'"{name}"' for name, share in fitting.items() if share == best]
    box = ", ".join(f"{value:g}" for value in boxes[0])
    raise UserError(
        f'from_boxes: {1 - said:.0%} of the first {len(boxes)} boxes cannot be "{bounding_box_format}", such as the'
        f" first, [{box}] in an image of {sizes[0, 1]:g} x {sizes[0, 0]:g} pixels (width x height); they seem to be"
        f" {' or '.join(names[:2])}"
    )


def _fits(boxes, sizes, name) -> float:
    """The share of boxes that, in a format, have an extent and lie in their image, but for a hundredth of it."""
    extents = sizes[:, ::-1]
    is_small = (np.abs(boxes) <= _SHARE).all(1)
    is_plausible = is_small if name.startswith("rel_") else ~is_small | (sizes.min(1) < _LARGE)
    corners = keras.utils.bounding_boxes.convert_format(
        boxes[:, None], name, "xyxy", height=extents[:, 1, None, None], width=extents[:, 0, None, None], dtype="float64"
    )
    corners = np.asarray(corners)[:, 0]
    room = extents * 0.01
    is_inside = (corners[:, :2] >= -room) & (corners[:, 2:] <= extents + room) & (corners[:, 2:] > corners[:, :2])
    return float((is_plausible & is_inside.all(1)).mean())
