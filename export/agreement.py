"""The detections of an artefact and of its model in one image, compared."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from keras_fpn.parts import output_fields

if TYPE_CHECKING:
    from keras_fpn.export.undecided import Answer

BOX_BOUND, SCORE_BOUND = output_fields.BOXES.bound, output_fields.SCORES.bound  # of float32: pixels, probabilities
LEAST_ROOM, TIMES = 1e-5, 10.0  # how far scores may move, from how far those of partners have


class VerificationError(Exception):
    """An artefact answers otherwise than its model; one line says where and by how much."""


@dataclasses.dataclass(frozen=True)
class Detections:
    """Those of one image, best first: boxes `[N, 4]` pixels, scores `[N]`, classes `[N]`, and `{field: [N, ...]}`."""

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    further: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Bounds:
    """Bounds that a lower precision is held to.

    Attributes:
        level: score from which detections count.
        overlap: least IoU of partners.
        score: largest difference of their scores, and the mean one of what further fields they have.
        share: of the detections that may lack a partner.
    """

    level: float
    overlap: float
    score: float
    share: float


@dataclasses.dataclass(frozen=True)
class Finding:
    """Result of a comparison.

    Attributes:
        pictures: images compared.
        detections: of the model in them; of a lower precision, those of both sides from its score on.
        max_box: largest difference of a coordinate between partners, pixels.
        max_score: largest difference of their scores.
        further: `{field: largest difference}` of what further fields they have, anywhere in a mask; of a lower
            precision the largest mean one.
        unpaired: detections without a partner that may be: of float32 those that rounding decides.
    """

    pictures: int = 0
    detections: int = 0
    max_box: float = 0.0
    max_score: float = 0.0
    unpaired: int = 0
    further: dict = dataclasses.field(default_factory=dict)

    def __add__(self, other):
        sums = {key: getattr(self, key) + getattr(other, key) for key in ("pictures", "detections", "unpaired")}
        most = {key: max(getattr(self, key), getattr(other, key)) for key in ("max_box", "max_score")}
        names = dict.fromkeys([*self.further, *other.further])
        further = {name: max(self.further.get(name, 0.0), other.further.get(name, 0.0)) for name in names}
        return Finding(**sums, **most, further=further)


def exactly(
    found: Detections,
    expected: Detections,
    class_names: Sequence[str],
    possible: "Callable[[float], Answer]",
    box_bound: float = BOX_BOUND,
    further: Iterable[output_fields.OutputField] = (),
    are_open: "Callable[[str, np.ndarray, np.ndarray], np.ndarray]" = lambda name, boxes, values: np.zeros(len(boxes)),
) -> Finding:
    """Hold an artefact's detections to the model's, one by one.

    Args:
        found, expected: `Detections` of the artefact and of the model.
        class_names: for the error.
        possible: called with what scores may move by, where one side has a detection that the other lacks; gives the
            `undecided.Answer` in the same pixels.
        box_bound: pixels.
        further: `OutputField`s of the further values, for their bounds.
        are_open: called with the name of a field, boxes of the model's detections and what the artefact says of them,
            where that is not what the model says; see `undecided.are_open`.

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
        further=_check_further(found, expected, pairs, class_names, further, are_open),
    )


def roughly(found: Detections, expected: Detections, bounds: Bounds) -> Finding:
    """Count what a lower precision finds otherwise.

    Args:
        found, expected: `Detections` of the artefact and of the model.
        bounds: `Bounds`; partners are looked for among all detections of the other side.
    """
    total = Finding(pictures=1)
    for side, other in ((expected, found), (found, expected)):
        for row in range(int((side.scores >= bounds.level).sum())):
            total += _partner_of(side, row, other, bounds)
    return total


def _partner_of(side, row, other, bounds):
    candidates = np.flatnonzero(
        (other.classes == side.classes[row]) & (np.abs(other.scores - side.scores[row]) <= bounds.score)
    )
    overlaps = overlaps_with(other.boxes[candidates], side.boxes[row])
    if not len(candidates) or overlaps.max() < bounds.overlap:
        return Finding(detections=1, unpaired=1)
    best = candidates[overlaps.argmax()]
    further = {name: float(np.abs(other.further[name][best] - side.further[name][row]).mean()) for name in side.further}
    if max(further.values(), default=0.0) > bounds.score:
        return Finding(detections=1, unpaired=1)
    return Finding(
        detections=1,
        max_box=float(np.abs(other.boxes[best] - side.boxes[row]).max()),
        max_score=float(abs(other.scores[best] - side.scores[row])),
        further=further,
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


def _check_further(found, expected, pairs, class_names, fields, are_open):
    """`{field: largest difference of partners}`, each held to its bound; what rounding leaves open is left out."""
    of_found, of_expected = pairs.T
    largest = {}
    for field in fields:
        ours, theirs = (side.further[field.name].astype(np.float64) for side in (expected, found))
        differences = np.abs(theirs[of_found] - ours[of_expected])
        far = np.flatnonzero(differences.reshape(len(pairs), -1).max(axis=1, initial=0) > field.bound)
        if len(far):
            is_open = are_open(field.name, expected.boxes[of_expected[far]], theirs[of_found[far]]).astype(bool)
            differences[far] *= ~is_open.reshape(is_open.shape + (1,) * (differences.ndim - is_open.ndim))
        differences = differences.reshape(len(pairs), -1).max(axis=1, initial=0)
        worst = int(differences.argmax())
        if differences[worst] > field.bound:
            row = of_expected[worst]
            raise VerificationError(
                f"{field.name} of the {class_names[expected.classes[row]]} at {_box(expected.boxes[row])} differ by"
                f" {differences[worst]:.2g} (at most {field.bound:g})"
            )
        largest[field.name] = float(differences[worst])
    return largest


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
    what = f"the {label} that {who} finds at {_box(side.boxes[row])} with score {side.scores[row]:.4f}"
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


def _box(box):
    return f"({', '.join(f'{value:.1f}' for value in box)})"


def overlaps_with(boxes: np.ndarray, box: np.ndarray) -> np.ndarray:
    """`[N]` intersection over union of each box with one; 0 of empty ones."""
    sides = np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2])
    shared = sides.clip(0).prod(-1)
    union = (boxes[:, 2:] - boxes[:, :2]).prod(-1) + (box[2:] - box[:2]).prod() - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
