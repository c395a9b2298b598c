"""The detections of an artefact and of its model in one image, compared."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from keras_fpn.export.field_agreement import NOTHING_FURTHER, Further
from keras_fpn.export.findings import Bounds, Detections, Finding, VerificationError, told_box
from keras_fpn.parts import output_fields

if TYPE_CHECKING:
    from keras_fpn.export.undecided import Answer

BOX_BOUND, SCORE_BOUND = output_fields.BOXES.bound, output_fields.SCORES.bound  # of float32: pixels, probabilities
LEAST_ROOM, TIMES = 1e-5, 10.0  # how far scores may move, from how far those of partners have


def exactly(
    found: Detections,
    expected: Detections,
    class_names: Sequence[str],
    possible: "Callable[[float], Answer]",
    box_bound: float = BOX_BOUND,
    further: Further = NOTHING_FURTHER,
) -> Finding:
    """Hold an artefact's detections to the model's, one by one.

    Args:
        found, expected: `Detections` of the artefact and of the model.
        class_names: for the error.
        possible: called with what scores may move by, where one side has a detection that the other lacks; gives the
            `undecided.Answer` in the same pixels.
        box_bound: pixels.
        further: `Further` values, and how they are compared.

    Raises:
        VerificationError: a difference that rounding does not explain.
    """
    pairs, lone_found, lone_expected = _pairs(found, expected, box_bound)
    if len(lone_found) or len(lone_expected):
        answer = possible(_room(found, expected, pairs))
        for side, rows, other in ((expected, lone_expected, found), (found, lone_found, expected)):
            strict = [row for row in rows if not _hangs_on_rounding(side, row, answer, box_bound)]
            if strict:
                raise VerificationError(_difference(side, strict[0], other, side is found, class_names, box_bound))
    if not len(pairs):
        return Finding(1, len(expected.scores), unpaired=len(lone_found) + len(lone_expected))
    of_found, of_expected = pairs.T
    _check_order(expected.scores[of_expected[np.argsort(of_found)]])
    return Finding(
        pictures=1,
        detections=len(expected.scores),
        max_box=float(np.abs(found.boxes[of_found] - expected.boxes[of_expected]).max()),
        max_score=float(np.abs(found.scores[of_found] - expected.scores[of_expected]).max()),
        unpaired=len(lone_found) + len(lone_expected),
        **further.exactly(found, expected, pairs, class_names),
    )


def roughly(
    found: Detections, expected: Detections, bounds: Bounds, most: int, further: Further = NOTHING_FURTHER
) -> Finding:
    """Count what a lower precision finds otherwise.

    Args:
        found, expected: `Detections` of the artefact and of the model.
        bounds: `Bounds`; partners are looked for among all detections of the other side.
        most: detections that an image can have. Where a side has so many, what the other alone has does not count if
            its score is within the bound of the last one's: the partner may be the next one.
        further: `Further` values, and how they are compared; a detection has its partner whatever they are.
    """
    total, pairs = Finding(pictures=1), set()
    for side, other in ((expected, found), (found, expected)):
        cut = other.scores[-1] + bounds.score if len(other.scores) == most else 0.0
        for row in range(int((side.scores >= bounds.level).sum())):
            best = _partner_of(side, row, other, bounds)
            if best is not None:
                total += _differing(side, row, other, best)
                pairs.add((best, row) if side is expected else (row, best))
            elif side.scores[row] > cut:
                total += Finding(detections=1, unpaired=1)
    rows = np.array(sorted(pairs), int).reshape(-1, 2)
    return total + Finding(**further.roughly(found, expected, rows, bounds))


def _partner_of(side, row, other, bounds):
    """The row on the other side of the same detection, None if there is none."""
    candidates = np.flatnonzero(
        (other.classes == side.classes[row]) & (np.abs(other.scores - side.scores[row]) <= bounds.score)
    )
    overlaps = overlaps_with(other.boxes[candidates], side.boxes[row])
    if not len(candidates) or overlaps.max() < bounds.overlap:
        return None
    return int(candidates[overlaps.argmax()])


def _differing(side, row, other, best):
    return Finding(
        detections=1,
        max_box=float(np.abs(other.boxes[best] - side.boxes[row]).max()),
        max_score=float(abs(other.scores[best] - side.scores[row])),
    )


def _pairs(found, expected, box_bound):
    """`[P, 2]` rows of partners, each in one pair at most, and the rows of either side that have none."""
    free, pairs = np.ones(len(found.scores), bool), []
    for row in range(len(expected.scores)):
        candidates = np.flatnonzero(free & _same(found, expected.boxes[row], expected.scores[row],
                                                 expected.classes[row], box_bound))  # fmt: skip
        if len(candidates):
            distances = np.abs(found.boxes[candidates] - expected.boxes[row]).max(-1)
            pairs.append((candidates[distances.argmin()], row))
            free[pairs[-1][0]] = False
    pairs = np.array(pairs, int).reshape(-1, 2)
    return pairs, np.flatnonzero(free), np.setdiff1d(np.arange(len(expected.scores)), pairs[:, 1])


def _same(side, box, score, label, box_bound):
    """`[N]` bool: which of a side are this detection but for rounding."""
    near = np.abs(side.boxes - box).max(-1) <= box_bound
    return near & (np.abs(side.scores - score) <= SCORE_BOUND) & (side.classes == label)


def _room(found, expected, pairs):
    """Ten times the largest difference of partners' scores: the smaller, the fewer detections it decides."""
    differences = np.abs(found.scores[pairs[:, 0]] - expected.scores[pairs[:, 1]])
    return float(np.clip(TIMES * differences.max(initial=0.0), LEAST_ROOM, SCORE_BOUND)) if len(pairs) else SCORE_BOUND


def _hangs_on_rounding(side, row, answer, box_bound):
    """Whether the model's own numbers leave open if this detection is there."""
    same = _same(answer, side.boxes[row], side.scores[row], side.classes[row], box_bound)
    return same.any() and not answer.is_certain[same].any()


def _check_order(scores):
    """Model's scores in the artefact's order: best first but for those that are equal."""
    best_to_come = np.maximum.accumulate(scores[::-1])[::-1]
    gap = float((best_to_come - scores).max())
    if gap > SCORE_BOUND:
        raise VerificationError(f"detections stand in another order, though their scores differ by {gap:.2g}")


def _difference(side, row, other, is_found, class_names, box_bound):
    """Describe a detection that the other side lacks."""
    who = "the artefact" if is_found else "the model"
    label = class_names[side.classes[row]]
    what = f"the {label} that {who} finds at {told_box(side.boxes[row])} with score {side.scores[row]:.4f}"
    overlaps = overlaps_with(other.boxes, side.boxes[row])
    own = np.where(other.classes == side.classes[row], 1.0, 0.0)
    if not len(overlaps) or overlaps.max() < 0.5:
        return f"{what} is missing on the other side"
    nearest = int((overlaps + own * (overlaps >= 0.5)).argmax())
    differences = []
    if not own[nearest]:
        differences.append(f"its class is {class_names[other.classes[nearest]]}")
    if (box := np.abs(other.boxes[nearest] - side.boxes[row]).max()) > box_bound:
        differences.append(f"its box differs by {box:.2g} px (at most {box_bound:g})")
    if (score := abs(other.scores[nearest] - side.scores[row])) > SCORE_BOUND:
        differences.append(f"its score by {score:.2g} (at most {SCORE_BOUND:g})")
    return f"{what} is another on the other side: {', '.join(differences) or 'it is there once only'}"


def overlaps_with(boxes: np.ndarray, box: np.ndarray) -> np.ndarray:
    """`[N]` intersection over union of each box with one; 0 of empty ones."""
    sides = np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2])
    shared = sides.clip(0).prod(-1)
    union = (boxes[:, 2:] - boxes[:, :2]).prod(-1) + (box[2:] - box[:2]).prod() - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
