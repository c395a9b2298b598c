"""Tensors that still lie in their file: shape and type are known, the numbers are read when asked for.

Everything here is told by a file that may be hostile, so every size is checked before it is used:
against the bytes that are there, never against what the file says of itself.
"""

import dataclasses
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from keras_fpn.console.errors import UserError

# numpy has no bfloat16; its sixteen bits travel under a name of their own.
BFLOAT16 = np.dtype([("bfloat16", "<u2")])
# Far above any tensor, far below where products of sizes get slow.
LARGEST_SIZE = 2**48
MOST_AXES = 32


@dataclasses.dataclass
class StoredTensor:
    """Facts of a tensor in a file, and `read()`, which gives its array without copying where it can."""

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[], np.ndarray]

    @property
    def converted_bytes(self) -> int:
        """Size of `as_numbers` of it."""
        itemsize = 4 if self.dtype.kind in "fV" else self.dtype.itemsize
        return math.prod(self.shape) * itemsize


@dataclasses.dataclass
class Memory:
    """The storages of a torch file: what the pickle declares of them, then the bytes, filled in by the reader.

    `declared`: `{key: (dtype, number of elements)}`; `raw`: `{key: uint8 array}`; `byteorder` "<" or ">".
    """

    declared: dict = dataclasses.field(default_factory=dict)
    raw: dict = dataclasses.field(default_factory=dict)
    byteorder: str = "<"

    def fill(self, key: str, raw: Any) -> None:
        """Gives storage `key` its bytes, which must be as many as were declared."""
        dtype, count = self.declared[key]
        if len(raw) != count * dtype.itemsize:
            raise ValueError(f"storage {shown(key)} has {len(raw)} bytes, not {count} x {dtype.itemsize}")
        self.raw[key] = raw


@dataclasses.dataclass(frozen=True)
class Storage:
    """`count` elements of `dtype` from element `start` of the storage `key`: what torch's tensors look into."""

    memory: Memory
    key: str
    dtype: np.dtype
    start: int
    count: int

    def tensor(self, offset: Any, shape: Any, strides: Any) -> "StoredTensor":
        """The tensor over these elements; `offset` and `strides` in elements.

        A view may not reach beyond the storage, and may not show more elements than there are:
        strides of zero would turn four bytes into terabytes.
        """
        shape, strides = sizes(shape), sizes(strides)
        (offset,) = sizes((offset,))
        if len(shape) != len(strides):
            raise ValueError("a tensor has not as many strides as sizes")
        last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
        if 0 not in shape and (last >= self.count or math.prod(shape) > self.count):
            raise ValueError(f"a tensor of shape {shape} shows more than the {self.count} elements of its storage")
        return StoredTensor(shape, self.dtype, lambda: self._strided(offset, shape, strides))

    def _strided(self, offset, shape, strides):
        if 0 in shape:
            return np.empty(shape, self.dtype)
        dtype = self.dtype.newbyteorder(self.memory.byteorder)
        start, steps = (self.start + offset) * dtype.itemsize, [stride * dtype.itemsize for stride in strides]
        return np.ndarray(shape, dtype, self.memory.raw[self.key], start, steps)


def sizes(values: Any) -> tuple[int, ...]:
    """A tuple or list of sizes as a tuple, each an int from 0 to `LARGEST_SIZE`; ValueError otherwise."""
    if not isinstance(values, tuple | list) or len(values) > MOST_AXES:
        raise ValueError("a shape is no tuple of sizes")
    if not all(type(value) is int and 0 <= value <= LARGEST_SIZE for value in values):
        raise ValueError("a size is no whole number in range")
    return tuple(values)


def numeric_type(code: Any) -> np.dtype:
    """`np.dtype` of a numpy type string such as "<f4"; UserError for objects, ValueError for other than numbers."""
    if isinstance(code, str) and "O" in code:
        raise UserError("holds an array of Python objects, which is no tensor; save plain numeric arrays")
    if not isinstance(code, str) or not re.fullmatch(r"[<>=|]?(f[248]|[iu][1248]|b1|\?)", code):
        raise UserError(f"holds an array of type {shown(code)}, which is no tensor; save plain numeric arrays")
    return np.dtype(code)


def as_numbers(array: np.ndarray) -> np.ndarray:
    """A contiguous copy: floats of any width as float32, integers and booleans as they are.

    bfloat16 is the upper half of a float32, so its bits need only be moved up.
    A float64 beyond float32's range becomes infinite.
    """
    if array.dtype.names == BFLOAT16.names:
        bits = array["bfloat16"].astype(np.uint32, order="C")
        bits <<= 16
        return bits.view(np.float32)
    if array.dtype.kind == "f":
        with np.errstate(over="ignore", invalid="ignore"):
            return array.astype(np.float32, order="C")
    if array.dtype.kind == "b":  # a byte other than 0 and 1 counts as true
        return np.asarray(array.view(np.uint8) != 0, order="C")
    return array.astype(array.dtype.newbyteorder("="), order="C")


def shown(value: Any) -> str:
    """Something of a file's for a message: one line, short, nothing that a terminal would obey."""
    text = value if isinstance(value, str) else type(value).__name__
    text = "".join(letter if letter.isprintable() else "?" for letter in text[:80])
    return text + ("..." if isinstance(value, str) and len(value) > 80 else "")
