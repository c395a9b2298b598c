"""Boxes of TFDS in pixels."""

import numpy as np

from keras_fpn.data.tfds.known import Known

_ORDER = {"YXYX": (1, 0, 3, 2), "XYXY": (0, 1, 2, 3), "XYWH": (0, 1, 2, 3)}  # where x, y and x, y or sizes are
_HUNDREDTHS = 2


def boxes_in_pixels(boxes: np.ndarray, form: str, known: Known, height: int, width: int) -> np.ndarray:
    """The boxes of an image as x, y, width, height in pixels.

    TFDS keeps shares of the image as float32. A number that these cannot tell from a hundredth of a pixel is that
    hundredth, as COCO and most others write them.

    Args:
        boxes: `[n, 4]` float32.
        form: one of `keys.BOX_FORMS`.
        known: how the data set means them.
        height, width: of the image, pixels.

    Returns:
        `[n, 4]` float64.
    """
    sides = np.array([width, height, width, height], np.float64)
    numbers = np.asarray(boxes, np.float64).reshape(-1, 4)[:, _ORDER[form.removeprefix("REL_")]]
    if form.startswith("REL_"):
        numbers = numbers * sides
    if form == "XYWH":
        numbers[:, 2:] += numbers[:, :2]
    if known.is_upside_down:
        numbers[:, [1, 3]] = height - numbers[:, [3, 1]]
    corners = _told_apart(numbers, sides)
    corners[:, :2] -= known.first_pixel
    return np.concatenate([corners[:, :2], _told_apart(corners[:, 2:] - corners[:, :2], sides[2:])], axis=1)


def _told_apart(numbers, sides):
    """The numbers, or the hundredths that float32 shares of these sides cannot tell them from."""
    rounded = np.round(numbers, _HUNDREDTHS)
    return np.where(np.abs(rounded - numbers) <= sides * 2.0**-23, rounded, numbers)
