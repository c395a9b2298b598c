"""Images read when their turn comes, some at a time; one that cannot be read stops the others, or is left out."""

import dataclasses
import math
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import TypeVar

import numpy as np

from keras_fpn.console.errors import UserError
from keras_fpn.console.picture_files import MAX_PIXELS
from keras_fpn.inference.images import read_image

Unreadable = Callable[[int, UserError], None]
T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Read:
    """An image: its place among all, its pixels `[H, W, 3]` uint8, and the path or None."""

    index: int
    pixels: np.ndarray
    file_name: str | None


def read_batches(
    images: Iterable,
    batch_size: int,
    padded_size: Callable[[int, int], Hashable],
    max_pixels: int = MAX_PIXELS,
    unreadable: Unreadable | None = None,
) -> Iterator[list[Read]]:
    """Yield up to `batch_size` images of one padded size at a time: padding beyond an image's own changes its answer.

    Args:
        padded_size: what an image of a height and a width fills, padded.
        unreadable: called with the place of an image that cannot be read and the error; without it, that is raised.

    Raises:
        UserError: see `read_image`.
    """
    read = _read_all(images, max_pixels, unreadable)
    return in_batches(read, batch_size, lambda one: padded_size(*one.pixels.shape[:2]))


def in_batches(items: Iterable[T], batch_size: int, size_of: Callable[[T], Hashable]) -> Iterator[list[T]]:
    """Yield up to `batch_size` items of one size at a time; of all sizes at most twice as many wait for a batch."""
    waiting: dict[Hashable, list[T]] = {}
    for item in items:
        size = size_of(item)
        waiting.setdefault(size, []).append(item)
        if len(waiting[size]) == batch_size:
            yield waiting.pop(size)
        elif sum(map(len, waiting.values())) == 2 * batch_size:
            yield waiting.pop(max(waiting, key=lambda each: len(waiting[each])))
    yield from waiting.values()


def _read_all(images, max_pixels, unreadable):
    for index, image in enumerate(images):
        try:
            yield Read(index, *read_image(image, max_pixels))
        except UserError as error:
            if unreadable is None:
                raise
            unreadable(index, error)


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
