"""TFRecord files read from a byte on: in TensorFlow operations, and examples in them without TensorFlow.

A record is the length of its data (8 bytes), a checksum of it (4), the data, and a checksum of these (4).
"""

import contextlib
import errno
import functools
import mmap
import os
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf

BEFORE, AROUND = 12, 16  # bytes before the data of a record; before and behind it

_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5  # kinds of fields in the encoding of protocol buffers


def record_at(path: "tf.Tensor", offset: "tf.Tensor") -> "tf.Tensor":
    """The data of the record that begins at a byte of a file, a string scalar, in TensorFlow operations.

    Args:
        path: of a file that is not compressed, string scalar.
        offset: int64 scalar.

    Raises:
        tf.errors.OpError: when it is run: the file is not there, no record begins there, a checksum is wrong.
    """
    import tensorflow as tf

    content = {"output_types": [tf.string], "output_shapes": [[]]}
    from_there_on = tf.raw_ops.TFRecordDatasetV2(
        filenames=path[None], compression_type="", buffer_size=tf.constant(0, tf.int64), byte_offsets=offset[None]
    )
    first = tf.raw_ops.TakeDataset(input_dataset=from_there_on, count=tf.constant(1, tf.int64), **content)
    return tf.raw_ops.DatasetToSingleElement(dataset=first, **content)[0]


@contextlib.contextmanager
def record_writer(path: str | os.PathLike) -> "Iterator[Callable[[bytes], int]]":
    """Give a function that adds a record to a new file, and returns the byte at which it begins."""
    import tensorflow as tf

    end = 0

    def add(data):
        nonlocal end
        begin = end
        writer.write(data)
        end += AROUND + len(data)
        return begin

    try:
        with tf.io.TFRecordWriter(os.fspath(path)) as writer:
            yield add
    except tf.errors.ResourceExhaustedError as error:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error


def read_feature(file: str | os.PathLike, offset: int, key: str) -> bytes:
    """Read the bytes that an example has under a key.

    The checksum of the length is tested, that of the data is not: in plain Python it would take longer than decoding.

    Args:
        file: of records, not compressed.
        offset: of the example, bytes.
        key: a feature of one text.

    Raises:
        ValueError: no record begins there, it is cut short, or it is no example with such a feature; says which.
        OSError: the file cannot be read.
    """
    with _record(file, offset) as record, _feature(record, key) as value:
        return bytes(value)


def feature_length(file: str | os.PathLike, offset: int, key: str) -> int:
    """Count the bytes of `read_feature` without reading them.

    Raises:
        ValueError, OSError: see `read_feature`.
    """
    with _record(file, offset) as record, _feature(record, key) as value:
        return len(value)


def _record(file, offset) -> memoryview:
    """The data of a record, which are not read before they are used."""
    with open(file, "rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        if not 0 <= offset < size:
            raise ValueError(f"the file has {size} bytes, and no record can begin at byte {offset}")
        whole = memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
    head = whole[offset : offset + BEFORE]
    if len(head) < BEFORE or _masked_checksum(bytes(head[:8])) != int.from_bytes(head[8:], "little"):
        raise ValueError(f"no record begins at byte {offset}")
    end = offset + BEFORE + int.from_bytes(head[:8], "little")
    if end + AROUND - BEFORE > size:
        raise ValueError(f"the record at byte {offset} is cut short")
    return whole[offset + BEFORE : end]


def _feature(example: memoryview, key: str) -> memoryview:
    """The one text of a feature. Examples hold features (1), which hold entries (1) of a key (1) and a value (2)."""
    wanted, values = key.encode(), []
    try:
        for entry in _within([example], 1, 1):
            if next(_parts(entry, 1), b"") == wanted:
                values = list(_within([entry], 2, 1, 1))  # a value holds a list (1 if of texts) of texts (1)
    except (IndexError, ValueError):
        raise ValueError("a record that is no tf.train.Example") from None
    if len(values) != 1:
        raise ValueError(f'an example without one text under "{key}"')
    return values[0]


def _within(messages: Iterable[memoryview], *numbers: int) -> Iterator[memoryview]:
    """The fields of a number in the fields of a number ... in some messages."""
    first, *others = numbers
    parts = (part for message in messages for part in _parts(message, first))
    return _within(parts, *others) if others else parts


def _parts(message: memoryview, number: int) -> Iterator[memoryview]:
    """The fields of a number in a message that have a length: texts and messages."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        kind = tag & 7
        if kind == _VARINT:
            _, place = _varint(message, place)
            continue
        if kind == _LENGTH:
            length, place = _varint(message, place)
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            length = 8 if kind == _EIGHT_BYTES else 4
        else:
            raise ValueError(kind)
        if place + length > len(message):
            raise IndexError(place)
        if kind == _LENGTH and tag >> 3 == number:
            yield message[place : place + length]
        place += length


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    """A whole number, seven bits a byte, the least first, and where it ends."""
    value = shift = 0
    while True:
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7


def _masked_checksum(data: bytes) -> int:
    """CRC-32C, turned and moved as TFRecord files have it."""
    checksum = 0xFFFFFFFF
    for byte in data:
        checksum = _table()[(checksum ^ byte) & 0xFF] ^ checksum >> 8
    checksum ^= 0xFFFFFFFF
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF


@functools.cache
def _table() -> tuple[int, ...]:
    """CRC-32C of each byte (polynomial 0x1EDC6F41, its bits in reverse)."""
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return tuple(table)
