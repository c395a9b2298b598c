"""Keypoints: lists of categories that cannot be used, annotations that contradict them, places far off."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from keras_fpn.console.errors import UserError
from keras_fpn.data import keypoint_entries
from keras_fpn.data.checks.finding import NOTE, WARNING, Finding, register_kind
from keras_fpn.data.checks.half_table import HalfTable
from keras_fpn.data.checks.subject import Check, Subject
from keras_fpn.data.keypoint_lists import KeypointList, keypoint_list
from keras_fpn.data.objects import short

_ROOM = 1.0  # pixels beyond a border that rounding explains


def _kind(name, severity, noun, what, mend):
    return register_kind(name, severity, noun, what, mend, __name__)


LIST = _kind(
    "keypoint_list_unusable", WARNING, "file", 'whose categories\' "keypoints" cannot be used',
    "correct them; boxes alone are learnt without",
)  # fmt: skip
UNUSABLE = _kind(
    "keypoints_unusable", WARNING, "annotation", "whose keypoints cannot be used",
    "correct them, x, y, v of each keypoint of the category; boxes alone are learnt without",
)  # fmt: skip
OUTSIDE = _kind(
    "keypoint_outside_image", WARNING, "annotation", "with keypoints outside the image",
    "correct them: they are not learnt",
)  # fmt: skip
OFF_BOX = _kind(
    "keypoint_off_box", NOTE, "annotation", "with keypoints outside their box",
    "nothing, if the object reaches so far: they are learnt in the proposals that hold them",
)  # fmt: skip
DIFFERENT = _kind(
    "keypoints_differ", WARNING, "half", "with other keypoints than training has", "give both one list, in one order"
)


def check_keypoints(subject: Subject) -> Iterator[Finding]:
    """Lists and annotations that cannot be used, and keypoints that lie elsewhere than their objects."""
    table = subject.table
    has_some = np.array([bool(entry.get("keypoints")) for entry in table.annotations], bool)
    if not (has_some.any() or any(category.get("keypoints") for category in table.categories)):
        return
    try:
        known = keypoint_list(table.categories, table.source)
    except UserError as error:
        yield from table.find_whole(LIST, str(error).removeprefix(f"{table.source}: "))
        return
    places = np.full((len(table.annotations), len(known.names), 3), np.nan)
    problems: dict[int, str] = {}
    for index in np.flatnonzero(has_some & table.is_sound).tolist():
        places[index], problem = _read(table, index, known)
        problems |= {index: problem} if problem else {}
    is_unusable = np.zeros(len(places), bool)
    is_unusable[list(problems)] = True
    yield from table.find_objects(UNUSABLE, is_unusable, lambda index: problems[index])
    places[is_unusable] = np.nan
    yield from _elsewhere(table, places, known)


def _read(table: HalfTable, index: int, known: KeypointList) -> tuple[Any, str | None]:
    """(places `[K, 3]` of an annotation, what is wrong with them)."""
    entry = table.annotations[index]
    own = keypoint_entries.places_of(entry, len(known.names))
    if own is None:
        return np.nan, keypoint_entries.not_numbers(entry, len(known.names))
    has_keypoints = bool(known.of_classes[int(table.classes[index])])
    return own, keypoint_entries.what_is_wrong(own, entry, has_keypoints)


def _elsewhere(table: HalfTable, places: np.ndarray, known: KeypointList) -> Iterator[Finding]:
    with np.errstate(invalid="ignore", over="ignore"):
        points, is_labelled = places[..., :2], places[..., 2] > 0
        sizes, corners = table.of_objects[:, None, ::-1], table.corners[:, None]
        is_out = is_labelled & ((points < 0) | (points > sizes)).any(-1)
        is_off = ((points < corners[..., :2] - _ROOM) | (points > corners[..., 2:] + _ROOM)).any(-1)
        is_off &= is_labelled & ~is_out

    def names(of):
        return lambda index: ", ".join(known.names[number] for number in np.flatnonzero(of[index]).tolist())

    for kind, of in ((OUTSIDE, is_out), (OFF_BOX, is_off)):
        yield from table.find_objects(kind, np.asarray(of.any(1), bool), names(of))


def check_lists(subjects: Sequence[Subject]) -> Iterator[Finding]:
    """Halves whose list of keypoints is not that of the training half."""
    first, *others = [_names(subject.table) for subject in subjects]
    for subject, names in zip(subjects[1:], others, strict=True):
        if first and names and names != first:
            yield from subject.table.find_whole(DIFFERENT, f"{short(names)}, not {short(first)}")


def _names(table: HalfTable) -> tuple[str, ...]:
    """The keypoints of a half, none where it has no list that can be used."""
    try:
        return keypoint_list(table.categories, table.source).names
    except UserError:
        return ()


CHECKS = (Check("keypoints", of_half=check_keypoints), Check("lists of keypoints", of_all=check_lists))
