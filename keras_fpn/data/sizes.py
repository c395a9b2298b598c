"""Sizes of resized and of padded images, without TensorFlow, which `transforms` computes in the graph.

Computed in Python floats, as the references do.
"""

import math
from collections.abc import Mapping
from typing import Any

from keras_fpn.console.errors import UserError


def resize_size(height: int, width: int, min_side: int, max_side: int, rounding: str = "half_up") -> tuple[int, int]:
    """Compute the size after scaling the shorter side to `min_side`, or less where the longer would pass `max_side`.

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
    """Compute the largest size of the same shape inside `frame` (height, width); (new_height, new_width).

    Rounded as the model's own rule rounds ("half_up" or "floor"): where both give one scale, they give one size.
    """
    scale = min(frame[0] / height, frame[1] / width)
    half = 0.5 if rounding == "half_up" else 0.0
    sides = (math.floor(height * scale + half), math.floor(width * scale + half))
    new_height, new_width = (max(min(side, most), 1) for side, most in zip(sides, frame, strict=True))
    return new_height, new_width


def padded_side(side: int, divisor: int) -> int:
    """Round up to the next multiple of `divisor`."""
    return -(-side // divisor) * divisor


def resized_size(height: int, width: int, rule: Mapping[str, Any]) -> tuple[int, int]:
    """Compute the size that a rule resizes to; (new_height, new_width).

    Args:
        height, width: pixels of the upright image.
        rule: a model's `settings["resize"]`, or the `resize` of a description.
    """
    return resize_size(height, width, rule["min_side"], rule["max_side"], rounding=rule["rounding"])


def padded_size(height: int, width: int, rule: Mapping[str, Any]) -> tuple[int, int]:
    """Compute what an image fills that is resized by a rule and padded to its `size_divisor`; see `resized_size`."""
    new_height, new_width = resized_size(height, width, rule)
    return padded_side(new_height, rule["size_divisor"]), padded_side(new_width, rule["size_divisor"])
