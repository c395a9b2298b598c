"""Attention within windows of a map, with shifted windows in turn (Liu et al., Swin Transformer, ICCV 2021)."""

import keras
import numpy as np
import tensorflow as tf

from keras_fpn.layers.map_attention import MapAttention, Windows

APART = -100.0  # added to what cells of different regions say to each other


@keras.saving.register_keras_serializable("keras_fpn")
class WindowAttention(MapAttention):
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
        super().__init__(num_heads, window, **kwargs)
        self.shift = shift

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        super().build(input_shape)
        self.bias_table = self.add_weight(
            shape=((2 * self.window - 1) ** 2, self.num_heads),
            initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            name="relative_position_bias_table",
        )

    def attend(self, maps: tf.Tensor, windows: Windows) -> tf.Tensor:
        shifts = self._shifts(windows)
        heard = super().attend(_rolled(maps, shifts), windows)
        back = [0 if _is_none(shift) else side - shift for side, shift in zip(windows.sides, shifts, strict=True)]
        return _rolled(heard, back)

    def products(self, query: tf.Tensor, key: tf.Tensor, windows: Windows) -> tf.Tensor:
        said = super().products(query, key, windows) + tf.cast(self._bias(), query.dtype)
        apart = self._apart(windows)
        if apart is None:
            return said
        number, cells = windows.rows * windows.columns, self.window**2
        said = tf.reshape(said, [-1, number, self.num_heads, cells, cells])
        return tf.reshape(said + tf.cast(apart[:, None], said.dtype), [-1, self.num_heads, cells, cells])

    def _shifts(self, windows):
        return [_shift(self.shift, number) for number in (windows.rows, windows.columns)]

    def _bias(self):
        """`[heads, L, L]`"""
        places = relative_positions(self.window)
        # Along the last axis, where the gradient is a dense tensor.
        bias = tf.gather(tf.transpose(self.bias_table.value), places.reshape(-1), axis=1)
        return tf.reshape(bias, [self.num_heads, *places.shape])

    def _apart(self, windows):
        """`[rows columns, L, L]` of 0, and -100 where a window's cells are no neighbours; None where all are."""
        shifts = self._shifts(windows)
        if all(map(_is_none, shifts)):
            return None
        sides = zip(windows.sides, shifts, strict=True)
        rows, columns = (_regions(side, self.window, shift) for side, shift in sides)
        regions = 3 * rows[:, None] + columns[None]
        regions = tf.reshape(regions, [windows.rows, self.window, windows.columns, self.window])
        regions = tf.reshape(tf.transpose(regions, [0, 2, 1, 3]), [-1, self.window**2])
        return tf.where(regions[:, :, None] == regions[:, None], 0.0, APART)


def relative_positions(window: int) -> np.ndarray:
    """`[w w, w w]` int32, row of the bias table for each pair of cells of a window."""
    cells = np.stack(np.meshgrid(np.arange(window), np.arange(window), indexing="ij"), -1).reshape(-1, 2)
    offsets = cells[:, None] - cells[None] + window - 1
    return (offsets[..., 0] * (2 * window - 1) + offsets[..., 1]).astype(np.int32)


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
