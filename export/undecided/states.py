"""Decisions with room for rounding: certain, undecided, or out."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_fpn.export.agreement import overlaps_with

SCORE_ROOM = 1e-4  # what scores and logits may move by, at most
OVERLAP_ROOM = 1e-3  # and IoUs
SIDE_ROOM = 1e-3  # and sides of boxes, pixels
MOST_BEYOND_CUT = 4000  # candidates of a level that are looked at though they stand behind its cut, in a tie with it

OUT, UNDECIDED, IN = 0, 1, 2


@dataclasses.dataclass(frozen=True)
class Possible:
    """All boxes that a stage may give for an image, in no order.

    Attributes:
        boxes: `[N, 4]` pixels of the image given.
        scores: `[N]`, as the stage gives them: logits of proposals, probabilities of detections.
        states: `[N]` of UNDECIDED and IN.
        classes: `[N]`, 0 of what has no classes.
    """

    boxes: np.ndarray
    scores: np.ndarray
    states: np.ndarray
    classes: np.ndarray

    @classmethod
    def of(
        cls, boxes: np.ndarray, scores: np.ndarray, states: np.ndarray, classes: np.ndarray | None = None
    ) -> "Possible":
        """Those that are not OUT."""
        classes = np.zeros(len(boxes), np.int32) if classes is None else classes
        return cls(*(part[states > OUT] for part in (boxes, scores, states, classes)))


def certain(found: Mapping[str, Any], count: str) -> Possible:
    """`Possible` of what a stage gives, for certain.

    Args:
        found: `{"boxes": [1, N, 4], "scores": [1, N] (optional), "classes": [1, N] (optional), ...}`.
        count: name of the number of those that are no padding.
    """
    number = int(found[count][0])
    boxes = np.asarray(found["boxes"])[0, :number]
    scores = np.asarray(found["scores"])[0, :number] if "scores" in found else np.zeros(number, np.float32)
    classes = np.asarray(found["classes"])[0, :number] if "classes" in found else None
    return Possible.of(boxes, scores, np.full(number, IN), classes)


def cut(scores: np.ndarray, count: int, room: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows that may be among the `count` best of `[N]` scores, and their states."""
    if len(scores) <= count:
        return np.arange(len(scores)), np.full(len(scores), IN)
    order = np.argsort(-scores, kind="stable")
    last_in, first_out = scores[order[count - 1]], scores[order[count]]
    rows = order[: count + MOST_BEYOND_CUT]
    rows = rows[scores[rows] >= last_in - room]
    return rows, np.where(scores[rows] > first_out + room, IN, UNDECIDED)


def above(scores: np.ndarray, threshold: float, room: float) -> np.ndarray:
    """States of `[N]` probabilities that are to be above a threshold."""
    if threshold <= 0.0:  # of probabilities: none is dropped
        return np.full(len(scores), IN)
    return np.where(np.abs(scores - threshold) <= room, UNDECIDED, np.where(scores > threshold, IN, OUT))


def large_enough(boxes: np.ndarray, min_size: float) -> np.ndarray:
    """States of boxes `[N, 4]` both of whose sides are to be longer than `min_size` pixels."""
    sides = (boxes[:, 2:] - boxes[:, :2]).min(-1)
    return np.where(np.abs(sides - min_size) <= SIDE_ROOM, UNDECIDED, np.where(sides > min_size, IN, OUT))


def nms_states(
    boxes: np.ndarray, scores: np.ndarray, states: np.ndarray, iou_threshold: float, room: float = SCORE_ROOM
) -> np.ndarray:
    """States after greedy suppression, whichever way scores and overlaps are rounded.

    Args:
        boxes: `[N, 4]`.
        scores: `[N]`.
        states: `[N]` OUT, UNDECIDED or IN, before it.
        iou_threshold: IoU above which the worse of two boxes goes.
        room: what scores may move by.

    Returns:
        `[N]` states: OUT if a better box that is IN for certain overlaps it by more than the threshold for certain;
        UNDECIDED if one may.
    """
    boxes, scores, states = boxes.astype(np.float64), scores.astype(np.float64), states.copy()
    for row in np.argsort(-scores, kind="stable"):
        if states[row] == OUT:
            continue
        # Those in a tie with it that come later still have the state they began with.
        rivals = np.flatnonzero((scores >= scores[row] - room) & (states > OUT))
        rivals = rivals[rivals != row]
        overlaps = overlaps_with(boxes[rivals], boxes[row])
        is_certain = (states[rivals] == IN) & (scores[rivals] > scores[row] + room)
        if (overlaps[is_certain] > iou_threshold + OVERLAP_ROOM).any():
            states[row] = OUT
        elif (overlaps > iou_threshold - OVERLAP_ROOM).any():
            states[row] = UNDECIDED
    return states


def within_the_best(scores: np.ndarray, states: np.ndarray, count: int, room: float = SCORE_ROOM) -> np.ndarray:
    """States after the `count` best are taken of all that are there; those past the last place for certain are OUT."""
    order = np.sort(scores[states > OUT].astype(np.float64))
    certain = np.sort(scores[states == IN].astype(np.float64))
    own = scores.astype(np.float64)
    better = len(certain) - np.searchsorted(certain, own + room, side="right")  # for certain
    perhaps = len(order) - np.searchsorted(order, own - room, side="left") - 1  # and itself
    return np.where(better >= count, OUT, np.where(perhaps >= count, np.minimum(states, UNDECIDED), states))
