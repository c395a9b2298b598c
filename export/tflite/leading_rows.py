"""The leading rows of a padded batch, some at a time in a loop: every shape is static, and yet few rows cost little.

XNNPACK takes the layers in the body of a loop as it takes others, as long as no shape there hangs on a number.
"""

from collections.abc import Callable

import tensorflow as tf

from keras_fpn.layers.leading_rows import without_padding

ROWS = 10  # at a time: few enough to waste little, enough to keep a core busy


def compute(function: Callable[..., tf.Tensor], counts: tf.Tensor, *rows: tf.Tensor) -> tf.Tensor:
    """`LeadingRows.compute` for one image and static shapes: the same arguments and the same answer."""
    total = rows[0].shape[1]
    if total <= ROWS:
        return without_padding(function(*rows), counts)
    chunks = -(-total // ROWS)
    shape = _shape_of(function, [each[:, :ROWS] for each in rows])

    def step(chunk, values):
        # Gathered, since a slice from a number on has no static shape in LiteRT. The last chunk may run over the end.
        places = tf.minimum(chunk * ROWS + tf.range(ROWS), total - 1)
        found = function(*(tf.gather(each, places, axis=1) for each in rows))
        is_chunk = tf.reshape(tf.range(chunks) == chunk, [chunks, *[1] * (len(shape) - 1)])
        return chunk + 1, tf.where(is_chunk, tf.ensure_shape(found, shape), values)

    start = tf.constant(0), tf.zeros([chunks, *shape[1:]])
    _, values = tf.while_loop(lambda chunk, values: chunk * ROWS < counts[0], step, start)
    return without_padding(tf.reshape(values, [1, chunks * ROWS, *shape[2:]])[:, :total], counts)


def _shape_of(function, rows):
    """`[1, n, ...]` that the function gives; what is traced for it does not stay in the graph."""
    specs = [tf.TensorSpec(each.shape, each.dtype) for each in rows]
    traced = tf.function(lambda *given: function(*given), input_signature=specs, autograph=False)
    return traced.get_concrete_function().structured_outputs.shape.as_list()
