"""The encoded pictures of a data set, whether they are files of their own or lie in TFRecord files.

An image entry with `"record": {"file": path, "offset": bytes, "key": feature}` has its picture in the
`tf.train.Example` that begins at a byte of a TFRecord file. TensorFlow reads one from there on as it reads a file, so
that order, shuffling and resuming are the same for both.
"""

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from keras_fpn.console.errors import UserError
from keras_fpn.data.objects import is_whole, short, shown
from keras_fpn.data.tfrecord_files import feature_length, read_feature, record_at

if TYPE_CHECKING:
    import tensorflow as tf

    from keras_fpn.data.coco import Record

RECORD = "record"  # key of an image entry


class Place(NamedTuple):
    """Where in a TFRecord file a picture is: the byte at which its example begins, and its feature there."""

    offset: int
    key: str


def place_of(entry: Mapping[str, Any]) -> Place | None:
    """The place of an image entry that was checked (`check_place`), or None where the picture is a file."""
    record = entry.get(RECORD)
    return None if record is None else Place(record["offset"], record["key"])


def check_place(path: str | os.PathLike, entry: Mapping[str, Any]) -> None:
    """Refuse an image entry that does not say "file", "offset" and "key" of its picture.

    Args:
        path: the annotation file, for errors.

    Raises:
        UserError: it says something else under "record".
    """
    record = entry.get(RECORD)
    said = record if isinstance(record, dict) else {}
    offset = said.get("offset")
    is_named = isinstance(said.get("file"), str) and isinstance(said.get("key"), str)
    if not (is_named and is_whole(offset) and offset >= 0):
        raise UserError(
            f'{path}: image {short(entry.get("id"))} has "{RECORD}" {short(record)}; write "file" (of TFRecords),'
            ' "offset" (bytes) and "key" (feature of the encoded picture)'
        )


def read_content(path: str | os.PathLike, place: Place | None = None) -> bytes:
    """Read an encoded picture: a file, or what is at a place of a TFRecord file.

    Raises:
        ValueError: there is no picture at this place; says what is there.
        OSError: the file cannot be read.
    """
    if place is not None:
        return read_feature(path, *place)
    with open(path, "rb") as file:
        return file.read()


def content_of(record: "Record") -> bytes:
    """The encoded picture of a record.

    Raises:
        UserError: it cannot be read; names the file and the image.
    """
    with _naming(record):
        return read_content(record.path, record.place)


def length_of(record: "Record") -> int:
    """The number of bytes of `content_of`, which are not read.

    Raises:
        UserError: see `content_of`.
    """
    with _naming(record):
        return os.path.getsize(record.path) if record.place is None else feature_length(record.path, *record.place)


@contextlib.contextmanager
def _naming(record):
    try:
        yield
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise UserError(f"{shown(record.name)}: cannot be read ({why}); write or download the file again") from None


def content_source(records: "Sequence[Record]") -> "Callable[[tf.Tensor], tf.Tensor]":
    """A function, in TensorFlow operations alone, from the index of a record to its encoded picture, string scalars.

    It fails, when it is run, where the file is not there, is cut short or is damaged in what is read. The picture is ""
    where an example has no such feature.
    """
    import tensorflow as tf

    paths = tf.constant([record.path for record in records])
    if all(record.place is None for record in records):
        return lambda index: tf.io.read_file(paths[index])
    places = [record.place or Place(-1, "") for record in records]
    offsets = tf.constant([place.offset for place in places], tf.int64)
    keys = tf.constant([place.key for place in places])

    def from_record(index):
        return _feature(record_at(paths[index], offsets[index]), keys[index])

    if all(record.place is not None for record in records):
        return from_record
    return lambda index: tf.cond(offsets[index] < 0, lambda: tf.io.read_file(paths[index]), lambda: from_record(index))


def _feature(example, key):
    """The text under a key, "" where there is none. `tf.io.parse_example` takes nothing but keys known beforehand."""
    import tensorflow as tf

    nothing = tf.zeros([0], tf.string)
    parsed = tf.raw_ops.ParseExampleV2(
        serialized=example, names=nothing, sparse_keys=nothing, dense_keys=key[None], ragged_keys=nothing,
        dense_defaults=[""], num_sparse=0, sparse_types=[], ragged_value_types=[], ragged_split_types=[],
        dense_shapes=[[]],
    )  # fmt: skip
    return parsed.dense_values[0]
