"""Checkpoint files in and out: torch (zip and the older form), safetensors, npz, detectron2's pickles, KerasHub's.

The format is told by the content, never by the suffix. Nothing in a file is executed and torch is not needed.
A file claims sizes; all of them are held against the bytes that are there before memory is taken.
"""

import dataclasses
import io
import json
import math
import os
import pathlib
import zipfile
import zlib
from collections.abc import Mapping

import numpy as np
import safetensors
import safetensors.numpy

from keras_fpn.checkpoints import keras_hub, pickles
from keras_fpn.checkpoints.tensors import BFLOAT16, Memory, Storage, StoredTensor, as_numbers, numeric_type, shown
from keras_fpn.console.errors import UserError
from keras_fpn.console.files import whole_or_not_at_all

NESTED = ("model", "state_dict", "model_state_dict")
WRAPPERS = ("module.", "model.")  # what data-parallel training and Lightning put before every name
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # how torch before 1.6 begins a file
LEGACY_PROTOCOL = 1001
LARGEST_RESULT = 8 * 2**30  # bytes of all tensors together
# A file may grow by this much when read; half precision doubles, npz may be compressed.
LARGEST_GROWTH, FREE_GROWTH = 16, 64 * 2**20
SAFETENSORS_TYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": BFLOAT16, "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1", "BOOL": "|b1",
}  # fmt: skip
# What is saved under a checkpoint's name by mistake: how it begins, and what to do.
MISTAKES = {
    b"version https://git-lfs": "is a git-lfs pointer, not the weights; run `git lfs pull`",
    b"<!doctype": "is a web page, not a checkpoint; download the file itself",
    b"<html": "is a web page, not a checkpoint; download the file itself",
    b"<?xml": "is an error message of a web server, not a checkpoint; download the file again",
    b"\x1f\x8b": "is compressed; unpack it with gunzip",
    b"\xff\xd8\xff": "is a picture, not a checkpoint; keras-fpn detect finds objects in pictures",
    b"\x89png": "is a picture, not a checkpoint; keras-fpn detect finds objects in pictures",
    b"\x89hdf": "is an HDF5 file, not a torch, safetensors or npz checkpoint; of a preset of KerasHub name the folder",
}


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """Contents of a file.

    `tensors`: `{name: array}` in the file's order; floats of any width as float32, integers and booleans as they are.
    `metadata`: the text that the file says of itself: a safetensors header's, or a pickle's entries beside the
    weights that are text, numbers or booleans ("__author__", "iteration", "matching_heuristics").
    """

    tensors: dict[str, np.ndarray]
    metadata: dict[str, str]


def read_checkpoint(path: str | os.PathLike) -> Checkpoint:
    """All numeric tensors of a checkpoint file as a `Checkpoint`, without executing anything in it.

    Reads torch's `.pth`/`.pt` (zip, and the form before 1.6), `.safetensors`, `.npz`, detectron2's `.pkl` and the
    folder of a preset of KerasHub's RetinaNet. Weights one level down under "model", "state_dict" or
    "model_state_dict" are entered, and all that stands beside them is left alone; "module." or "model." is dropped
    where every name starts with it.

    UserError, one line with the file's name and the mend: it does not exist, is no checkpoint, is damaged or cut
    short, claims more than it holds, names a Python object that is no tensor, holds no tensors, or NaN or
    infinite values (the tensors are named).
    """
    path = pathlib.Path(path)
    try:
        check_begins_right(path)
        if keras_hub.is_preset(path):
            return Checkpoint(_as_numbers(keras_hub.stored(path), keras_hub.num_bytes(path)), {})
        stored, metadata = _stored(path)
        return Checkpoint(_as_numbers(stored, path.stat().st_size), metadata)
    except UserError as error:
        raise UserError(f"{path}: {' '.join(str(error).split())}") from None
    except PermissionError:
        raise UserError(f"{path}: may not be read; change its permissions") from None
    except Exception as error:  # a hostile or broken file may raise anything: RecursionError, struct.error, ...
        told = shown(f"{type(error).__name__}: {error}")
        raise UserError(f"{path}: is damaged or cut short ({told}); download it again") from error


def write_safetensors(path: str | os.PathLike, tensors: Mapping[str, np.ndarray], metadata: dict[str, str]) -> None:
    """Writes `{name: array}` and `{text: text}` as a safetensors file, whole or not at all.

    OSError where the folder does not exist or is full; a file of that name stays as it was then.
    """
    path = pathlib.Path(path)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    contiguous = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    with whole_or_not_at_all(path, unfinished):
        # Not save_file: that makes a file which only its owner may read.
        unfinished.write_bytes(safetensors.numpy.save(contiguous, metadata=dict(metadata)))


def check_begins_right(path: pathlib.Path) -> None:
    """Refuse what is no checkpoint by its first bytes; the errors do not name it.

    Raises:
        UserError: there is no file, or it is empty, a page, a tar archive ...
    """
    if keras_hub.is_preset(path):
        return
    if path.is_dir():
        raise UserError("is a folder; name the checkpoint file in it")
    if not path.exists():
        raise UserError("does not exist; check the name")
    if not path.is_file():
        raise UserError("is no regular file; save the checkpoint to a file first")
    with open(path, "rb") as stream:
        head = stream.read(512)
    if not head:
        raise UserError("is empty; download it again")
    beginning = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for mistake, told in MISTAKES.items():
        if beginning.startswith(mistake):
            raise UserError(told)
    if head[257:262] == b"ustar":
        raise UserError("is a tar archive; unpack it, or load and save it with a newer torch")


def _stored(path):
    """`{name: StoredTensor}` and metadata of a file in any of the formats."""
    content = np.memmap(path, np.uint8, "r")
    head = content[:9].tobytes()
    if head.startswith(b"PK"):
        return _zip(path, content)
    # Eight bytes of header length, then the header, which is JSON.
    if path.suffix == ".safetensors" or (head[8:] == b"{" and 8 + int.from_bytes(head[:8], "little") <= len(content)):
        return _safetensors(path, content)
    if head.startswith(b"\x80"):
        return _pickle(path, content)
    raise UserError("is no checkpoint of a known kind: torch's .pth, .safetensors, .npz or detectron2's .pkl")


def _pickle(path, content):
    with open(path, "rb") as stream:
        memory = Memory()
        loaded = pickles.load(stream, memory)
        if loaded == LEGACY_MAGIC:
            loaded = _legacy(stream, memory, content)
    return _weights(loaded)


def _legacy(stream, memory, content):
    """torch before 1.6: five pickles (two of them read by now), then each storage behind its length in elements."""
    if pickles.load(stream, Memory()) != LEGACY_PROTOCOL:
        raise UserError("is a torch file of an unknown protocol; load and save it with a newer torch")
    pickles.load(stream, Memory())  # the machine that wrote it; the numbers are little-endian on every one
    loaded = pickles.load(stream, memory)
    keys = pickles.load(stream, Memory())
    position = stream.tell()
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise ValueError("its storages have no names")
    for key in keys:
        dtype, count = memory.declared[key]
        if int.from_bytes(content[position : position + 8].tobytes(), "little") != count:
            raise ValueError(f"storage {shown(key)} has another length than was declared")
        begin, position = position + 8, position + 8 + count * dtype.itemsize
        memory.fill(key, content[begin:position])
    return loaded


def _zip(path, content):
    with zipfile.ZipFile(path) as archive:
        members = {member.filename: member for member in archive.infolist()}
        if len(members) != len(archive.infolist()):
            raise UserError("is a zip archive with two members of one name; download it again")
        pickled = [name for name in members if name == "data.pkl" or name.endswith("/data.pkl")]
        if pickled:
            return _torch_zip(members, pickled[0].removesuffix("data.pkl"), content)
        if members and all(name.endswith(".npy") for name in members):
            return _npz(archive, len(content))
    if "model.weights.h5" in members:
        raise UserError("is a Keras model, not a checkpoint to convert; use it as it is")
    raise UserError("is a zip archive without torch's or numpy's members; unpack it if the checkpoint is inside")


def _torch_zip(members, folder, content):
    if f"{folder}constants.pkl" in members or any(name.startswith(f"{folder}code/") for name in members):
        raise UserError("is a TorchScript program, not a state dict; save model.state_dict() of it with torch")
    places = _places(members, content)
    memory = Memory()
    loaded = pickles.load(io.BytesIO(content[places[f"{folder}data.pkl"]].tobytes()), memory)
    if f"{folder}byteorder" in places:
        order = content[places[f"{folder}byteorder"]].tobytes()
        memory.byteorder = {b"little": "<", b"big": ">"}[order]
    for key in memory.declared:
        memory.fill(key, content[places[f"{folder}data/{key}"]])
    return _weights(loaded)


def _places(members, content):
    """`{name: slice of the file}` of an archive's members, which lie in it as they are, each in its own place.

    Raises for members that are compressed, overlap or reach beyond the file, the means of a zip bomb, and for
    those that do not agree with their checksum.
    """
    places, end = {}, 0
    for member in sorted(members.values(), key=lambda member: member.header_offset):
        if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
            raise UserError("is a torch file that was compressed, as torch never does; load and save it with torch")
        header = content[member.header_offset : member.header_offset + 30].tobytes()
        if member.header_offset < end or not header.startswith(b"PK\x03\x04"):
            raise UserError("is a zip archive whose members overlap or are misplaced; download it again")
        begin = member.header_offset + 30 + sum(int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
        end = begin + member.file_size
        if end > len(content) or zlib.crc32(content[begin:end]) != member.CRC:
            raise UserError(f"is damaged at {shown(member.filename)}; download it again")
        places[member.filename] = slice(begin, end)
    return places


def _npz(archive, file_bytes):
    members = archive.infolist()
    _check_room(sum(member.file_size for member in members), file_bytes)
    return {member.filename.removesuffix(".npy"): _npy(archive, member) for member in members}, {}


def _npy(archive, member):
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UserError("is compressed in a way that numpy does not use; save it with numpy.savez_compressed")
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, fortran, dtype = readers[version](stream)
        dtype = numeric_type(dtype.str)
        remaining = member.file_size - stream.tell()
        if math.prod(shape) * dtype.itemsize != remaining:
            raise ValueError(f"{shown(member.filename)} has not the bytes of its shape")
        raw = stream.read(remaining)  # without a number it would unpack gigabytes first and count them then
    array = np.frombuffer(raw, dtype).reshape(shape, order="F" if fortran else "C")
    return StoredTensor(shape, dtype, lambda: array)


def _safetensors(path, content):
    with safetensors.safe_open(path, "np") as opened:  # checks types, shapes and places against the file
        metadata = opened.metadata() or {}
    start = 8 + int.from_bytes(content[:8].tobytes(), "little")
    described = json.loads(content[8:start].tobytes())
    memory, stored = Memory(), {}
    for name, entry in described.items():
        if name == "__metadata__":
            continue
        if entry["dtype"] not in SAFETENSORS_TYPES:
            raise UserError(f"holds {shown(name)} of type {entry['dtype']}; save it as F32, F16 or BF16")
        dtype, (begin, end) = np.dtype(SAFETENSORS_TYPES[entry["dtype"]]), entry["data_offsets"]
        shape = entry["shape"]
        count, strides = math.prod(shape), [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
        memory.declared[name] = dtype, count
        memory.fill(name, content[start + begin : start + end])
        stored[name] = Storage(memory, name, dtype, 0, count).tensor(0, shape, strides)
    return stored, metadata


def _weights(loaded):
    """The tensors of an unpickled file by name, and what it says of itself."""
    if not isinstance(loaded, dict):
        raise UserError("holds no dict of tensors; save model.state_dict()")
    inside = next((loaded[key] for key in NESTED if isinstance(loaded.get(key), dict)), loaded)
    stored = {
        name: value for name, value in inside.items() if isinstance(name, str) and isinstance(value, StoredTensor)
    }
    if not stored:
        names = ", ".join(shown(str(name)) for name in list(inside)[:6])
        raise UserError(f"holds no tensors, only {names or 'an empty dict'}; save model.state_dict()")
    metadata = {
        name: str(value)
        for name, value in loaded.items()
        if isinstance(name, str) and isinstance(value, str | int | float)
    }
    return stored, metadata


def _as_numbers(stored, file_bytes):
    """`{name: array}` of stored tensors. Each is let go once it is read: memory holds most of the file once only."""
    if not stored:
        raise UserError("holds no tensors; save model.state_dict()")
    unprintable = [name for name in stored if not name.isprintable()]
    if unprintable:
        raise UserError(f"holds a tensor of the name {shown(unprintable[0])}, which is no text; download it again")
    _check_room(sum(tensor.converted_bytes for tensor in stored.values()), file_bytes)
    prefix = next((prefix for prefix in WRAPPERS if all(name.startswith(prefix) for name in stored)), "")
    tensors, wrong = {}, []
    for name in list(stored):
        array = as_numbers(stored.pop(name).read())
        tensors[name.removeprefix(prefix)] = array
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            wrong.append(shown(name))
    if wrong:
        more = f" and {len(wrong) - 10} more" if len(wrong) > 10 else ""
        raise UserError(
            f"holds NaN or infinite values (or beyond float32's range) in {', '.join(wrong[:10])}{more}; "
            "take an earlier checkpoint of that training"
        )
    return tensors


def _check_room(needed, file_bytes):
    if needed > min(LARGEST_RESULT, FREE_GROWTH + LARGEST_GROWTH * file_bytes):
        raise UserError(
            f"would take {needed / 2**20:.0f} MB in memory from a file of {file_bytes / 2**20:.1f} MB, "
            "as no checkpoint does; save the tensors uncompressed, each of them once"
        )
