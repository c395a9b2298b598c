"""Masks of detected instances as an output field, without TensorFlow."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_fpn.console.errors import UserError
from keras_fpn.console.naming import nearest
from keras_fpn.ops import mask_pasting, masks
from keras_fpn.parts.output_fields import OutputField, Place, register_output_field

if TYPE_CHECKING:
    import tensorflow as tf


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

    kind, name, bound, least_overlap = "instance_masks", "masks", 1e-3, 0.999
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

    def mirrored(self, values: np.ndarray) -> np.ndarray:
        """Masks of a picture of those of its mirror image."""
        return values[..., ::-1]

    def placed(self) -> OutputField | None:
        return PastedMasks(self.side, self.rule)

    def place_in_graph(self, values: "tf.Tensor", boxes: "tf.Tensor", sizes: "tf.Tensor") -> "tf.Tensor":
        from keras_fpn.ops import graph_mask_pasting

        return graph_mask_pasting.paste_batch(values, boxes, sizes, self.rule)

    def overlaps(self, values: np.ndarray, others: np.ndarray, place: Place, other: OutputField) -> np.ndarray:
        pairs = zip(values, others, place.boxes, strict=True)
        if (other.kind, other.arguments) == (self.kind, self.arguments):
            found = [mask_pasting.overlap(ours, theirs, box, *place.size, self.rule) for ours, theirs, box in pairs]
        else:
            pasted = map(masks.decode, other.to_original(others, place))
            pairs = zip(values, pasted, place.boxes, strict=True)
            found = [mask_pasting.overlap_with(ours, theirs, box, self.rule) for ours, theirs, box in pairs]
        return np.array(found, np.float64)

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


@register_output_field
class PastedMasks(InstanceMasks):
    """Masks that a graph has pasted: `[H, W]` uint8, 1 on the pixels of the object, at the left upper corner of H x W.

    Args:
        side, rule: of the masks that were pasted, see `InstanceMasks`.
    """

    kind, dtype = "pasted_masks", "uint8"

    def __init__(self, side=28, rule="detectron2"):
        super().__init__(side, rule)
        self.shape = (None, None)
        self.meaning = (
            "1 on the pixels of the object and else 0, in the image that was sent, at the left upper corner of the"
            f" largest height and width of the request; pasted by the rule of {rule}; as many rows as the image with"
            " the most detections has, at least one"
        )

    def placed(self) -> OutputField | None:
        return None

    def to_original(self, values: np.ndarray, place: Place) -> list[Any]:
        height, width = place.size
        return [masks.encode(pixels[:height, :width]) for pixels in values]


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
