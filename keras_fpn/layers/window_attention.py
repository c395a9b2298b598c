"""Attention within windows of a map, with shifted windows in turn (Liu et al., Swin Transformer, ICCV 2021)."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_fpn.layers.fixed_arguments import FixedArguments

APART = -100.0  # added to what cells of different regions say to each other


@keras.saving.register_keras_serializable("keras_fpn")
class WindowAttention(FixedArguments, keras.layers.Layer):
    """Multi-head attention of the cells of each window of a map among themselves, with a relative position bias.

    The conventions are torchvision's: maps are padded with zeros below and to the right to whole windows, and the
    padding takes part; shifted windows begin `shift` cells further on and go on where the map begins, cells that are
    no neighbours there being kept apart; along a side of a single window there is no shift.

    Args:
        num_heads: that the channels are split into.
        window: side of a window in cells, w.
        shift: cells by which the windows are moved, 0 for none.
    """

    def __init__(self, num_heads, window=7, shift=0, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.window = window
        self.shift = shift

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        channels = int(input_shape[-1] or 0)
        self.qkv = self._linear(channels, 3 * channels, "qkv")
        self.projection = self._linear(channels, channels, "projection")
        self.bias_table = self.add_weight(
            shape=((2 * self.window - 1) ** 2, self.num_heads),
            initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            name="relative_position_bias_table",
        )

    def _linear(self, inputs, units, name):
        initializer = keras.initializers.TruncatedNormal(stddev=0.02)
        layer = keras.layers.Dense(
            units, kernel_initializer=initializer, dtype=self.dtype_policy, name=f"{self.name}_{name}"
        )
        layer.build((None, inputs))
        return layer

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """`[B, h, w, C] -> [B, h, w, C]`"""
        height, width = _sides(inputs)
        # No negative number is divided: where ONNX rounds to 0, TensorFlow rounds down.
        rows, columns = ((side + self.window - 1) // self.window for side in (height, width))
        padded = rows * self.window, columns * self.window
        maps = inputs
        if _differ(padded, (height, width)):
            maps = tf.pad(maps, [[0, 0], [0, padded[0] - height], [0, padded[1] - width], [0, 0]])
        shifts = [_shift(self.shift, number) for number in (rows, columns)]
        heard = self._attend(_rolled(maps, shifts), self._apart(shifts, rows, columns), rows, columns)
        back = [0 if _is_none(shift) else side - shift for side, shift in zip(padded, shifts, strict=True)]
        maps = _rolled(heard, back)
        maps = maps[:, :height, :width] if _differ(padded, (height, width)) else maps
        return self.projection(maps)

    def _attend(self, maps, apart, rows, columns):
        """Maps of what cells hear within windows; `apart` `[rows columns, L, L]` is added to what they say, or None.

        They are split after the products, into heads and windows at once: each goes over the map once more.
        """
        cells, channels = self.window**2, maps.shape[-1]
        query, key, value = (self._split(part, rows, columns) for part in self._parts(maps))
        said = tf.matmul(query, key, transpose_b=True) + tf.cast(self._bias(), query.dtype)
        if apart is not None:
            said = tf.reshape(said, [-1, rows * columns, self.num_heads, cells, cells])
            said = tf.reshape(said + tf.cast(apart[:, None], said.dtype), [-1, self.num_heads, cells, cells])
        heard = tf.reshape(
            tf.matmul(tf.nn.softmax(said), value),
            [-1, columns, self.num_heads, self.window, self.window, channels // self.num_heads],
        )
        heard = tf.transpose(heard, [0, 3, 1, 4, 2, 5])
        return tf.reshape(heard, [-1, rows * self.window, columns * self.window, channels])

    def _parts(self, maps):
        """Queries, keys and values of every cell, `[B H W, C]` each, the queries times d^-0.5."""
        channels = maps.shape[-1]
        scale = (channels // self.num_heads) ** -0.5
        cells = tf.reshape(maps, [-1, channels])
        kernels = tf.split(self.qkv.kernel.value, 3, axis=1)
        biases = tf.split(self.qkv.bias.value, 3)
        for kernel, bias, factor in zip(kernels, biases, (scale, 1.0, 1.0), strict=True):
            product = tf.matmul(cells, tf.cast(kernel * factor, cells.dtype))
            yield tf.nn.bias_add(product, tf.cast(bias * factor, cells.dtype))

    def _split(self, cells, rows, columns):
        """`[B rows w columns w, heads d] -> [B rows columns, heads, w w, d]`"""
        width = cells.shape[-1] // self.num_heads
        cells = tf.reshape(cells, [-1, self.window, columns, self.window, self.num_heads, width])
        cells = tf.transpose(cells, [0, 2, 4, 1, 3, 5])
        return tf.reshape(cells, [-1, self.num_heads, self.window**2, width])

    def _bias(self):
        """`[heads, L, L]`"""
        places = relative_positions(self.window)
        # Along the last axis, where the gradient is a dense tensor.
        bias = tf.gather(tf.transpose(self.bias_table.value), places.reshape(-1), axis=1)
        return tf.reshape(bias, [self.num_heads, *places.shape])

    def _apart(self, shifts, rows, columns):
        """`[rows columns, L, L]` of 0, and -100 where a window's cells are no neighbours; None where all are."""
        if all(map(_is_none, shifts)):
            return None
        regions = [
            _regions(number * self.window, self.window, shift)
            for number, shift in zip((rows, columns), shifts, strict=True)
        ]
        regions = 3 * regions[0][:, None] + regions[1][None]
        regions = tf.reshape(regions, [rows, self.window, columns, self.window])
        regions = tf.reshape(tf.transpose(regions, [0, 2, 1, 3]), [-1, self.window**2])
        return tf.where(regions[:, :, None] == regions[:, None], 0.0, APART)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape


def relative_positions(window: int) -> np.ndarray:
    """`[w w, w w]` int32, row of the bias table for each pair of cells of a window."""
    cells = np.stack(np.meshgrid(np.arange(window), np.arange(window), indexing="ij"), -1).reshape(-1, 2)
    offsets = cells[:, None] - cells[None] + window - 1
    return (offsets[..., 0] * (2 * window - 1) + offsets[..., 1]).astype(np.int32)


def _sides(maps):
    dynamic = tf.shape(maps)
    return [dynamic[axis] if maps.shape[axis] is None else maps.shape[axis] for axis in (1, 2)]


def _differ(some: Any, others: Any) -> bool:
    """Whether sizes differ, or may."""
    return not all(isinstance(one, int) and one == other for one, other in zip(some, others, strict=True))


def _shift(shift, number):
    """The shift along a side of so many windows."""
    if shift == 0 or isinstance(number, int):
        return shift if isinstance(number, int) and number > 1 else 0
    return tf.where(number > 1, shift, 0)


def _is_none(shift):
    return isinstance(shift, int) and shift == 0


def _rolled(maps, starts):
    """Maps that begin so many cells further on, and go on where they began."""
    for axis, start in enumerate(starts, start=1):
        if _is_none(start):
            continue
        first, second = [slice(None)] * axis + [slice(start, None)], [slice(None)] * axis + [slice(0, start)]
        maps = tf.concat([maps[tuple(first)], maps[tuple(second)]], axis)
    return maps


def _regions(side, window, shift):
    """`[side]` int32, of a rolled side: 0 before the last window, in it 1, and 2 for what came round."""
    places = tf.range(side)
    is_shifted = tf.cast(shift > 0, tf.int32)
    return tf.cast(places >= side - window, tf.int32) * is_shifted + tf.cast(places >= side - shift, tf.int32)
