"""The image files of a data set in memory, as they lie on disk: a picture's pixels take ten times as much and more."""

import os
from collections.abc import Sequence

import tensorflow as tf

from keras_fpn.console.errors import UserError
from keras_fpn.console.memory import machine_memory

_SHARE = 0.8  # of the machine's memory, at most: the model and its batches need some


def cached_bytes(paths: Sequence[str]) -> int:
    """Bytes of memory that the files take.

    Raises:
        UserError: the machine has not as many.
    """
    size, memory = sum(os.path.getsize(path) for path in paths), machine_memory()
    if memory is not None and size > _SHARE * memory:
        raise UserError(
            f"data.cache: the {len(paths)} image files take {size / 1e9:.1f} GB, and this machine has"
            f" {memory / 1e9:.1f} GB of memory; leave it out: data.cache=false (from Python cache=False)"
        )
    return size


def read_files(paths: Sequence[str]) -> tf.Tensor:
    """`[n]` strings: the content of each file.

    Raises:
        UserError: see `cached_bytes`; a file cannot be read.
    """
    cached_bytes(paths)
    try:
        return tf.map_fn(tf.io.read_file, tf.constant(list(paths)), fn_output_signature=tf.string)
    except tf.errors.OpError as error:
        raise UserError(f"data.cache: cannot read an image file ({error.message}); check it") from None
