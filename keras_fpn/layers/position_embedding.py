"""Where a cell of a map is, learnt on square maps of one size (Dosovitskiy et al., ViT, ICLR 2021)."""

from typing import Any

import keras
import tensorflow as tf

from keras_fpn.layers.fixed_arguments import FixedArguments
from keras_fpn.layers.map_attention import map_sides
from keras_fpn.ops.interpolation import cubic_weights


@keras.saving.register_keras_serializable("keras_fpn")
class PositionEmbedding(FixedArguments, keras.layers.Layer):
    """Adds to every cell of a map the vector of its place; for maps of other sides these are resized, bicubically.

    Args:
        side: of the maps that the vectors are of, in cells. Before theirs is one of the class token, as in the files
            of classifiers, which is not read.
    """

    def __init__(self, side=14, **kwargs):
        super().__init__(**kwargs)
        self.side = side

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.embedding = self.add_weight(
            shape=(1, 1 + self.side**2, int(input_shape[-1] or 0)),
            initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            name="pos_embed",
        )

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """`[B, h, w, C] -> [B, h, w, C]`"""
        height, width = map_sides(inputs)
        places = tf.cast(self.embedding.value, inputs.dtype)[0, 1:]
        rows, columns = (self._weights(side, inputs.dtype) for side in (height, width))
        # Rows first, then the columns of each: two products.
        places = tf.matmul(rows, tf.reshape(places, [self.side, -1]))
        places = tf.reshape(places, [1, height, self.side, inputs.shape[-1]])
        return inputs + tf.matmul(tf.broadcast_to(columns, [1, height, width, self.side]), places)

    def _weights(self, length, dtype):
        if isinstance(length, int) and length == self.side:
            return tf.eye(self.side, dtype=dtype)
        return cubic_weights(self.side, length, dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[Any, ...]:
        return input_shape
