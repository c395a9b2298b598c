"""The "keypoints" of an annotation, x, y, v of each of K, and what can be wrong with them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_fpn.data.objects import is_number, short


def places_of(entry: Mapping[str, Any], number: int) -> np.ndarray | None:
    """`[K, 3]` float64 x, y, v; zeros of an annotation that says none, None where there are no 3K numbers.

    Args:
        entry: the annotation.
        number: K.
    """
    given = entry.get("keypoints") or [0] * (3 * number)
    if not isinstance(given, list) or len(given) != 3 * number or not all(map(is_number, given)):
        return None
    try:
        return np.array(given, np.float64).reshape(number, 3)
    except OverflowError:  # JSON has whole numbers of any length
        return None


def number_labelled(entry: Mapping[str, Any]) -> Any:
    """The "num_keypoints" of an annotation, whatever it is; where it says none, how many it labels."""
    given = entry.get("num_keypoints")
    return sum(v > 0 for v in (entry.get("keypoints") or ())[2::3]) if given is None else given


def not_numbers(entry: Mapping[str, Any], number: int) -> str:
    """Words on what is wrong where `places_of` gives None; they follow the annotation."""
    return f'"keypoints" {short(entry["keypoints"])} are not {3 * number} numbers'


def what_is_wrong(places: np.ndarray, entry: Mapping[str, Any], has_keypoints: bool = True) -> str | None:
    """The fault in the keypoints of an object, in words that follow the annotation; None where there is none.

    Args:
        places: `[K, 3]` of `places_of`.
        entry: the annotation.
        has_keypoints: whether its category has "keypoints".
    """
    if not np.isfinite(places).all():
        return 'its "keypoints" are not finite'
    odd = next((v for v in places[:, 2].tolist() if v not in (0, 1, 2)), None)
    if odd is not None:
        return f'its "keypoints" have the visibility {odd:g}, which is 0 (not labelled), 1 (hidden) or 2 (visible)'
    labelled = int((places[:, 2] > 0).sum())
    if number_labelled(entry) != labelled:
        return f'its "num_keypoints" is {short(entry["num_keypoints"])}, and {labelled} of its "keypoints" are labelled'
    if labelled and not has_keypoints:
        return 'it has "keypoints", and its category says none'
    return None
