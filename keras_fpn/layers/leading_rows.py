"""The rows of a padded batch that are worth computing, and the others filled up."""

import keras
import tensorflow as tf


class LeadingRows(keras.layers.Layer):
    """The rows up to the last that is no padding in any image of a batch.

    What is computed of each row can leave out those behind it. It has no weights and no arguments, and is a layer so
    that a runtime whose shapes are static can have `number` give all rows, see the exporters' adapters.
    """

    def number(self, counts: tf.Tensor, rows: int) -> tf.Tensor | int:
        """The greatest of `[B]` counts, from 1 to `rows`: no operation meets an empty tensor."""
        return tf.clip_by_value(tf.reduce_max(counts), 1, rows)

    def filled(self, values: tf.Tensor, counts: tf.Tensor, rows: int) -> tf.Tensor:
        """Values `[B, number, ...]` of the leading rows as `[B, rows, ...]`, 0 past the count of each image."""
        number, further = values.shape[1], len(values.shape) - 2
        number = tf.shape(values)[1] if number is None else number  # a constant where all rows are computed
        is_row = tf.reshape(tf.sequence_mask(counts, number), [-1, number, *[1] * further])
        values = tf.where(is_row, values, tf.zeros([], values.dtype))
        values = tf.pad(values, [[0, 0], [0, rows - number], *[[0, 0]] * further])
        return tf.ensure_shape(values, [None, rows, *values.shape[2:]])
