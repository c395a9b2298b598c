"""Detections held against each other, and what comes of it: the words that the comparison is made in."""

import dataclasses

import numpy as np


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
        score: largest difference of their scores, and of what else they have that is no place; of numbers above 1 as
            a share of them.
        share: of the detections that may lack a partner, and of the parts of their further fields that may be further
            apart than `score` and `place`.
    """

    level: float
    overlap: float
    score: float
    share: float

    @property
    def place(self) -> float:
        """Largest distance of places along a side of the box, as a share of it: what a box may move and still overlap
        itself by `overlap`."""
        return (1.0 - self.overlap) / (1.0 + self.overlap)


@dataclasses.dataclass(frozen=True)
class Finding:
    """Result of a comparison.

    Attributes:
        pictures: images compared.
        detections: of the model in them; of a lower precision, those of both sides from its score on.
        max_box: largest difference of a coordinate between partners, pixels.
        max_score: largest difference of their scores.
        further: `{field: largest difference}` of what further fields they have; of a lower precision that of the parts
            that are near each other, see `field_agreement.apart`.
        far: `{field: [parts that are not, parts in all]}`, of a lower precision.
        overlaps: `{field: least IoU}` of partners' regions in the image itself over the same box.
        unpaired: detections without a partner that may be: of float32 those that rounding decides.
    """

    pictures: int = 0
    detections: int = 0
    max_box: float = 0.0
    max_score: float = 0.0
    unpaired: int = 0
    further: dict = dataclasses.field(default_factory=dict)
    far: dict = dataclasses.field(default_factory=dict)
    overlaps: dict = dataclasses.field(default_factory=dict)

    def __add__(self, other):
        sums = {key: getattr(self, key) + getattr(other, key) for key in ("pictures", "detections", "unpaired")}
        most = {key: max(getattr(self, key), getattr(other, key)) for key in ("max_box", "max_score")}
        return Finding(
            **sums,
            **most,
            further=_joined(max, self.further, other.further),
            far=_joined(lambda pairs: [sum(column) for column in zip(*pairs, strict=True)], self.far, other.far),
            overlaps=_joined(min, self.overlaps, other.overlaps),
        )


def _joined(join, *tables):
    """`{name: join(values)}` of those tables that have the name."""
    names = dict.fromkeys(name for table in tables for name in table)
    return {name: join([table[name] for table in tables if name in table]) for name in names}


def told_box(box: np.ndarray) -> str:
    """Corners of a box `[4]` in words of an error."""
    return f"({', '.join(f'{value:.1f}' for value in box)})"
