"""Instances that two sides answered about: how many answers are the same, and why the others differ. Numpy only."""

import collections
import dataclasses


@dataclasses.dataclass
class Agreement:
    """Result of comparing the answers about many instances.

    Attributes:
        total: instances.
        same: those with answers within the bound.
        reasons: `{reason: how many}` of those with others, each of which was checked.
        unexplained: the rest.
        difference: the largest of those that are the same.
        gap: the largest of what was near a tie.
    """

    total: int = 0
    same: int = 0
    reasons: dict = dataclasses.field(default_factory=dict)
    unexplained: int = 0
    difference: float = 0.0
    gap: float = 0.0

    def add(self, verdict):
        """Count an instance, of which there is a `Verdict`."""
        self.total += 1
        self.gap = max(self.gap, verdict.gap)
        if verdict.is_same:
            self.same += 1
            self.difference = max(self.difference, verdict.difference)
        elif verdict.reason:
            self.reasons[verdict.reason] = self.reasons.get(verdict.reason, 0) + 1
        else:
            self.unexplained += 1

    def __or__(self, other):
        reasons = dict(collections.Counter(self.reasons) + collections.Counter(other.reasons))
        added = {key: getattr(self, key) + getattr(other, key) for key in ("total", "same", "unexplained")}
        most = {key: max(getattr(self, key), getattr(other, key)) for key in ("difference", "gap")}
        return Agreement(reasons=reasons, **added, **most)

    @property
    def share(self):
        """Of the instances that are the same."""
        return self.same / self.total if self.total else 1.0


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Two answers about an instance.

    Attributes:
        difference: between them.
        is_same: whether it is within the bound.
        reason: why it is not, if a check says so.
        gap: of the tie that is the reason.
    """

    difference: float
    is_same: bool
    reason: str = ""
    gap: float = 0.0

    @property
    def is_explained(self):
        """Whether it needs no further look."""
        return self.is_same or bool(self.reason)
