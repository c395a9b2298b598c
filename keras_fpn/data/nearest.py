"""Pixels of masks brought to another size by the nearest pixel, as the libraries that others train with do it."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import tensorflow as tf

_BITS = 8  # masks in a byte


def torchvision_places(old: tf.Tensor, new: tf.Tensor) -> tf.Tensor:
    """`[new]` int32, the pixel of an axis of `old` ones that each of `new` ones takes: PyTorch's "nearest".

    `floor(i * old / new)` in float32 (aten/src/ATen/native/UpSample.h), which now and then is one less than the true
    one.
    """
    ratio = tf.cast(old, tf.float32) / tf.cast(new, tf.float32)
    places = tf.cast(tf.floor(tf.range(new, dtype=tf.float32) * ratio), tf.int32)
    return tf.minimum(places, old - 1)


def pillow_places(old: tf.Tensor, new: tf.Tensor) -> tf.Tensor:
    """`torchvision_places` as Pillow's NEAREST has them, detectron2's for masks.

    `floor((i + 0.5) * old / new)`, the step added up in float64 from pixel to pixel (libImaging/Geometry.c).
    """
    step = tf.cast(old, tf.float64) / tf.cast(new, tf.float64)
    steps = tf.concat([step[None] / 2, tf.fill([new - 1], step)], axis=0)
    return tf.minimum(tf.cast(tf.cumsum(steps), tf.int32), old - 1)


PLACES: Mapping[str, Callable[[tf.Tensor, tf.Tensor], tf.Tensor]] = MappingProxyType(
    {"torchvision": torchvision_places, "pillow": pillow_places}
)


def resize(masks: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """Masks of the pixels of some rows and columns.

    Eight masks at a time are gathered as the bits of a byte: each pixel that is gathered costs as much as ten that are
    not.

    Args:
        masks: `[n, H, W]` uint8 of 0 and 1.
        rows, columns: `[h]`, `[w]` int32.

    Returns:
        `[n, h, w]` uint8.
    """
    count, height, width = tf.unstack(tf.shape(masks))
    bits = tf.constant([1 << bit for bit in range(_BITS)], tf.uint8)[:, None, None]
    masks = tf.pad(masks, [[0, -count % _BITS], [0, 0], [0, 0]])
    packed = tf.reduce_sum(tf.reshape(masks, [-1, _BITS, height, width]) * bits, axis=1)
    # Rows first where they become fewer.
    packed = tf.cond(
        tf.size(rows) < height,
        lambda: tf.gather(tf.gather(packed, rows, axis=1), columns, axis=2),
        lambda: tf.gather(tf.gather(packed, columns, axis=2), rows, axis=1),
    )
    is_set = tf.bitwise.bitwise_and(packed[:, None], bits) > 0
    return tf.reshape(tf.cast(is_set, tf.uint8), [-1, tf.size(rows), tf.size(columns)])[:count]
