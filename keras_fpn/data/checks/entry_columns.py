"""Values of the entries of an annotation file as columns, with a word on those that are none.

Nothing is refused here, and what is as it should be costs no Python step an entry.
"""

from collections.abc import Hashable, Mapping, Sequence
from itertools import chain, count, repeat
from typing import Any

import numpy as np

from keras_fpn.data.entry_values import as_plain_crowd, as_whole
from keras_fpn.data.objects import is_number

_MISSING = ("missing",)  # equal to no value of a file


def keys(values: Sequence[Any]) -> list[Hashable]:
    """Ids as things that can be looked up: whole numbers where they are some in any form; see `as_whole`."""
    if set(map(type, values)) <= {int}:
        return list(values)
    return [_key(value) for value in values]


def _key(value):
    if isinstance(value, bool) or value is None:
        return _MISSING
    whole = as_whole(value)
    try:
        hash(whole)
    except TypeError:
        return _MISSING
    return whole


def places(wanted: Sequence[Hashable], known: Sequence[Hashable]) -> np.ndarray:
    """`[n]` int64: where each wanted key is first among those known, -1 where it is not."""
    place_of = {key: place for place, key in reversed(list(enumerate(known))) if key is not _MISSING}
    return np.fromiter(map(place_of.get, wanted, repeat(-1)), np.int64, len(wanted))


def are_whole(found: Sequence[Hashable]) -> np.ndarray:
    """`[n]` bool: which keys are whole numbers of 64 bits."""
    if set(map(type, found)) <= {int}:
        try:
            np.array(found, np.int64)
            return np.ones(len(found), bool)
        except OverflowError:
            pass
    return np.array([isinstance(key, int) and abs(key) < 2**63 for key in found], bool)


def later_ones(found: Sequence[Hashable]) -> np.ndarray:
    """`[n]` bool: which keys stood there before; a missing one is no second."""
    if len(set(found)) == len(found):
        return np.zeros(len(found), bool)
    first = places(found, found)
    return (first >= 0) & (first != np.arange(len(found)))


def numbers(entries: Sequence[Mapping[str, Any]], key: str) -> np.ndarray:
    """`[n]` float64, NaN where an entry has no number under a key."""
    values = [entry.get(key) for entry in entries]
    if not set(map(type, values)) <= {int, float}:
        values = [value if is_number(value) else np.nan for value in values]
    return _as_float(values)


def four_numbers(values: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Boxes `[n, 4]` float64, zeros where there are no four numbers, and where there are, `[n]` bool."""
    is_box = _are_rows(values)
    rows = values if is_box.all() else [value for value, has in zip(values, is_box, strict=True) if has]
    boxes = np.zeros((len(values), 4))
    boxes[is_box] = _as_float(list(chain.from_iterable(rows))).reshape(-1, 4)
    return boxes, is_box


def _are_rows(values) -> np.ndarray:
    """`[n]` bool: which are lists of four numbers."""
    if set(map(type, values)) <= {list, tuple} and set(map(len, values)) <= {4}:
        if set(map(type, chain.from_iterable(values))) <= {int, float}:
            return np.ones(len(values), bool)
    return np.array([_is_row(value) for value in values], bool)


def _is_row(value):
    return isinstance(value, list | tuple) and len(value) == 4 and all(map(is_number, value))


def _as_float(values) -> np.ndarray:
    try:
        return np.array(values, np.float64)
    except OverflowError:  # JSON has whole numbers of any length
        return np.array([value if abs(value) < 1e300 else np.inf for value in values], np.float64)


def crowds(entries: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """`[n]` int8: "iscrowd", 0 where there is none, -1 where it is neither 0 nor 1 in any form."""
    values = [entry.get("iscrowd", 0) for entry in entries]
    if set(map(type, values)) <= {int} and set(values) <= {0, 1}:
        return np.array(values, np.int8)
    plain = [as_plain_crowd(value) for value in values]
    return np.array([-1 if value is None else value for value in plain], np.int8)


def new_ids(found: Sequence[Hashable], is_kept: np.ndarray) -> list[int]:
    """A whole number for each key: those that are kept, which are some, and for others the next above these."""
    taken = [key for key, kept in zip(found, is_kept.tolist(), strict=True) if kept and isinstance(key, int)]
    following = count(max([0, *taken]) + 1)
    pairs = zip(found, is_kept.tolist(), strict=True)
    return [key if kept and isinstance(key, int) else next(following) for key, kept in pairs]
