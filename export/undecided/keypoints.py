"""Which places of a detection's keypoints rounding leaves open.

A keypoint is the pixel with the highest logit of a resized heat map: of two that are equal but for the last digits,
either may be it. And how many pixels the map has is a side of the box rounded up, which a side that is nearly whole
leaves open, too.
"""

import itertools
from typing import Any

import numpy as np
import tensorflow as tf

from keras_fpn.export.findings import Bounds
from keras_fpn.export.undecided.states import SIDE_ROOM
from keras_fpn.ops.keypoints import cubic_weights

LOGIT_ROOM, RELATIVE_ROOM = 1e-3, 1e-4  # by how much logits may be apart and count as equal, whichever is more


def of_stage(
    stage: Any,
    features: dict[str, tf.Tensor],
    boxes: np.ndarray,
    values: np.ndarray,
    bound: float,
    bounds: Bounds | None = None,
) -> np.ndarray:
    """The rule of a stage with `heat_maps`.

    Args:
        stage: a `KeypointStage`.
        features: the model's own, of one image.
        boxes: `[N, 4]` of the model's detections, pixels of its input.
        values: `[N, K, 3]` x, y, score that an artefact gives of them.
        bound: pixels.
        bounds: of a lower precision: a keypoint counts as there that is no further than its `place`, and a pixel as
            equal to the highest that is as near to it as its `score`.

    Returns:
        `[N, K]` bool, whether the model's own numbers leave open that the keypoint is there.
    """
    logits = stage.heat_maps(features, tf.constant(boxes[None], tf.float32))[0].numpy()
    room = (LOGIT_ROOM, RELATIVE_ROOM) if bounds is None else (bounds.score, bounds.score)
    share = 0.0 if bounds is None else bounds.place
    rows = (_open_of_box(*of_box, bound, share, room) for of_box in zip(logits, boxes, values, strict=True))
    return np.array(list(rows), bool).reshape(values.shape[:2])


def _open_of_box(maps, box, values, bound, share, room):
    """`[K]` bool of the maps `[m, m, K]` of a box; places count that are within `bound` or the `share` of its sides."""
    sides = np.maximum(box[[3, 2]] - box[[1, 0]], 1.0)  # height, width
    is_open = np.zeros(len(values), bool)
    for pixels in itertools.product(*map(_whole, sides)):
        rows, columns = (cubic_weights(tf.constant(float(number)), len(maps)).numpy() for number in pixels)
        resized = np.einsum("ym,mnk,xn->kyx", rows, maps, columns, optimize=True)
        highest = resized.max(axis=(1, 2))
        # The highest of the pixels that are as near: of rounding, the one itself.
        centres = [(np.arange(number) + 0.5) * side / number for number, side in zip(pixels, sides, strict=True)]
        near = [
            np.abs(values[:, 1 - axis, None] - box[1 - axis] - centres[axis]) <= max(bound, share * sides[axis])
            for axis in (0, 1)
        ]  # [K, h], [K, w]
        there = np.where(near[0][:, :, None] & near[1][:, None], resized, -np.inf).max(axis=(1, 2))
        is_open |= highest - there <= np.maximum(room[0], room[1] * np.abs(highest))
    return is_open


def _whole(side):
    """Numbers of pixels that a side may be rounded up to."""
    return sorted({int(np.ceil(side - SIDE_ROOM)), int(np.ceil(side + SIDE_ROOM))} - {0})
