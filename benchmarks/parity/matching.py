"""Two ranked lists of boxes compared: the same boxes, in the same order but for ties. Numpy only.

Two sides whose float32 scores and coordinates differ in the last digits may decide differently where a decision hangs
on these digits. A box that only one side has is excused for one of six reasons, each of which can be checked, and
counts as unmatched otherwise.
"""

import dataclasses

import numpy as np

BOX_BOUND = 0.05  # pixels: nearer boxes are the same box
TIE = 1e-4  # what scores, and overlaps, may differ by between the two sides
EXCLUSIVE_TIE = 1e-5  # of the scores of two boxes that suppress each other
LEAST_SIDE = 1e-3  # pixels: a box without extent has none of its own
ANOTHER_BOX = 1.0  # pixel: of one box the two sides never differ so much


@dataclasses.dataclass
class Match:
    """Result of comparing two lists.

    Attributes:
        unmatched: boxes of either list that the other lacks, without excuse.
        excused: those with one, see `_excused`.
        swapped: boxes that stand before one that beats them.
        boxes: largest coordinate difference of two matched boxes, pixels.
        scores: largest difference of two matched scores.
        gap: largest difference of the scores of two boxes that stand in another order.
    """

    unmatched: int = 0
    excused: int = 0
    swapped: int = 0
    boxes: float = 0.0
    scores: float = 0.0
    gap: float = 0.0

    def __or__(self, other):
        added = {key: getattr(self, key) + getattr(other, key) for key in ("unmatched", "excused", "swapped")}
        most = {key: max(getattr(self, key), getattr(other, key)) for key in ("boxes", "scores", "gap")}
        return Match(**added, **most)


@dataclasses.dataclass
class Ranked:
    """One side's list, best first.

    Attributes:
        boxes: `[N, 4]` pixels.
        scores: `[N]`, as the source sorts by.
        labels: `[N]`; boxes of different labels never match nor suppress each other.
        edge: `[E, 4]` boxes that this side may have and the other lack. They stand at the cut of their level of the
            pyramid: of those before the suppression, the last within and the first beyond, in a tie. Or they are made
            of a proposal that the other side lacks for one of these reasons.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray = None
    edge: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((0, 4)))

    def __post_init__(self):
        self.boxes, self.scores = self.boxes.astype(np.float64), self.scores.astype(np.float64)
        self.labels = np.zeros(len(self.boxes), int) if self.labels is None else self.labels.reshape(-1)


def match(ours, theirs, iou_threshold, most, least_score=-np.inf):
    """Pair each of their boxes with ours that is nearest to it, label by label.

    Order is judged by their scores, so that what the source itself holds for equal may stand in any order.

    Args:
        ours, theirs: `Ranked`.
        iou_threshold: of the suppression that both lists went through.
        most: boxes that a list may have.
        least_score: below which boxes are dropped.
    """
    sides, near = (ours, theirs), _near(ours, theirs)
    paired = _pairs(near)
    lone = _lone(sides, paired)
    distance = float(near[paired[:, 0], paired[:, 1]].max(initial=0))
    excused = 0
    if sum(map(len, lone)):
        excused = sum(map(len, _excused(sides, lone, iou_threshold, most, least_score, distance)))
    result = Match(unmatched=sum(map(len, lone)) - excused, excused=excused, boxes=distance)
    if len(paired):
        result.scores = float(np.abs(ours.scores[paired[:, 0]] - theirs.scores[paired[:, 1]]).max())
        ordered = theirs.scores[paired[np.argsort(paired[:, 0]), 1]]
        gaps = np.maximum.accumulate(ordered[::-1])[::-1] - ordered
        result.gap, result.swapped = float(gaps.max()), int((gaps > 0).sum())
    return result


def pairs(ours, theirs):
    """`[P, 2]` rows of ours and of theirs that are the same box, see `match`."""
    return _pairs(_near(ours, theirs))


def lone_boxes(ours, theirs):
    """`[N, 4]` boxes that the other list lacks, for each of the two."""
    sides = (ours, theirs)
    return [side.boxes[rows] for side, rows in zip(sides, _lone(sides, pairs(*sides)), strict=True)]


def _lone(sides, paired):
    """Rows of each list that are in no pair."""
    return [np.setdiff1d(np.arange(len(side.boxes)), paired[:, axis]) for axis, side in enumerate(sides)]


def _near(ours, theirs):
    near = _distances(ours.boxes, theirs.boxes)
    near[ours.labels[:, None] != theirs.labels[None]] = np.inf
    return near


def _excused(sides, lone, iou_threshold, most, least_score, distance):
    """Rows of each list that rounding explains, a set for each side; `distance` is the largest of matched boxes.

    1. The box stands at the cut of its level, is made of a proposal that does, or its score stands at the least score.
    2. A better one of its own list overlaps it by the threshold, no further off than rounding reaches: by `TIE`, or as
       far as sides move an overlap that are the distance off; of a box of a pixel's width that is far.
    3. Both lists are full, and it and the other's last box, somewhere else, are in a tie for the last place.
    4. In the other list it was suppressed by a better box that is lone and excused.
    5. Its list is full, and it stands in one of the last places: as many as the other list has more excused boxes.
    6. A lone box of the other list, another one and not the same displaced, overlaps it by more than the threshold, and
       the two are in a tie: whichever comes first suppresses the other.
    """
    excused = [
        {row for row in rows if _is_borderline(side, row, iou_threshold, least_score, distance)}
        for side, rows in zip(sides, lone, strict=True)
    ]
    if _tie_for_last_place(sides, lone, iou_threshold, most):
        for rows in excused:
            rows.add(most - 1)
    for ours, theirs in _exclusive_ties(sides, lone, iou_threshold):
        excused[0].add(ours)
        excused[1].add(theirs)
    found = -1
    while sum(map(len, excused)) > found:  # what is suppressed by an excused box spares another in its turn
        found = sum(map(len, excused))
        for axis, other in ((0, 1), (1, 0)):
            causes = sorted(excused[other])
            rows = set(lone[axis]) - excused[axis]
            excused[axis] |= {
                row for row in rows if _is_suppressed(sides[axis], row, sides[other], causes, iou_threshold)
            }
    for axis, other in ((0, 1), (1, 0)):
        places = len(excused[other]) - len(excused[axis])
        if len(sides[axis].boxes) == most:
            excused[axis] |= {row for row in lone[axis] if row >= most - places}
    return excused


def _is_borderline(side, row, iou_threshold, least_score, distance):
    """Reasons 1 and 2."""
    box = side.boxes[row]
    at_edge = (_distances(side.edge, box[None]) < BOX_BOUND).any()
    better = np.flatnonzero(side.labels[:row] == side.labels[row])
    overlaps = _overlaps(side.boxes[better], box)
    # Of the intersection and of the union, by the two sides of each axis.
    reach = TIE + 2 * distance * (1 / np.maximum(box[2:] - box[:2], LEAST_SIDE)).sum()
    at_threshold = (np.abs(overlaps - iou_threshold) < reach).any()
    return at_edge or at_threshold or abs(side.scores[row] - least_score) < TIE


def _tie_for_last_place(sides, lone, iou_threshold, most):
    """Reason 3. Two boxes, not one that moved or took another label: they hardly overlap."""
    if not all(most - 1 in rows for rows in lone):
        return False
    overlap = _overlaps(sides[0].boxes[-1:], sides[1].boxes[-1])[0]
    return overlap <= iou_threshold and abs(sides[0].scores[-1] - sides[1].scores[-1]) < TIE


def _exclusive_ties(sides, lone, iou_threshold):
    """Reason 6: pairs of rows."""
    for ours in lone[0]:
        for theirs in lone[1]:
            box, other = sides[0].boxes[ours], sides[1].boxes[theirs]
            same_label = sides[0].labels[ours] == sides[1].labels[theirs]
            in_tie = abs(sides[0].scores[ours] - sides[1].scores[theirs]) < EXCLUSIVE_TIE
            is_another = np.abs(box - other).max() > ANOTHER_BOX
            if same_label and in_tie and is_another and _overlaps(other[None], box)[0] > iou_threshold:
                yield ours, theirs


def _is_suppressed(side, row, other, causes, iou_threshold):
    """Reason 4."""
    causes = [cause for cause in causes
              if other.labels[cause] == side.labels[row] and other.scores[cause] > side.scores[row]]  # fmt: skip
    return (_overlaps(other.boxes[causes], side.boxes[row]) > iou_threshold).any()


def _distances(some, others):
    """`[N, M]` largest coordinate differences."""
    return np.abs(some[:, None] - others[None]).max(-1)


def _overlaps(boxes, box):
    """`[N]` intersection over union of each box with one."""
    sides = np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2])
    shared = sides.clip(0).prod(-1)
    return shared / ((boxes[:, 2:] - boxes[:, :2]).prod(-1) + (box[2:] - box[:2]).prod() - shared)


def _pairs(near):
    """`[P, 2]` rows and columns in the order of the columns, each at most once, nearer than the bound."""
    taken, pairs = np.zeros(len(near), bool), []
    for column in range(near.shape[1]):
        distance = np.where(taken, np.inf, near[:, column])
        row = int(distance.argmin()) if len(distance) else -1
        if row >= 0 and distance[row] < BOX_BOUND:
            taken[row] = True
            pairs.append((row, column))
    return np.array(pairs, int).reshape(-1, 2)
