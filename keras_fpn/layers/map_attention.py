"""Attention among the cells of a map, in windows of it or in the whole (Vaswani et al. 2017)."""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_fpn.layers.fixed_arguments import FixedArguments

Length = Any  # an int, or a scalar tensor where the graph is of any size


class Windows(NamedTuple):
    """How a map is split: `rows` times `columns` windows of `height` times `width` cells."""

    rows: Length
    columns: Length
    height: Length
    width: Length

    @property
    def sides(self) -> tuple[Length, Length]:
        """Height and width of the map."""
        return self.rows * self.height, self.columns * self.width


class MapAttention(FixedArguments, keras.layers.Layer):
    """Multi-head attention of the cells of each window of a map among themselves; base of those that know places.

    Maps are padded with zeros below and to the right to whole windows, and the padding takes part.

    Args:
        num_heads: that the channels are split into.
        window: side of a window in cells; 0 for one window, the whole map.
    """

    def __init__(self, num_heads, window=0, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.window = window

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        channels = int(input_shape[-1] or 0)
        self.qkv = self._linear(channels, 3 * channels, "qkv")
        self.projection = self._linear(channels, channels, "projection")

    def _linear(self, inputs, units, name):
        initializer = keras.initializers.TruncatedNormal(stddev=0.02)
        layer = keras.layers.Dense(
            units, kernel_initializer=initializer, dtype=self.dtype_policy, name=f"{self.name}_{name}"
        )
        layer.build((None, inputs))
        return layer

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """`[B, h, w, C] -> [B, h, w, C]`"""
        height, width = map_sides(inputs)
        windows = self._windows(height, width)
        is_padded = _differ(windows.sides, (height, width))
        maps = inputs
        if is_padded:
            below, right = (whole - side for whole, side in zip(windows.sides, (height, width), strict=True))
            maps = tf.pad(maps, [[0, 0], [0, below], [0, right], [0, 0]])
        maps = self.attend(maps, windows)
        return self.projection(maps[:, :height, :width] if is_padded else maps)

    def _windows(self, height, width):
        if not self.window:
            return Windows(1, 1, height, width)
        # No negative number is divided: where ONNX rounds to 0, TensorFlow rounds down.
        rows, columns = ((side + self.window - 1) // self.window for side in (height, width))
        return Windows(rows, columns, self.window, self.window)

    def attend(self, maps: tf.Tensor, windows: Windows) -> tf.Tensor:
        """Maps `[B, h, w, C]` of what the cells of padded maps hear.

        They are split after the products, into heads and windows at once: each goes over the map once more.
        """
        channels = maps.shape[-1]
        query, key, value = (self._split(part, windows) for part in self._parts(maps))
        said = tf.nn.softmax(self.products(query, key, windows))
        heard = tf.reshape(
            tf.matmul(said, value),
            [-1, windows.columns, self.num_heads, windows.height, windows.width, channels // self.num_heads],
        )
        heard = tf.transpose(heard, [0, 3, 1, 4, 2, 5])
        return tf.reshape(heard, [-1, *windows.sides, channels])

    def products(self, query: tf.Tensor, key: tf.Tensor, windows: Windows) -> tf.Tensor:
        """Numbers that cells say to each other before the softmax, with what their places add.

        Args:
            query: `[B rows columns, heads, L, d]`, times d^-0.5; L cells of a window.
            key: the same.
            windows: of the map.

        Returns:
            `[B rows columns, heads, L, L]`.
        """
        return tf.matmul(query, key, transpose_b=True)

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

    def _split(self, cells, windows):
        """`[B rows height columns width, heads d] -> [B rows columns, heads, height width, d]`"""
        depth = cells.shape[-1] // self.num_heads
        split = [-1, windows.height, windows.columns, windows.width, self.num_heads, depth]
        cells = tf.transpose(tf.reshape(cells, split), [0, 2, 4, 1, 3, 5])
        return tf.reshape(cells, [-1, self.num_heads, windows.height * windows.width, depth])

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape


def map_sides(maps: tf.Tensor) -> list[Length]:
    """Height and width of `[B, h, w, C]`: ints where the graph knows them."""
    dynamic = tf.shape(maps)
    return [dynamic[axis] if maps.shape[axis] is None else maps.shape[axis] for axis in (1, 2)]


def _differ(some, others):
    """Whether lengths differ, or may."""
    pairs = zip(some, others, strict=True)
    return any(one is not other and not (isinstance(one, int) and one == other) for one, other in pairs)
