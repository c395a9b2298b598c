"""Images read when their turn comes, some at a time; one that cannot be read stops the others, or is left out."""

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from keras_fpn.console.errors import UserError
from keras_fpn.console.picture_files import MAX_PIXELS
from keras_fpn.inference.images import read_image

Unreadable = Callable[[int, UserError], None]


@dataclasses.dataclass(frozen=True)
class Read:
    """An image: its place among all, its pixels `[H, W, 3]` uint8, and the path or None."""

    index: int
    pixels: np.ndarray
    file_name: str | None


def read_batches(
    images: Iterable, batch_size: int, max_pixels: int = MAX_PIXELS, unreadable: Unreadable | None = None
) -> Iterator[list[Read]]:
    """Yield up to `batch_size` images at a time.

    Args:
        unreadable: called with the place of an image that cannot be read and the error; without it, that is raised.

    Raises:
        UserError: see `read_image`.
    """
    batch: list[Read] = []
    for index, image in enumerate(images):
        try:
            batch.append(Read(index, *read_image(image, max_pixels)))
        except UserError as error:
            if unreadable is None:
                raise
            unreadable(index, error)
        if len(batch) == batch_size:
            yield batch
            batch = []
    if batch:
        yield batch


def check_options(threshold: float, batch_size: int, max_pixels: int) -> None:
    """Refuse values that no image would be treated by.

    Raises:
        UserError: the threshold is no number, or one of the others no whole number above 0.
    """
    if isinstance(threshold, bool) or not isinstance(threshold, (int, float, np.number)) or math.isnan(threshold):
        raise UserError(f"threshold: {threshold!r} is no number; give the least score, from 0 to 1")
    for name, value in (("batch_size", batch_size), ("max_pixels", max_pixels)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise UserError(f"{name}: {value!r} is no whole number above 0")
