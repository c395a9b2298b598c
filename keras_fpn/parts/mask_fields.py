"""Masks of detected instances as an output field, without TensorFlow."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from keras_fpn.console.errors import UserError
from keras_fpn.console.naming import nearest
from keras_fpn.ops import mask_pasting, masks
from keras_fpn.parts.output_fields import OutputField, Place, register_output_field


@register_output_field
class InstanceMasks(OutputField):
    """The mask of a detection over its box, `[side, side]` probabilities; in the image itself a segment (`masks`).

    The box stays that of the detection. The truth may be `bitmaps` `[G, H, W]` or `polygons` `[G, V, 3]` in pixels of
    the batch's image, or `masks` `[G, m, m]` over the boxes.

    Args:
        side: bins of a mask, on both axes.
        rule: by which it is pasted, one of `mask_pasting.RULES`.

    Raises:
        UserError: there is no such rule; names the nearest.
    """

    kind, name, bound = "instance_masks", "masks", 1e-3
    under = "tints"
    truths = ("bitmaps", "polygons", "masks")

    def __init__(self, side=28, rule="detectron2"):
        if rule not in mask_pasting.RULES:
            raise UserError(f"mask pasting: unknown rule {rule!r}{nearest(rule, mask_pasting.RULES)}")
        self.side, self.rule, self.shape = side, rule, (side, side)
        self.meaning = (
            "from 0 to 1 in each of the equal bins of its box, rows from the top, of the class that was predicted;"
            f" to be pasted by the rule of {rule}"
        )

    @property
    def arguments(self) -> Mapping:
        return MappingProxyType({"side": self.side, "rule": self.rule})

    def to_original(self, values: np.ndarray, place: Place) -> list[Any]:
        return mask_pasting.paste_all(values, place.boxes, *place.size, self.rule)

    def of_truth(self, ground_truth: Mapping[str, np.ndarray], rows: np.ndarray, place: Place) -> list[Any] | None:
        if "bitmaps" in ground_truth:
            return [_moved(ground_truth["bitmaps"][row], place) for row in rows]
        if "polygons" in ground_truth:
            return [_outlined(ground_truth["polygons"][row], place) for row in rows]
        if "masks" in ground_truth:
            return masks.paste_all(np.asarray(ground_truth["masks"])[rows], place.boxes, *place.size)
        return None

    def to_result(self, value: Any, classes: Any) -> dict:
        return {"segmentation": value}


def _moved(bitmap, place):
    """The segment of a mask `[H, W]`, its pixels taken to where they lie in the image."""
    bitmap = np.asarray(bitmap, bool)
    (top, rows), (left, columns) = (
        _pixels_below(size, below, place.ratio[axis], place.offset[axis])
        for axis, size, below in ((1, place.size[0], bitmap.shape[0]), (0, place.size[1], bitmap.shape[1]))
    )
    return masks.encode_window(bitmap[rows][:, columns].T, top, left, *place.size)


def _pixels_below(size, below, ratio, offset):
    """First pixel of an axis that something lies below, and numbers of the pixels below it and those after it."""
    lying = np.floor((np.arange(size) + 0.5 - offset) / ratio).astype(int)
    first, last = np.searchsorted(lying, [0, below])
    return int(first), lying[first:last]


def _outlined(polygon, place):
    """The segment of `[V, 3]` corners x, y and the number of their part, -1 past the last."""
    corners = np.asarray(polygon, np.float64)
    points = corners[:, :2] * place.ratio + np.asarray(place.offset)
    parts = [points[corners[:, 2] == part] for part in np.unique(corners[corners[:, 2] >= 0, 2])]
    parts = [part.ravel().tolist() for part in parts if len(part) >= 3]
    return masks.from_annotation(parts, *place.size) if parts else masks.encode(np.zeros(place.size, bool))
