"""A half that is checked, and how a check is declared."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keras_fpn.data.checks.finding import Finding
from keras_fpn.data.checks.half_table import HalfTable
from keras_fpn.data.checks.pictures import Pictures


@dataclass(frozen=True)
class Subject:
    """A half that is checked.

    Attributes:
        table: its annotations.
        pictures: what the first bytes of its image files say; None where they were not read.
        resize: the rule by which its images are resized, see `data.sizes`; None where there is none.
    """

    table: HalfTable
    pictures: Pictures | None = None
    resize: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Check:
    """A check of each half, or of all halves together.

    Attributes:
        name: of the check.
        of_half: finds what is wrong with a half; None where it looks at all halves.
        of_all: finds what is wrong with the halves together.
        is_quick: whether a training run makes it before it starts: it needs no picture, and half a second at most for
            900,000 objects.
    """

    name: str
    of_half: Callable[[Subject], Iterable[Finding]] | None = None
    of_all: Callable[[Sequence[Subject]], Iterable[Finding]] | None = None
    is_quick: bool = False

    @property
    def origin(self) -> str:
        """Module that it comes from."""
        return (self.of_half or self.of_all).__module__  # type: ignore[union-attr]


def findings(subjects: Sequence[Subject], checks: Iterable[Check]) -> list[Finding]:
    """Everything that some checks find."""
    found: list[Finding] = []
    for check in checks:
        if check.of_half is not None:
            for subject in subjects:
                found += check.of_half(subject)
        if check.of_all is not None:
            found += check.of_all(subjects)
    return found
