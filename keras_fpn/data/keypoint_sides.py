"""Which keypoints are the left and the right one of a pair, by their names."""

import re
from collections.abc import Callable, Sequence

_OTHER = {"left": "right", "right": "left", "l": "r", "r": "l"}
# A word of its own in left_eye, eye-left, Left Eye, leftEye and EyeLeft; not that of "cleft".
_WORD = re.compile(r"(?<![A-Za-z])(left|right|LEFT|RIGHT|Left|Right)(?![a-z])|(?<=[a-z])(Left|Right)(?![a-z])")
_LETTER = re.compile(r"(?<![A-Za-z])([lrLR])(?![A-Za-z])")


def swapping_pairs(names: Sequence[str]) -> list[tuple[str, str]] | None:
    """Pairs of names that differ in left and right alone: left_eye and right_eye, l_eye and r_eye, left and right.

    Returns:
        the pairs, each once; none of a single keypoint; None where the names do not tell: no name has a side, or one
        with a side has no partner.
    """
    if len(names) < 2:
        return []
    mirrored = _mirrored(names, _WORD) or _mirrored(names, _LETTER)
    if mirrored is None:
        return None
    return [(name, other) for name, other in mirrored.items() if names.index(name) < names.index(other)]


def _mirrored(names, pattern) -> dict[str, str] | None:
    """`{name: the name of the other side}` of the names with a side; None where none has one, or a partner lacks."""
    others = {name: pattern.sub(_other, name) for name in names if pattern.search(name)}
    return others if others and all(other in names for other in others.values()) else None


def _other(found: re.Match) -> str:
    word = found[0]
    other = _OTHER[word.lower()]
    same: Callable[[str], str] = str.upper if word.isupper() else str.title if word.istitle() else str
    return same(other)
