"""How many rows of a padded batch are worth computing."""

from collections.abc import Callable

import keras
import tensorflow as tf


class LeadingRows(keras.layers.Layer):
    """The rows up to the last that is no padding in any image of a batch.

    It has no weights and no arguments, and is a layer so that a runtime whose shapes are static can `compute` in a way
    of its own, see the exporters' adapters.
    """

    def compute(self, function: Callable[..., tf.Tensor], counts: tf.Tensor, *rows: tf.Tensor) -> tf.Tensor:
        """Call a function with the leading rows; those behind them it never sees.

        Args:
            function: called with the leading `[B, n, ...]` of `rows`, n at least 1; gives `[B, n, ...]`, each row of
                that made of one row.
            counts: `[B]` int32, how many rows of each image are no padding.
            rows: `[B, D, ...]` each, D known.

        Returns:
            `[B, D, ...]`, 0 where a row is padding.
        """
        total = rows[0].shape[1]
        number = tf.clip_by_value(tf.reduce_max(counts), 1, total)  # no operation meets an empty tensor
        values = without_padding(function(*(each[:, :number] for each in rows)), counts)
        further = [[0, 0]] * (len(values.shape) - 2)
        values = tf.pad(values, [[0, 0], [0, total - number], *further])
        return tf.ensure_shape(values, [None, total, *values.shape[2:]])


def without_padding(values: tf.Tensor, counts: tf.Tensor) -> tf.Tensor:
    """Values `[B, n, ...]`, but 0 in the rows of each image from its count, `[B]`, on."""
    is_row = tf.sequence_mask(counts, tf.shape(values)[1])
    return tf.where(is_row[(..., *[None] * (len(values.shape) - 2))], values, tf.zeros([], values.dtype))
