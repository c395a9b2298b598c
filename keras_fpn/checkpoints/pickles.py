"""Pickles read as data: nothing that a pickle names is imported, nothing that it asks for is called.

A pickle is a program for a stack machine. This is such a machine, of the instructions that files of tensors use;
the standard library's `pickletools` decodes them. A global of the file is looked up in `KNOWN` and
nowhere else: it stands for a function of this module or for nothing at all.

What a stream can make: None, numbers, text, bytes, tuples, lists, dicts, `StoredTensor` and `INERT`, which stands for
whatever a training run's state holds besides (device, size, counters, arguments) and swallows what is done to it.
"""

import dataclasses
import io
import math
import os
import pickletools
from collections.abc import Callable

import numpy as np

from keras_fpn.checkpoints.tensors import BFLOAT16, LARGEST_SIZE, Storage, StoredTensor, numeric_type, shown, sizes
from keras_fpn.console.errors import UserError

# A detector with its optimizer's state takes about 100 000. One instruction can make 200 bytes of an empty set.
MOST_INSTRUCTIONS = 1_000_000
INERT = type("Inert", (), {"__slots__": ()})()

STORAGES = {
    "Float": "<f4", "Double": "<f8", "Half": "<f2", "Long": "<i8", "Int": "<i4", "Short": "<i2",
    "Char": "|i1", "Byte": "|u1", "Bool": "|b1", "BFloat16": BFLOAT16,
}  # fmt: skip
TORCH_TYPES = {
    "float32": "<f4", "float64": "<f8", "float16": "<f2", "int64": "<i8", "int32": "<i4", "int16": "<i2", "int8": "|i1",
    "uint8": "|u1", "bool": "|b1", "uint16": "<u2", "uint32": "<u4", "uint64": "<u8", "bfloat16": BFLOAT16,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Global:
    """What a known global stands for: `call` for those that a stream may call, `dtype` for torch's types."""

    call: Callable | None = None
    dtype: np.dtype | None = None


class NumpyType:
    """A `numpy.dtype` under construction: a pickle makes it of a code, then sets its byte order."""

    def __init__(self, code, *_):
        self.dtype = numeric_type(code)

    def build(self, state):
        if state[1] not in ("<", ">", "|", "="):
            raise ValueError("a numpy type has no byte order")
        self.dtype = self.dtype.newbyteorder(state[1])


class NumpyArray(StoredTensor):
    """A numpy array under construction: a pickle makes an empty one, then sets shape, type and bytes."""

    def __init__(self, *_):
        self.shape, self.dtype, self.raw, self.order = (0,), np.dtype("f4"), b"", "C"

    def build(self, state):
        _, shape, numpy_type, fortran, raw = state
        if not isinstance(numpy_type, NumpyType) or not isinstance(raw, str | bytes):
            raise ValueError("an array has no type or no bytes")
        self.shape, self.dtype = sizes(shape), numpy_type.dtype
        if math.prod(self.shape) * self.dtype.itemsize != len(raw):
            raise ValueError(f"an array of shape {self.shape} has {len(raw)} bytes")
        self.raw, self.order = raw, "F" if fortran else "C"

    def read(self):
        # Text stands for bytes in the pickles of Python 2, one letter each.
        raw = self.raw.encode("latin1") if isinstance(self.raw, str) else self.raw
        return np.frombuffer(raw, self.dtype).reshape(self.shape, order=self.order)


def _dict(pairs=()):
    """OrderedDict: Python 2 hands its entries over as pairs."""
    made = {}
    _set_items(made, [part for pair in pairs for part in (pair[0], pair[1])])
    return made


def _latin1(text, encoding):
    """Bytes as protocol 2 writes them: text to be encoded. It stays text, one letter a byte, see `NumpyArray`."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise ValueError("bytes in an encoding other than latin1")
    return text


def _scalar(numpy_type, raw):
    made = NumpyArray()
    made.build((1, (), numpy_type, False, raw))
    return made


def _from_buffer(raw, numpy_type, shape, order):
    made = NumpyArray()
    made.build((1, shape, numpy_type, order == "F", raw))
    return made


def _tensor(storage, offset, shape, strides, *_):
    if not isinstance(storage, Storage):
        raise ValueError("a tensor has no storage")
    return storage.tensor(offset, shape, strides)


def _typed_tensor(storage, offset, shape, strides, _gradient, _hooks, torch_type, *_):
    """A tensor over untyped bytes that names its type itself."""
    dtype = torch_type.dtype if isinstance(torch_type, Global) else None
    if not isinstance(storage, Storage) or dtype is None or storage.start or storage.dtype.itemsize != 1:
        raise ValueError("a tensor has no untyped storage or no type")
    typed = dataclasses.replace(storage, dtype=dtype, count=storage.count // dtype.itemsize)
    return typed.tensor(offset, shape, strides)


def _parameter(tensor, *_):
    return tensor


def _inert(*_):
    return INERT


_NUMPY_CORES = ("numpy.core", "numpy._core")  # before and since numpy 2
KNOWN = {
    "collections.OrderedDict": Global(_dict),
    "_codecs.encode": Global(_latin1),
    "torch._utils._rebuild_tensor": Global(_tensor),
    "torch._utils._rebuild_tensor_v2": Global(_tensor),
    "torch._utils._rebuild_tensor_v3": Global(_typed_tensor),
    "torch._utils._rebuild_parameter": Global(_parameter),
    "torch._utils._rebuild_parameter_with_state": Global(_parameter),
    "torch.storage.UntypedStorage": Global(dtype=np.dtype("|u1")),
    "numpy.dtype": Global(NumpyType),
    "numpy.ndarray": Global(),
    **{f"torch.{name}Storage": Global(dtype=np.dtype(code)) for name, code in STORAGES.items()},
    **{f"torch.{name}": Global(dtype=np.dtype(code)) for name, code in TORCH_TYPES.items()},
    **{f"{core}.multiarray._reconstruct": Global(NumpyArray) for core in _NUMPY_CORES},
    **{f"{core}.multiarray.scalar": Global(_scalar) for core in _NUMPY_CORES},
    **{f"{core}.numeric._frombuffer": Global(_from_buffer) for core in _NUMPY_CORES},
    # What the rest of a training run's state is made of; none of it is a tensor.
    **{
        name: Global(_inert)
        for name in ("torch.Size", "torch.device", "collections.Counter", "collections.defaultdict",
                     "argparse.Namespace", "builtins.set", "__builtin__.set")
    },
    # The arguments of a defaultdict.
    **{f"{builtins}.{name}": Global() for builtins in ("builtins", "__builtin__") for name in ("dict", "list", "int")},
}  # fmt: skip


class _Machine:
    """The state of one run: `stack`, the stacks below each open mark, and what was memorised."""

    def __init__(self, memory):
        self.memory, self.stack, self.below, self.memorised = memory, [], [], {}

    def since_mark(self):
        items, self.stack = self.stack, self.below.pop()
        return items


def load(stream, memory):
    """Reads one pickle from `stream` (a seekable binary file or BytesIO) and leaves it right behind the pickle.

    `memory` (`tensors.Memory`) learns the torch storages that the pickle declares; the tensors can be read once
    it has their bytes. UserError names a global that is no tensor; anything else that is wrong with the
    stream raises whatever it raises, all of it `Exception`.
    """
    machine = _Machine(memory)
    for index, (opcode, argument, _) in enumerate(pickletools.genops(_Bounded(stream))):
        if index >= MOST_INSTRUCTIONS:
            raise UserError(f"is a pickle of more than {MOST_INSTRUCTIONS} instructions; save the state dict alone")
        if opcode.name in _VALUES:
            machine.stack.append(argument)
        elif opcode.name in _INSTRUCTIONS:
            _INSTRUCTIONS[opcode.name](machine, argument)
        elif opcode.name not in ("PROTO", "FRAME"):
            if opcode.name == "STOP":
                return machine.stack.pop()
            raise UserError(f"is a pickle with the instruction {opcode.name}, which no file of tensors needs")


class _Bounded:
    """A stream that refuses a length beyond its end before any memory is taken for it."""

    def __init__(self, stream):
        self.stream, self.readline, self.tell = stream, stream.readline, stream.tell
        position = stream.tell()
        self.end = stream.seek(0, io.SEEK_END)
        stream.seek(position, os.SEEK_SET)

    def read(self, count):
        if count > 4096 and count > self.end - self.stream.tell():
            raise EOFError("it ends within a value")
        return self.stream.read(count)


def _find(machine, module, name):
    if not isinstance(module, str) or not isinstance(name, str):
        raise ValueError("a global without a name")
    known = KNOWN.get(f"{module}.{name}")
    if known is None:
        raise UserError(
            f"names {shown(f'{module}.{name}')}, which is no tensor; nothing of it was run; "
            "save model.state_dict() alone, or as .safetensors"
        )
    machine.stack.append(known)


def _stack_global(machine, _):
    name, module = machine.stack.pop(), machine.stack.pop()
    _find(machine, module, name)


def _call(machine, _):
    arguments, function = machine.stack.pop(), machine.stack.pop()
    if not isinstance(function, Global) or function.call is None or not isinstance(arguments, tuple):
        raise ValueError("it calls what is no function")
    machine.stack.append(function.call(*arguments))


def _build(machine, _):
    state = machine.stack.pop()
    if isinstance(machine.stack[-1], NumpyType | NumpyArray):
        machine.stack[-1].build(state)  # all other state, such as a state dict's _metadata, is let go


def _persistent(machine, _):
    """A torch storage: ("storage", type, key, device, count of elements[, part of it: (key, start, count)])."""
    kind, storage_type, key, _, count, *part = machine.stack.pop()
    dtype = storage_type.dtype if isinstance(storage_type, Global) else None
    if kind != "storage" or dtype is None or not isinstance(key, str):
        raise ValueError("a storage is described in no known way")
    (whole,) = sizes((count,))
    if machine.memory.declared.setdefault(key, (dtype, whole)) != (dtype, whole):
        raise ValueError(f"storage {shown(key)} is declared twice, differently")
    start, count = sizes(part[0][1:]) if part and part[0] is not None else (0, whole)
    if start + count > whole:
        raise ValueError(f"a part of storage {shown(key)} reaches beyond it")
    machine.stack.append(Storage(machine.memory, key, dtype, start, count))


def _set_items(target, items):
    if isinstance(target, dict):
        for key, value in zip(items[::2], items[1::2], strict=True):
            # No other keys: hashing a tuple of tuples of ... without end would overflow the C stack.
            if key is None or isinstance(key, str | int | float | bytes):
                target[key] = value
    elif target is not INERT:
        raise ValueError("it sets items of what is no dict")


def _append(target, items):
    if isinstance(target, list):
        target.extend(items)
    elif target is not INERT:
        raise ValueError("it appends to what is no list")


def _on_top(change):
    """The instruction that changes the value on top of the stack by the items since the mark."""

    def instruction(machine, _):
        items = machine.since_mark()
        change(machine.stack[-1], items)

    return instruction


def _one_item(change, count):
    """The same with the last `count` values for items."""

    def instruction(machine, _):
        items = machine.stack[-count:]
        del machine.stack[-count:]
        change(machine.stack[-1], items)

    return instruction


def _tuple_of(count):
    def instruction(machine, _):
        if len(machine.stack) < count:
            raise ValueError("its stack is empty")
        machine.stack[-count:] = [tuple(machine.stack[-count:])]

    return instruction


def _mark(machine, _):
    machine.below.append(machine.stack)
    machine.stack = []


def _get(machine, index):
    machine.stack.append(machine.memorised[index])


def _put(machine, index):
    if not isinstance(index, int) or not 0 <= index <= LARGEST_SIZE:
        raise ValueError("a memo has no number")
    machine.memorised[index] = machine.stack[-1]


def _marked(make):
    """The instruction that puts `make(items since the mark)` in their place."""

    def instruction(machine, _):
        made = make(machine.since_mark())
        machine.stack.append(made)

    return instruction


# Instructions whose argument is a value itself.
_VALUES = {
    "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "SHORT_BINSTRING", "BINSTRING",
    "SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8",
}  # fmt: skip
_INSTRUCTIONS = {
    "NONE": lambda machine, _: machine.stack.append(None),
    "NEWTRUE": lambda machine, _: machine.stack.append(True),
    "NEWFALSE": lambda machine, _: machine.stack.append(False),
    "EMPTY_TUPLE": lambda machine, _: machine.stack.append(()),
    "EMPTY_LIST": lambda machine, _: machine.stack.append([]),
    "EMPTY_DICT": lambda machine, _: machine.stack.append({}),
    "EMPTY_SET": lambda machine, _: machine.stack.append(INERT),
    "BYTEARRAY8": lambda machine, argument: machine.stack.append(bytes(argument)),
    "TUPLE": _marked(tuple),
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "LIST": _marked(list),
    "DICT": _marked(lambda items: _dict(zip(items[::2], items[1::2], strict=True))),
    "FROZENSET": _marked(_inert),
    "APPEND": _one_item(_append, 1),
    "APPENDS": _on_top(_append),
    "ADDITEMS": _on_top(_append),
    "SETITEM": _one_item(_set_items, 2),
    "SETITEMS": _on_top(_set_items),
    "MARK": _mark,
    "POP": lambda machine, _: machine.stack.pop(),
    "POP_MARK": lambda machine, _: machine.since_mark(),
    "BINGET": _get,
    "LONG_BINGET": _get,
    "BINPUT": _put,
    "LONG_BINPUT": _put,
    "MEMOIZE": lambda machine, _: _put(machine, len(machine.memorised)),
    "GLOBAL": lambda machine, argument: _find(machine, *argument.split(" ", 1)),
    "STACK_GLOBAL": _stack_global,
    "REDUCE": _call,
    "NEWOBJ": _call,
    "BUILD": _build,
    "BINPERSID": _persistent,
}
