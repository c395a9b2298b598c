"""Pickles read as data: nothing that a pickle names is imported, nothing that it asks for is called.

A global of the file is looked up in `KNOWN` and nowhere else: it stands for a function of this module, a type of
numbers or nothing at all. A stream can make None, numbers, text, bytes, tuples, lists, dicts and what `KNOWN` makes.

The reader is the standard library's Unpickler in its Python form, whose instructions can be replaced one by one. Its
form in C cannot be held back: it hashes a tuple in a tuple in a tuple ... as the key of a dict until the process has
no stack left, and takes gigabytes for the number of one memo.
"""

import dataclasses
import io
import math
import pickle
from typing import Any, BinaryIO

import numpy as np

from keras_fpn.checkpoints.tensors import (
    BFLOAT16,
    LARGEST_SIZE,
    Memory,
    Storage,
    StoredTensor,
    numeric_type,
    shown,
    sizes,
)
from keras_fpn.console.errors import UserError

MOST_INSTRUCTIONS = 1_000_000  # a detector with its optimizer's state takes about 100 000
INERT = object()  # stands for whatever a training run's state holds besides: device, size, counters, arguments


class NumpyType:
    """A `numpy.dtype` under construction: a pickle makes it of a code, then sets its byte order."""

    def __init__(self, code, *_):
        self.dtype = numeric_type(code)

    def build(self, state: Any) -> None:
        """Set the byte order that `state`, a tuple, has second; ValueError for any other."""
        if state[1] not in ("<", ">", "|", "="):
            raise ValueError("a numpy type has no byte order")
        self.dtype = self.dtype.newbyteorder(state[1])


class NumpyArray(StoredTensor):
    """A numpy array under construction: a pickle makes an empty one, then sets shape, type and bytes."""

    def __init__(self, *_):
        self.shape, self.dtype, self.raw, self.order = (0,), np.dtype("f4"), b"", "C"

    def build(self, state: Any) -> StoredTensor:
        """Set the array's `state` (version, shape, type, whether in Fortran's order, bytes) and return the array."""
        _, shape, numpy_type, fortran, raw = state
        if not isinstance(numpy_type, NumpyType) or not isinstance(raw, str | bytes):
            raise ValueError("an array has no type or no bytes")
        self.shape, self.dtype = sizes(shape), numpy_type.dtype
        if math.prod(self.shape) * self.dtype.itemsize != len(raw):
            raise ValueError(f"an array of shape {self.shape} has {len(raw)} bytes")
        self.raw, self.order = raw, "F" if fortran else "C"
        return self

    def read(self) -> np.ndarray:
        # Text stands for bytes in the pickles of Python 2, one letter each.
        raw = self.raw.encode("latin1") if isinstance(self.raw, str) else self.raw
        return np.frombuffer(raw, self.dtype).reshape(self.shape, order=self.order)


def _scalar(numpy_type, raw):
    return NumpyArray().build((1, (), numpy_type, False, raw))


def _from_buffer(raw, numpy_type, shape, order):
    return NumpyArray().build((1, shape, numpy_type, order == "F", raw))


def _latin1(text, encoding):
    """Bytes as protocol 2 writes them: text to be encoded. It stays text, one letter a byte, see `NumpyArray`."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise ValueError("bytes in an encoding other than latin1")
    return text


def _tensor(storage, offset, shape, strides, *_):
    if not isinstance(storage, Storage):
        raise ValueError("a tensor has no storage")
    return storage.tensor(offset, shape, strides)


def _typed_tensor(storage, offset, shape, strides, _gradient, _hooks, dtype, *_):
    """A tensor over untyped bytes that names its type itself."""
    untyped = isinstance(storage, Storage) and not storage.start and storage.dtype.itemsize == 1
    if not untyped or not isinstance(dtype, np.dtype):
        raise ValueError("a tensor has no untyped storage or no type")
    typed = dataclasses.replace(storage, dtype=dtype, count=storage.count // dtype.itemsize)
    return typed.tensor(offset, shape, strides)


def _set_items(target, items):
    """Set items of a dict, given as a list of key, value, key, value ...; ValueError for what is no dict."""
    if isinstance(target, dict):
        for key, value in zip(items[::2], items[1::2], strict=True):
            # No other keys: hashing a tuple of tuples of ... without end would overflow the C stack, and very large
            # integers can be chosen to share one hash, so that each key would be compared with all others.
            whole = isinstance(key, int) and abs(key) <= LARGEST_SIZE
            if whole or key is None or isinstance(key, str | float | bytes):
                target[key] = value
    elif target is not INERT:
        raise ValueError("it sets items of what is no dict")


def _dict(pairs=()):
    """An OrderedDict: Python 2 hands its entries over as a list of pairs."""
    if not isinstance(pairs, list | tuple):
        raise ValueError("a dict is made of what are no pairs")
    made = {}
    _set_items(made, [part for pair in pairs for part in (pair[0], pair[1])])
    return made


_TYPES = {
    "Float": "float32", "Double": "float64", "Half": "float16", "Long": "int64", "Int": "int32", "Short": "int16",
    "Char": "int8", "Byte": "uint8", "Bool": "bool",
}  # fmt: skip
_NUMPY = {"multiarray._reconstruct": NumpyArray, "multiarray.scalar": _scalar, "numeric._frombuffer": _from_buffer}
KNOWN = {
    "collections.OrderedDict": _dict,
    "_codecs.encode": _latin1,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _typed_tensor,
    "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
    "torch._utils._rebuild_parameter_with_state": lambda tensor, *_: tensor,
    "torch.storage.UntypedStorage": np.dtype("uint8"),
    "torch.BFloat16Storage": BFLOAT16,
    "torch.bfloat16": BFLOAT16,
    **{f"torch.{name}Storage": np.dtype(code) for name, code in _TYPES.items()},
    **{f"torch.{code}": np.dtype(code) for code in (*_TYPES.values(), "uint16", "uint32", "uint64")},
    "numpy.dtype": NumpyType,
    "numpy.ndarray": INERT,  # what _reconstruct is to make
    # Before and since numpy 2.
    **{f"numpy.{core}.{name}": made for core in ("core", "_core") for name, made in _NUMPY.items()},
    # What the rest of a training run's state is made of; none of it is a tensor.
    **{
        name: lambda *_: INERT
        for name in ("torch.Size", "torch.device", "collections.Counter", "collections.defaultdict",
                     "argparse.Namespace", "builtins.set", "__builtin__.set")
    },
    # The arguments of a defaultdict.
    **{f"{module}.{name}": INERT for module in ("builtins", "__builtin__") for name in ("dict", "list", "int")},
}  # fmt: skip


class _Bounded:
    """A stream that refuses a length beyond its end before any memory is taken for it."""

    def __init__(self, stream):
        position = stream.tell()
        self.stream, self.readline, self.end = stream, stream.readline, stream.seek(0, io.SEEK_END)
        stream.seek(position)

    def read(self, count: int) -> bytes:
        if count > 4096 and count > self.end - self.stream.tell():
            raise EOFError("it ends within a value")
        return self.stream.read(count)


class _Table:
    """Table of the instructions by their byte; UserError for one too many or an unknown one."""

    def __init__(self):
        self.left = MOST_INSTRUCTIONS

    def __getitem__(self, code):
        self.left -= 1
        if self.left < 0:
            raise UserError(f"is a pickle of more than {MOST_INSTRUCTIONS} instructions; save the state dict alone")
        if code not in _FOLLOWED:
            name = _LIBRARY[code].__name__.removeprefix("load_").upper()
            raise UserError(f"is a pickle with the instruction {name}, which no file of tensors needs")
        return _FOLLOWED[code]


class _Unpickler(pickle._Unpickler):
    """The standard library's reader; each method here replaces its way of following an instruction."""

    def __init__(self, stream, memory):
        super().__init__(_Bounded(stream), encoding="latin1")
        self.memory, self.dispatch = memory, _Table()

    def find_class(self, module, name):
        known = KNOWN.get(f"{module}.{name}")
        if known is None:
            raise UserError(
                f"names {shown(f'{module}.{name}')}, which is no tensor; nothing of it was run; "
                "save model.state_dict() alone, or as .safetensors"
            )
        return known

    def persistent_load(self, pid):
        """A torch storage: ("storage", type, key, device, count of elements[, part of it: (key, start, count)])."""
        if not isinstance(pid, tuple) or len(pid) > 6:
            raise ValueError("a storage is described by no tuple")
        kind, dtype, key, _, count, *part = pid
        if kind != "storage" or not isinstance(dtype, np.dtype) or not isinstance(key, str):
            raise ValueError("a storage is described in no known way")
        (whole,) = sizes((count,))
        if self.memory.declared.setdefault(key, (dtype, whole)) != (dtype, whole):
            raise ValueError(f"storage {shown(key)} is declared twice, differently")
        start, count = sizes(part[0][1:]) if part and part[0] is not None else (0, whole)
        if start + count > whole:
            raise ValueError(f"a part of storage {shown(key)} reaches beyond it")
        return Storage(self.memory, key, dtype, start, count)

    def load_reduce(self):
        """Call a function of `KNOWN`; nothing else that a stream can make is callable."""
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(arguments, tuple):
            raise ValueError("it calls a function with what is no tuple")
        # A memorised list can be handed over again and again: its length counts each time as so many instructions.
        self.dispatch.left -= len(arguments)
        self.dispatch.left -= sum(len(argument) for argument in arguments if isinstance(argument, list | tuple))
        self.append(function(*arguments))

    def load_build(self):
        """Set the state of a numpy type or array; other state, such as a state dict's _metadata, is let go."""
        state = self.stack.pop()
        if isinstance(self.stack[-1], NumpyType | NumpyArray):
            self.stack[-1].build(state)

    def load_setitem(self):
        value, key = self.stack.pop(), self.stack.pop()
        _set_items(self.stack[-1], [key, value])

    def load_setitems(self):
        items = self.pop_mark()
        _set_items(self.stack[-1], items)

    def load_frame(self):
        """Read past a frame's length and no further: a copy of the frame would hold its tensors twice."""
        self.read(8)


# What files of tensors use, followed as the library does or as a method above does; all else is refused by name.
_LIBRARY = pickle._Unpickler.dispatch
_CODES = [getattr(pickle, name)[0] for name in """
    PROTO FRAME STOP MARK POP POP_MARK BINGET LONG_BINGET BINPUT LONG_BINPUT MEMOIZE NONE NEWTRUE NEWFALSE BININT
    BININT1 BININT2 LONG1 BINFLOAT SHORT_BINSTRING BINSTRING SHORT_BINUNICODE BINUNICODE BINUNICODE8 SHORT_BINBYTES
    BINBYTES BINBYTES8 EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST APPEND APPENDS EMPTY_DICT SETITEM SETITEMS
    GLOBAL STACK_GLOBAL REDUCE BUILD BINPERSID
""".split()]  # fmt: skip
_FOLLOWED = {
    **{code: getattr(_Unpickler, _LIBRARY[code].__name__) for code in _CODES},
    pickle.NEWOBJ[0]: _Unpickler.load_reduce,
    # The library takes the memory of a bytearray before it reads it.
    pickle.BYTEARRAY8[0]: _LIBRARY[pickle.BINBYTES8[0]],
    # Sets become lists and tuples, which need no hashing; none of them is a tensor.
    pickle.EMPTY_SET[0]: _LIBRARY[pickle.EMPTY_LIST[0]],
    pickle.ADDITEMS[0]: _LIBRARY[pickle.APPENDS[0]],
    pickle.FROZENSET[0]: _LIBRARY[pickle.TUPLE[0]],
}


def load(stream: BinaryIO, memory: Memory) -> Any:
    """Read one pickle from `stream` (a seekable binary file or BytesIO) and leave it right behind the pickle.

    `memory` (`tensors.Memory`) learns the torch storages that the pickle declares; the tensors can be read once
    it has their bytes. UserError names a global that is no tensor; anything else that is wrong with the
    stream raises whatever it raises, all of it `Exception`.
    """
    return _Unpickler(stream, memory).load()
