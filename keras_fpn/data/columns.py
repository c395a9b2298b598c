"""Columns: a row for each object of a data set in one array, of which each image has a view.

TensorFlow shares the memory of such an array, so that 860,000 masks (340 MB) are in memory once. Where the rows of
objects are of different lengths, a column is `Ragged`.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike

if TYPE_CHECKING:
    import tensorflow as tf

_ALIGNMENT = 64  # bytes: TensorFlow only works on memory that begins at a multiple


class Ragged:
    """A column whose rows are arrays of different lengths, one after the other in one array.

    An index gives a row, a slice or an array of numbers or of bools a `Ragged` of these rows; both are views.

    Attributes:
        values: `[total, ...]`, all rows.
        limits: `[n, 2]` int64: row i is `values[limits[i, 0] : limits[i, 1]]`.
    """

    __slots__ = ("limits", "values")

    def __init__(self, values: np.ndarray, limits: np.ndarray):
        self.values, self.limits = values, limits

    @classmethod
    def of(cls, values: np.ndarray, lengths: Sequence[int] | np.ndarray) -> "Ragged":
        """Rows of these lengths, which make up `values`, in memory that TensorFlow can share."""
        memory = aligned(values.shape, values.dtype)
        memory[...] = values
        ends = np.cumsum(np.asarray(lengths, np.int64))
        return cls(memory, np.stack([ends - lengths, ends], axis=1).astype(np.int64))

    @property
    def dtype(self) -> np.dtype:
        """Of the values."""
        return self.values.dtype

    @property
    def shape(self) -> tuple[int | None, ...]:
        """`(n, None, ...)`."""
        return (len(self.limits), None, *self.values.shape[1:])

    def __len__(self) -> int:
        return len(self.limits)

    def __getitem__(self, index: Any) -> Any:
        limits = self.limits[index]
        return self.values[slice(*limits)] if limits.ndim == 1 else Ragged(self.values, limits)


Column = TypeVar("Column", np.ndarray, Ragged)


def aligned(shape: Sequence[int] | np.ndarray, dtype: DTypeLike) -> np.ndarray:
    """An array without content that TensorFlow can share."""
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    memory = np.empty(size + _ALIGNMENT, np.uint8)
    start = _aligned_start(memory)
    return memory[start : start + size].view(dtype).reshape(shape)


def split(column: Column, owners: np.ndarray, count: int) -> list[Column]:
    """The rows `[n, ...]` of each of `count` owners, in their order, views of one array; `owners` `[n]` int64."""
    order = np.argsort(owners, kind="stable")
    starts = np.cumsum(np.bincount(owners, minlength=count))[:-1]
    if isinstance(column, Ragged):
        return _split_ragged(column, order, starts)
    together = aligned(column.shape, column.dtype)
    np.take(column, order, axis=0, out=together, mode="clip")  # "raise" would make a copy first
    return np.split(together, starts)


def _split_ragged(column, order, starts):
    return [Ragged(column.values, limits) for limits in np.split(column.limits[order], starts)]


def join(parts: Sequence[Column]) -> tuple[Column, np.ndarray]:
    """One column that holds the rows of all `parts`: the array that they are views of, or else a new one.

    Returns:
        `(column [n, ...], limits [len(parts), 2] int64: the rows of part i are column[limits[i, 0] : limits[i, 1]])`.
    """
    if isinstance(parts[0], Ragged):
        return _joined_ragged(parts)
    return _joined_views(parts) or _joined_copies(parts)


def _joined_ragged(parts):
    """See `join`; the values of each source are taken over whole, in whatever order its rows are."""
    memories = {id(part.values): part.values for part in parts}
    ends = np.cumsum([len(part) for part in parts])
    limits = np.stack([ends - [len(part) for part in parts], ends], axis=1)
    if len(memories) == 1:
        return Ragged(parts[0].values, np.concatenate([part.limits for part in parts])), limits
    values, places = _joined_copies(list(memories.values()))
    offsets = dict(zip(memories, places[:, 0], strict=True))
    return Ragged(values, np.concatenate([part.limits + offsets[id(part.values)] for part in parts])), limits


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


def reader(column: Column) -> "Callable[[tf.Tensor, tf.Tensor], tf.Tensor | tf.RaggedTensor]":
    """Function that gives the rows from a first to before a last one of a column, in TensorFlow operations."""
    import tensorflow as tf

    if not isinstance(column, Ragged):
        tensor = as_tensor(column)
        return lambda first, last: tensor[first:last]
    values, limits = as_tensor(column.values), tf.constant(column.limits)

    def read(first, last):
        places = tf.ragged.range(limits[first:last, 0], limits[first:last, 1])
        return places.with_flat_values(tf.gather(values, places.flat_values))

    return read


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
