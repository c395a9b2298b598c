"""How many rows of a padded batch are worth computing."""

import keras
import tensorflow as tf


class LeadingRows(keras.layers.Layer):
    """The number of rows up to the last that is no padding in any image of a batch.

    What is computed of each row can leave out those behind it. It has no weights and no arguments, and is a layer so
    that a runtime whose shapes are static can have `number` give all rows, see the exporters' adapters.
    """

    def number(self, counts: tf.Tensor, rows: int) -> tf.Tensor | int:
        """The greatest of `[B]` counts, from 1 to `rows`: no operation meets an empty tensor."""
        return tf.clip_by_value(tf.reduce_max(counts), 1, rows)
