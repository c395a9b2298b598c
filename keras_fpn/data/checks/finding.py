"""Findings of a check: how bad each kind is, how it is told, and what mends it."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from keras_fpn.console.errors import UserError
from keras_fpn.data.checks.picture_file import PictureFile
from keras_fpn.data.objects import short, shown
from keras_fpn.parts.registry import Registry

ERROR, WARNING, NOTE = "error", "warning", "note"
SEVERITIES = (ERROR, WARNING, NOTE)  # the worst first
EXAMPLES = 8  # of a finding
_PLURALS = {"category": "categories", "class": "classes", "box": "boxes", "entry": "entries"}

KINDS = Registry("finding", "kind")


@dataclass(frozen=True)
class Kind:
    """A kind of findings.

    Attributes:
        name: in JSON, such as "empty_box".
        severity: "error", training would refuse it or learn nonsense; "warning"; or "note".
        noun: what is counted, such as "box".
        what: words behind the noun, of one or many, such as "without width or height".
        mend: what to do about it.
        module: where it was written, which `Registry` tells two of one name apart by.
    """

    name: str
    severity: str
    noun: str
    what: str
    mend: str
    module: str = field(default="", compare=False)

    @property
    def origin(self) -> str:
        """Module that it comes from."""
        return self.module


def register_kind(name: str, severity: str, noun: str, what: str, mend: str, module: str) -> Kind:
    """Make a kind of findings known, and return it; see `Kind`.

    Raises:
        UserError: its severity is none of `SEVERITIES`, or another kind has its name.
    """
    if severity not in SEVERITIES:
        raise UserError(f"finding {name!r}: severity {severity!r} is none of {', '.join(SEVERITIES)}")
    return KINDS.add(name, Kind(name, severity, noun, what, mend, module))


@dataclass(frozen=True)
class Example:
    """One of the things that a finding counts; what does not belong to it is None.

    Attributes:
        annotation_id, image_id: as the file has them.
        file_name: of the image, as the file has it.
        file: the picture, where there is one; other_file: another that it is held against.
        other_box: a box that this one is held against.
        size: height and width of the image, as the file says them.
        box: x, y, width, height in pixels, as the file has them, or whatever stands there.
        class_name: of the object, or the class that is meant.
        detail: what is wrong with this one, in words.
    """

    annotation_id: Any = None
    image_id: Any = None
    file_name: str | None = None
    file: PictureFile | None = None
    box: Any = None
    class_name: str | None = None
    detail: str = ""
    other_file: PictureFile | None = None
    other_box: Any = None
    size: tuple[int, int] | None = None

    @property
    def words(self) -> str:
        """The example in a line."""
        image = [] if self.image_id is None else [f"image {short(self.image_id, 30)}"]
        if self.file_name is not None:
            image = [f"{' '.join(image)} ({shown(self.file_name)})".strip()]
        parts = [
            *([] if self.annotation_id is None else [f"annotation {short(self.annotation_id, 30)}"]),
            *image,
            *([] if self.class_name is None else [shown(self.class_name)]),
            *([] if self.box is None else [f"box {short(self.box)}"]),
            *([self.detail] if self.detail else []),
        ]
        return ", ".join(parts)

    def to_json(self) -> dict[str, Any]:
        """The example, as JSON takes it: what is not known of it is left out."""
        values = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        return {
            key: value.to_json() if isinstance(value, PictureFile) else plain_value(value)
            for key, value in values.items()
            if value is not None and value != ""
        }


@dataclass(frozen=True, eq=False)
class Finding:
    """Something that was found.

    Attributes:
        kind: what it is.
        half: of the data set, such as "train"; "" of several together.
        count: how many, above zero.
        examples: the first of them.
        detail: more about all of them, in words.
        indices: `[count]` int64 which of the half's annotations, images or categories they are; empty of others.
    """

    kind: Kind
    half: str
    count: int
    examples: Sequence[Example] = ()
    detail: str = ""
    indices: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def words(self) -> str:
        """The finding in a line, without the half."""
        more = f": {self.detail}" if self.detail else ""
        return f"{counted(self.count, self.kind.noun)} {self.kind.what}{more}"

    def to_json(self) -> dict[str, Any]:
        """The finding, as JSON takes it."""
        return {
            "kind": self.kind.name, "severity": self.kind.severity, "half": self.half, "count": self.count,
            "words": self.words, "mend": self.kind.mend, "examples": [each.to_json() for each in self.examples],
        }  # fmt: skip


def worst_first(findings: Sequence[Finding]) -> list[Finding]:
    """The findings by their severity, of one severity those of the most things first."""
    return sorted(findings, key=lambda each: (SEVERITIES.index(each.kind.severity), -each.count))


def counted(number: int, noun: str) -> str:
    """A number with its noun: "1 box", "1,200 boxes"."""
    return f"{number:,} {noun if number == 1 else _PLURALS.get(noun, f'{noun}s')}"


def plain_value(value: Any) -> Any:
    """A value as JSON has it: NaN and the infinities as words, NumPy's numbers as Python's."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain_value(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else repr(value)
