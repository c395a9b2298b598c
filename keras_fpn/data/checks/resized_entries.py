"""Annotations brought to the pixels of a picture that was resized after it was annotated."""

from typing import Any

from keras_fpn.data.objects import is_finite


def resized(entry: dict[str, Any], down: float, across: float) -> dict[str, Any]:
    """An annotation with its box, polygons, keypoints and area in pixels of the resized picture.

    Run lengths cannot be brought to another size and are left out. What is no number stays as it is.

    Args:
        entry: with four numbers as "bbox".
        down, across: factors of the height and of the width.
    """
    x, y, width, height = entry["bbox"]
    changed = {**entry, "bbox": [x * across, y * down, width * across, height * down]}
    if is_finite(entry.get("area")):
        changed["area"] = entry["area"] * across * down
    outline = entry.get("segmentation")
    if isinstance(outline, list):
        changed["segmentation"] = [_alternating(polygon, (across, down)) for polygon in outline]
    elif outline is not None:
        del changed["segmentation"]
    if isinstance(entry.get("keypoints"), list):
        changed["keypoints"] = _alternating(entry["keypoints"], (across, down, 1))
    return changed


def _alternating(numbers: Any, factors: tuple[float, ...]) -> Any:
    if not isinstance(numbers, list):
        return numbers
    return [
        number * factors[place % len(factors)] if is_finite(number) else number for place, number in enumerate(numbers)
    ]
