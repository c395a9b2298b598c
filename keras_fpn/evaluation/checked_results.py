"""COCO results from anywhere, checked before pycocotools sees them."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from keras_fpn.console.errors import UserError
from keras_fpn.ops import masks
from keras_fpn.parts.output_fields import plain


def segment_of(result: Mapping[str, Any]) -> dict:
    """The segment of a result; UserError where it has none."""
    segment = result.get("segmentation")
    if not isinstance(segment, dict) or not {"size", "counts"} <= set(segment):
        raise UserError(f'a result of image id {result["image_id"]} has no run lengths as "segmentation"; add them')
    return segment


def sound_segment(result: Mapping[str, Any], image: Mapping[str, Any]) -> dict:
    """The segment of a result from anywhere; UserError where it is none of its image: its IoU would just be 0."""
    segment = segment_of(result)
    try:
        return masks.from_annotation(segment, int(image["height"]), int(image["width"]))
    except ValueError as problem:
        raise UserError(f'"segmentation" of a result of image id {result["image_id"]} {problem}; correct it') from None


def copy_result(number: int, result: Mapping[str, Any], category_ids: Collection[int] | None) -> dict[str, Any]:
    needed = ("image_id", "bbox", "score") + (() if category_ids is None else ("category_id",))
    missing = [key for key in needed if key not in result]
    if missing:
        raise UserError(f"result {number} lacks {missing[0]!r}; a COCO result has {', '.join(needed)}")
    name = f"result {number} (image id {result['image_id']})"
    bbox = result["bbox"]
    if type(bbox) is not list or any(type(value) is not float for value in bbox):  # half a million need no copies
        bbox = [float(value) for value in bbox]
    refuse_box(bbox, f"{name}: bbox")
    score = float(result["score"])
    if not math.isfinite(score):
        raise UserError(f"{name}: score is {score}; the model's outputs are not finite")
    return {
        "image_id": plain(result["image_id"]),
        "category_id": plain(result.get("category_id", 1)),
        "bbox": bbox,
        "score": score,
        "area": bbox[2] * bbox[3],
        "iscrowd": 0,
    }


def refuse_box(values: Sequence[float], name: str) -> None:
    """UserError where a box is not four finite numbers with sizes that are not negative."""
    if len(values) != 4 or not all(math.isfinite(value) for value in values):
        raise UserError(f"{name} is {values}; it must be four finite numbers x, y, width, height")
    if values[2] < 0 or values[3] < 0:
        raise UserError(f"{name} is {values}: a negative size; it must be x, y, width, height")
