"""Keypoints as the categories of a data set have them: their names, the pairs that a skeleton joins, their sigmas."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keras_fpn.console.errors import UserError
from keras_fpn.console.naming import nearest
from keras_fpn.data.objects import is_finite, is_number, is_whole, short


@dataclass(frozen=True)
class KeypointList:
    """The K keypoints of a data set, which all its categories with keypoints share.

    Attributes:
        names: K.
        skeleton: pairs of keypoints that pictures join, counted from 0, of all categories together.
        of_classes: for each category the keypoints that it may have, ascending: those that its skeleton joins, all K
            where it has none; no keypoints of a category without "keypoints".
        sigmas: K numbers of pycocotools' object keypoint similarity; None where no category says them.
        skeletons: of each category its own; None where all that have keypoints have the same.
        flips: pairs of names that swap when an image is mirrored; None where no category says them.
    """

    names: tuple[str, ...]
    skeleton: tuple[tuple[int, int], ...]
    of_classes: tuple[tuple[int, ...], ...]
    sigmas: tuple[float, ...] | None = None
    skeletons: tuple[tuple[tuple[int, int], ...], ...] | None = None
    flips: tuple[tuple[str, str], ...] | None = None


def keypoint_list(categories: Sequence[Mapping[str, Any]], source: str) -> KeypointList:
    """Read "keypoints", "skeleton" (COCO's: pairs counted from 1), and two keys that COCO has not.

    They are "sigmas" (a number, or one for each keypoint) and "keypoint_flips" (pairs of names that change places when
    an image is mirrored).

    Args:
        categories: entries of "categories", in the order of the classes.
        source: the annotations, for errors.

    Raises:
        UserError: no category has keypoints, two of them have different ones, or what one says cannot be used.
    """
    chosen = [category for category in categories if category.get("keypoints")]
    if not chosen:
        raise UserError(
            f'{source}: no category has "keypoints", the names of what is labelled of its objects; add them to'
            ' "categories"'
        )
    names = _names(chosen[0], source)
    for category in chosen:
        if category["keypoints"] != chosen[0]["keypoints"]:
            first, other = (_title(each) for each in (chosen[0], category))
            raise UserError(
                f'{source}: {first} and {other} have different "keypoints"; give both one list of all names:'
                " what an object has not is 0, 0, 0 in it"
            )
    skeletons = [_skeleton(each, names, source) if each.get("keypoints") else () for each in categories]
    joined = dict.fromkeys(pair for skeleton in skeletons for pair in skeleton)
    different = {frozenset(own) for own, each in zip(skeletons, categories, strict=True) if each.get("keypoints")}
    return KeypointList(
        names=names,
        skeleton=tuple(joined),
        of_classes=tuple(
            _points(skeleton, len(names)) if each.get("keypoints") else ()
            for each, skeleton in zip(categories, skeletons, strict=True)
        ),
        sigmas=_sigmas(chosen, len(names), source),
        skeletons=tuple(skeletons) if len(different) > 1 else None,
        flips=_flips(chosen, names, source),
    )


def checked_sigmas(value: Any, number: int, where: str) -> tuple[float, ...]:
    """`number` sigmas from one for all of them or a list.

    Raises:
        UserError: they are others than so many numbers above 0; it starts with `where`.
    """
    values = [value] * number if is_number(value) else value
    if not isinstance(values, list | tuple) or len(values) != number or not all(map(_is_positive, values)):
        raise UserError(f"{where}: {short(value)}; give a number above 0, or one for each of the {number} keypoints")
    return tuple(float(each) for each in values)


def _is_positive(value):
    return is_finite(value) and value > 0


def flip_order(
    names: Sequence[str], pairs: Sequence[Sequence[str]], where: str = "data.keypoint_flips"
) -> tuple[int, ...]:
    """The keypoint that each one is where an image is mirrored, from the pairs of names that swap.

    Raises:
        UserError: a name is none of theirs, or is given twice; it starts with `where`.
    """
    order = list(range(len(names)))
    given = [name for pair in pairs for name in pair]
    for name in given:
        if name not in names:
            raise UserError(f"{where}: there is no keypoint {short(name)}{nearest(name, names)}")
        if given.count(name) > 1:
            raise UserError(f"{where}: {short(name)} is given twice; a keypoint swaps with one other")
    for one, other in pairs:
        here, there = names.index(one), names.index(other)
        order[here], order[there] = there, here
    return tuple(order)


def _names(category, source) -> tuple[str, ...]:
    names = category["keypoints"]
    is_list = isinstance(names, list) and all(isinstance(name, str) and name for name in names)
    if not is_list or len(set(names)) < len(names):
        raise UserError(f'{source}: {_title(category)} has "keypoints" {short(names)}; write a list of unlike names')
    return tuple(names)


def _skeleton(category, names, source) -> tuple[tuple[int, int], ...]:
    pairs = category.get("skeleton") or []
    is_list = isinstance(pairs, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in pairs)
    if not is_list or not all(is_whole(end) and 1 <= end <= len(names) for pair in pairs for end in pair):
        raise UserError(
            f'{source}: {_title(category)} has "skeleton" {short(pairs)}; write pairs of its {len(names)} keypoints,'
            " counted from 1"
        )
    return tuple((int(one) - 1, int(other) - 1) for one, other in pairs)


def _points(skeleton, number) -> tuple[int, ...]:
    return tuple(sorted({end for pair in skeleton for end in pair})) or tuple(range(number))


def _sigmas(categories, number, source) -> tuple[float, ...] | None:
    said = {
        _title(each): checked_sigmas(each["sigmas"], number, f'{source}: {_title(each)} has "sigmas"')
        for each in categories
        if each.get("sigmas") is not None
    }
    if len(set(said.values())) > 1:
        raise UserError(f'{source}: {" and ".join(said)} have different "sigmas"; pycocotools takes one list for all')
    return next(iter(said.values()), None)


def _flips(categories, names, source) -> tuple[tuple[str, str], ...] | None:
    said = {}
    for each in categories:
        pairs = each.get("keypoint_flips")
        if pairs is None:
            continue
        where = f'{source}: {_title(each)} has "keypoint_flips"'
        if not isinstance(pairs, list) or not all(_is_pair(pair) for pair in pairs):
            raise UserError(f"{where} {short(pairs)}; write pairs of names, [] where none swaps")
        flip_order(names, pairs, where)
        said[_title(each)] = tuple((one, other) for one, other in pairs)
    if len({frozenset(map(frozenset, pairs)) for pairs in said.values()}) > 1:
        raise UserError(f'{source}: {" and ".join(said)} have different "keypoint_flips"; give both the same')
    return next(iter(said.values()), None)


def _is_pair(pair):
    return isinstance(pair, list) and len(pair) == 2 and all(isinstance(name, str) for name in pair)


def _title(category):
    return f"category {category.get('id')} ({category.get('name')!r})"
