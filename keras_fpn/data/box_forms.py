"""The forms in which programs write boxes, and how each becomes COCO's: x, y, width, height in pixels."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from keras_fpn.console.errors import UserError
from keras_fpn.data.instances import Instances
from keras_fpn.data.objects import entry_name, read_numbers

_MOST = 1.5  # a share of an image may be a little above 1, for a box over the border


@dataclass(frozen=True)
class Form:
    """A form of boxes.

    Attributes:
        numbers: its four, in words.
        corners: from which the first two are corners; "xywh", "xyxy" or "cxcywh".
        is_share: whether they are shares of the image, not pixels.
    """

    numbers: str
    corners: str
    is_share: bool = False

    @property
    def words(self) -> str:
        """Four numbers with their unit, for an error."""
        return f"{self.numbers} {'as shares 0..1 of the image' if self.is_share else 'in pixels'}"


FORMS: Mapping[str, Form] = MappingProxyType(
    {
        "xywh": Form("x, y, width, height", "xywh"),
        "xyxy": Form("x1, y1, x2, y2", "xyxy"),
        "cxcywh": Form("center x, center y, width, height", "cxcywh"),
        "shares": Form("x, y, width, height", "xywh", True),
        "xyxy_shares": Form("x1, y1, x2, y2", "xyxy", True),
        "cxcywh_shares": Form("center x, center y, width, height", "cxcywh", True),
    }
)


def as_xywh(sides: np.ndarray, sizes: np.ndarray, form: str) -> np.ndarray:
    """`[n, 4]` x, y, width, height in pixels.

    Args:
        sides: `[n, 4]`, in the form of this name.
        sizes: `[n, 2]` height and width of the image of each, pixels.
    """
    if FORMS[form].is_share:
        sides = sides * np.tile(sizes[:, ::-1], 2)
    first, second = sides[:, :2], sides[:, 2:]
    if FORMS[form].corners == "xyxy":
        second = second - first
    elif FORMS[form].corners == "cxcywh":
        first = first - second / 2
    return np.concatenate([first, second], 1)


def clipped_corners(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """`[n, 4]` float32 x1, y1, x2, y2 in pixels, clipped to the images; without extent where nothing is inside.

    Args:
        boxes: `[n, 4]` float64 x, y, width, height in pixels; where they are not finite, neither is the result.
        sizes: `[n, 2]` height and width of the image of each, pixels.
    """
    start, extent = boxes[:, :2], boxes[:, 2:]
    with np.errstate(invalid="ignore", over="ignore"):
        corners = np.concatenate([start, start + extent], 1)
        return np.clip(corners, 0, np.tile(sizes[:, ::-1], 2)).astype(np.float32)


def in_pixels(instances: Instances, form: str) -> Instances:
    """The instances with every "bbox" in COCO's form; the images have sound sizes.

    Raises:
        UserError: a box is not four numbers, or most boxes are not in the form of this name.
    """
    if form == "xywh" or not instances.annotations:
        return instances
    items = instances.annotations
    sides = read_numbers(instances.source, items, "bbox", "float64", (4,), wanted=f"four numbers {FORMS[form].words}")
    images = [instances.images[row] for row in instances.rows_of_images().tolist()]
    sizes = np.array([(image["height"], image["width"]) for image in images], np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        boxes = as_xywh(sides, sizes, form)
        wrong = ~(boxes[:, 2:] > 0).all(1) | (FORMS[form].is_share & (np.abs(sides) > _MOST).any(1))
    if wrong.mean() > 0.5:
        first = int(np.argmax(wrong))
        raise UserError(
            f"{instances.source}: {entry_name(items[first], first)} and most others have no"
            f' {FORMS[form].words} as "bbox"; correct data.boxes={form} (from Python boxes="{form}")'
        )
    changed = [with_box(item, box) for item, box in zip(items, boxes.tolist(), strict=True)]
    return dataclasses.replace(instances, annotations=changed)


def with_box(item: dict, box: Sequence[float]) -> dict:
    """The entry with another box, and without an "area" that was reckoned from the numbers of the former."""
    changed, area, whole = {**item, "bbox": box}, item.get("area"), box[2] * box[3]
    if not isinstance(area, int | float) or not 0.01 * whole <= area <= 1.01 * whole + 1:
        changed.pop("area", None)
    return changed
