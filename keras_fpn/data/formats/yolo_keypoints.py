"""Keypoints that a data.yaml describes: kpt_shape, kpt_names and flip_idx as a category of COCO says them."""

from pathlib import Path
from typing import Any

from keras_fpn.console.errors import UserError
from keras_fpn.data import coco_keypoints
from keras_fpn.data.keypoint_lists import flip_order
from keras_fpn.data.keypoint_sides import swapping_pairs
from keras_fpn.data.objects import is_whole, short


def shape_of(source: Path, content: dict) -> tuple[int, int] | None:
    """How many keypoints an object has, and of how many numbers each; None if none has any.

    Raises:
        UserError: kpt_shape says something else.
    """
    shape = content.get("kpt_shape")
    if shape is None:
        return None
    is_shape = isinstance(shape, list) and len(shape) == 2 and all(map(is_whole, shape))
    if not is_shape or shape[0] < 1 or shape[1] not in (2, 3):
        raise UserError(f"{source}: kpt_shape is {short(shape)}; write [key points, 2 or 3]")
    return shape[0], shape[1]


def category_keys(source: Path, content: dict, labels: list[int]) -> dict[int, dict[str, Any]]:
    """`{number of a class: keys of its category}`: "keypoints", "keypoint_flips", "skeleton", as far as they are known.

    Names are those of kpt_names; without, COCO's of 17 that flip_idx swaps as COCO's swap, and else kp1, kp2 and so on.

    Args:
        source: the file.
        content: of it.
        labels: numbers of the classes.

    Raises:
        UserError: kpt_names or flip_idx do not fit kpt_shape.
    """
    shape = shape_of(source, content)
    if shape is None:
        return {}
    order = _order(source, content.get("flip_idx"), shape[0])
    swaps_as_coco = order == flip_order(coco_keypoints.NAMES, swapping_pairs(coco_keypoints.NAMES) or ())
    keys = {}
    for label in labels:
        names = _names(source, content.get("kpt_names"), label, shape[0])
        is_coco = names is None and swaps_as_coco
        if names is None:
            names = list(coco_keypoints.NAMES) if is_coco else [f"kp{number}" for number in range(1, shape[0] + 1)]
        own: dict[str, Any] = {"keypoints": names}
        if is_coco:
            own["skeleton"] = [[one + 1, other + 1] for one, other in coco_keypoints.SKELETON]
        if order is not None:
            swapped = [(here, there) for here, there in enumerate(order) if here < there]
            own["keypoint_flips"] = [[names[here], names[there]] for here, there in swapped]
        keys[label] = own
    return keys


def _order(source, order, number) -> tuple[int, ...] | None:
    if order is None:
        return None
    is_order = isinstance(order, list) and all(map(is_whole, order)) and sorted(order) == list(range(number))
    if not is_order or any(order[order[place]] != place for place in range(number)):
        raise UserError(
            f"{source}: flip_idx is {short(order)}; write for each of the {number} key points the number, from 0, of"
            " the one that it changes places with"
        )
    return tuple(order)


def _names(source, given, label, number) -> list[str] | None:
    own = given.get(label) if isinstance(given, dict) else given
    if own is None:
        return None
    if not isinstance(own, list) or len(own) != number or not all(isinstance(name, str) and name for name in own):
        raise UserError(f"{source}: kpt_names has {short(own)} for class {label}; write the {number} names")
    return own
