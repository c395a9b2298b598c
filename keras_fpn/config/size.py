"""`size`: how large images are, said once, for training, evaluation, `detect` and exports alike.

It stands for the settings that a recipe may have one by one: `model.resize`, which evaluation and whoever uses the
model follows, and `data.min_sides` and `data.canvas` of training. All are scaled by the same factor.
"""

import math
from collections.abc import Mapping
from typing import Any

from keras_fpn.console.errors import UserError

Pairs = list[tuple[list[str], Any]]


def take_size(source: str, raw: dict[str, Any], pairs: Pairs) -> tuple[dict[str, Any], Pairs, int | None]:
    """The file's content and the overrides without `size`, and the size that they name, pixels; None without.

    Raises:
        UserError: it is no whole number above 0, or stands beside a `model.resize.min_side` of its own.
    """
    section = raw.get("model")
    resize = section.get("resize") if isinstance(section, Mapping) else None
    beside = isinstance(resize, Mapping) and "min_side" in resize
    size = _checked(source, raw["size"], beside) if "size" in raw else None
    for path, value in pairs:
        if path == ["size"]:
            size = _checked("--set", value, any(other == ["model", "resize", "min_side"] for other, _ in pairs))
    return (
        {key: value for key, value in raw.items() if key != "size"},
        [(path, value) for path, value in pairs if path != ["size"]],
        size,
    )


def _checked(label, value, beside):
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UserError(f"{label}: size: give the shorter side of the images in pixels, such as 400, not {value!r}")
    if beside:
        raise UserError(f"{label}: size and model.resize.min_side both say how large images are; give size alone")
    return value


def scale_to(settings: dict[str, Any], size: int) -> None:
    """Bring all settings of sizes to a shorter side of `size`, in place."""
    resize, data = settings["model"]["resize"], settings["data"]
    factor = size / resize["min_side"]
    resize |= {"min_side": size, "max_side": max(round(factor * resize["max_side"]), size)}
    data["min_sides"] = list(dict.fromkeys(max(round(factor * side), 1) for side in data["min_sides"]))
    if data["canvas"] is not None:
        step = resize["size_divisor"]
        data["canvas"] = [math.ceil(factor * side / step) * step for side in data["canvas"]]


def check_sizes(min_side: int, max_side: int, min_sides: list[int], canvas: list[int] | None, jitter: Any) -> None:
    """Refuse settings of sizes that contradict each other.

    Raises:
        ValueError: "key: problem", for a configuration.
    """
    if min_side > max_side:
        raise ValueError(
            f"model.resize.min_side: {min_side} is above max_side, {max_side}, so no image gets it; set size={min_side}"
            " for all of them"
        )
    if canvas is not None and jitter is None and min(canvas) < min(*min_sides, max_side):
        raise ValueError(
            f"data.canvas: {canvas} cuts images down that data.min_sides, {min_sides}, makes larger, and evaluation"
            f" follows model.resize, {min_side}; set size={min_side} for all of them"
        )
