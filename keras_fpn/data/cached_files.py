"""The encoded pictures of a data set in memory, as they lie on disk: their pixels take ten times as much and more."""

from collections.abc import Callable, Sequence

import tensorflow as tf

from keras_fpn.console.errors import UserError
from keras_fpn.console.memory import machine_memory
from keras_fpn.data.coco import Record
from keras_fpn.data.objects import shown
from keras_fpn.data.picture_contents import content_source, length_of

_SHARE = 0.8  # of the machine's memory, at most: the model and its batches need some


def cached_bytes(records: Sequence[Record]) -> int:
    """Bytes of memory that the pictures take.

    Raises:
        UserError: the machine has not as many; a picture cannot be read.
    """
    size = sum(map(length_of, records))
    mend = "leave it out: data.cache=false (from Python cache=False)"
    check_memory(size, f"the {len(records)} image files take", mend)
    return size


def check_memory(size: int, what: str, mend: str) -> None:
    """Refuse what `data.cache` would keep in memory.

    Raises:
        UserError: it is more than the machine's memory has room for.
    """
    memory = machine_memory()
    if memory is not None and size > _SHARE * memory:
        raise UserError(
            f"data.cache: {what} {size / 1e9:.1f} GB, and this machine has {memory / 1e9:.1f} GB of memory; {mend}"
        )


def cached_contents(records: Sequence[Record]) -> Callable[[tf.Tensor], tf.Tensor]:
    """`picture_contents.content_source` of pictures that are read once, now.

    Raises:
        UserError: see `cached_bytes`.
    """
    cached_bytes(records)
    read = content_source(records)
    read_all = tf.function(lambda: tf.map_fn(read, tf.range(len(records)), fn_output_signature=tf.string))
    try:
        contents = read_all()
    except tf.errors.OpError:
        raise _first_unreadable(records, read) from None
    return lambda index: contents[index]


def _first_unreadable(records, read):
    for index, record in enumerate(records):
        try:
            read(tf.constant(index))
        except tf.errors.OpError as error:
            is_damaged = isinstance(error, tf.errors.DataLossError)
            why = "cut short, or its checksum is wrong" if is_damaged else error.message
            return UserError(f"data.cache: {shown(record.name)}: cannot be read ({why}); check it")
    return UserError("data.cache: an image file could not be read and can be now; try again")
