"""Columns: a row for each object of a data set in one array, of which each image has a view.

TensorFlow shares the memory of such an array, so that 860,000 masks (340 MB) are in memory once.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import DTypeLike

if TYPE_CHECKING:
    import tensorflow as tf

_ALIGNMENT = 64  # bytes: TensorFlow only works on memory that begins at a multiple


def aligned(shape: Sequence[int] | np.ndarray, dtype: DTypeLike) -> np.ndarray:
    """An array without content that TensorFlow can share."""
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    memory = np.empty(size + _ALIGNMENT, np.uint8)
    start = _aligned_start(memory)
    return memory[start : start + size].view(dtype).reshape(shape)


def split(column: np.ndarray, owners: np.ndarray, count: int) -> list[np.ndarray]:
    """The rows `[n, ...]` of each of `count` owners, in their order, views of one array; `owners` `[n]` int64."""
    order = np.argsort(owners, kind="stable")
    together = aligned(column.shape, column.dtype)
    np.take(column, order, axis=0, out=together, mode="clip")  # "raise" would make a copy first
    return np.split(together, np.cumsum(np.bincount(owners, minlength=count))[:-1])


def join(parts: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """One array that holds the rows of all `parts`: the one that they are views of, or else a new one.

    Returns:
        `(array [n, ...], limits [len(parts), 2] int64: the rows of part i are array[limits[i, 0] : limits[i, 1]])`.
    """
    return _joined_views(parts) or _joined_copies(parts)


def _joined_copies(parts):
    ends = np.cumsum([len(part) for part in parts])
    total = sum(len(part) for part in parts)
    array = np.concatenate(parts, out=aligned((total, *parts[0].shape[1:]), parts[0].dtype))
    return array, np.stack([ends - [len(part) for part in parts], ends], axis=1)


def _joined_views(parts):
    """See `join`; None where the parts are no views of one array that `split` made."""
    first = next((part for part in parts if part.size), None)
    memory = None if first is None else first.base
    if not isinstance(memory, np.ndarray) or memory.dtype != np.uint8 or memory.ndim != 1:
        return None
    if not all(part.base is memory and part.flags.c_contiguous for part in parts if part.size):
        return None
    row, offset = first[0].nbytes, _aligned_start(memory)
    starts = np.array([_address(part) if part.size else 0 for part in parts]) - (_address(memory) + offset)
    lengths = np.array([len(part) for part in parts])
    if (starts[lengths > 0] % row).any() or (starts[lengths > 0] < 0).any():
        return None
    starts = np.where(lengths > 0, starts // row, 0)
    limits = np.stack([starts, starts + lengths], axis=1)
    total = int(limits.max())
    array = memory[offset : offset + total * row].view(first.dtype).reshape(total, *first.shape[1:])
    return array, limits


def as_tensor(array: np.ndarray) -> "tf.Tensor":
    """A tensor on an `aligned` array's own memory; of another array a copy."""
    import tensorflow as tf

    if array.size and array.flags.c_contiguous and array.flags.writeable and not _address(array) % _ALIGNMENT:
        return tf.experimental.dlpack.from_dlpack(array.__dlpack__())
    return tf.constant(array)


def _aligned_start(memory) -> int:
    return -_address(memory) % _ALIGNMENT


def _address(array) -> int:
    return array.__array_interface__["data"][0]
