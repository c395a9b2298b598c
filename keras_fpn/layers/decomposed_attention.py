"""Attention with positions relative in height and in width, each by itself (Li et al., MViTv2, CVPR 2022; ViTDet)."""

import keras
import tensorflow as tf

from keras_fpn.layers.map_attention import Length, MapAttention, Windows
from keras_fpn.ops.interpolation import linear_weights


@keras.saving.register_keras_serializable("keras_fpn")
class DecomposedAttention(MapAttention):
    """Multi-head attention of the cells of a map, to whose products the relative row and column of two cells add.

    The conventions are detectron2's: `said[i, j] = q_i k_j / sqrt(d) + q_i R_h[row] + q_i R_w[column]`, d channels a
    head; a table for windows or maps of another side than it has is interpolated.

    Args:
        num_heads: that the channels are split into.
        window: side of a window in cells; 0 for one window, the whole map.
        side: of the maps that the tables are of, in cells: 2 * side - 1 rows; that of the window where there is one.
    """

    def __init__(self, num_heads, window=0, side=64, **kwargs):
        super().__init__(num_heads, window, **kwargs)
        self.side = side

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        super().build(input_shape)
        shape = (2 * (self.window or self.side) - 1, int(input_shape[-1] or 0) // self.num_heads)
        self.rows_table, self.columns_table = (
            self.add_weight(shape=shape, initializer="zeros", name=name) for name in ("rel_pos_h", "rel_pos_w")
        )

    def products(self, query: tf.Tensor, key: tf.Tensor, windows: Windows) -> tf.Tensor:
        """Products with what places add, made at once: they are further channels of queries and keys.

        Added afterwards they would go over `[..., L, L]` twice more.
        """
        height, width, depth = windows.height, windows.width, query.shape[-1]
        cells = tf.reshape(query * depth**0.5, [-1, self.num_heads, height, width, depth])
        of_rows = tf.matmul(cells, self._relative(self.rows_table, height, query.dtype))
        turned = tf.transpose(cells, [0, 1, 3, 2, 4])
        of_columns = tf.matmul(turned, self._relative(self.columns_table, width, query.dtype))
        of_columns = tf.transpose(of_columns, [0, 1, 3, 2, 4])
        places = tf.reshape(
            tf.concat([of_rows, of_columns], -1), [-1, self.num_heads, height * width, height + width]
        )
        here = tf.broadcast_to(_places(height, width, key.dtype), tf.shape(places))
        return super().products(tf.concat([query, places], -1), tf.concat([key, here], -1), windows)

    def _relative(self, table, length: Length, dtype):
        """`[length, d, length]`: what a query of a line hears of each line."""
        table = tf.transpose(tf.cast(table.value, dtype))
        rows = table.shape[1]
        if not isinstance(length, int) or 2 * length - 1 != rows:
            table = tf.matmul(table, linear_weights(rows, 2 * length - 1, dtype), transpose_b=True)
        lines = tf.range(length)
        # Along the last axis, where the gradient is a dense tensor.
        found = tf.gather(table, lines[:, None] - lines + length - 1, axis=1)
        return tf.transpose(found, [1, 0, 2])


def _places(height, width, dtype):
    """`[height width, height + width]`: 1 at the row and at the column of each cell."""
    rows = tf.broadcast_to(tf.eye(height, dtype=dtype)[:, None], [height, width, height])
    columns = tf.broadcast_to(tf.eye(width, dtype=dtype)[None], [height, width, width])
    return tf.reshape(tf.concat([rows, columns], -1), [height * width, height + width])
