"""Sums of maps whose weights are learnt (Tan et al., EfficientDet, CVPR 2020, section 3.3)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import keras

from keras_fpn.layers.fixed_arguments import FixedArguments

if TYPE_CHECKING:
    import tensorflow as tf

EPSILON = 1e-4


def _shares(weights):
    """Rectified weights over their sum: the fast normalised fusion."""
    positive = keras.ops.relu(weights)
    return positive / (keras.ops.sum(positive) + EPSILON)


NORMALISATIONS = {"fast": _shares, "softmax": keras.ops.softmax}


@keras.saving.register_keras_serializable("keras_fpn")
class WeightedSum(FixedArguments, keras.layers.Layer):
    """Sum of maps of one shape, each times its share of the weights; all weights begin alike.

    Args:
        normalisation: how weights become shares: "fast", relu(w_i) / (sum of relu(w) + 1e-4), or "softmax".

    Raises:
        ValueError: for an unknown normalisation.
    """

    def __init__(self, normalisation="fast", **kwargs):
        super().__init__(**kwargs)
        if normalisation not in NORMALISATIONS:
            raise ValueError(f"normalisation must be one of {', '.join(NORMALISATIONS)}, not {normalisation!r}")
        self.normalisation = normalisation

    def build(self, input_shape: Sequence[tuple[int | None, ...]]) -> None:
        # Shares are computed in float32 and cast: in 16 bits the epsilon would be lost.
        shape = (len(input_shape),)
        self.map_weights = self.add_weight(shape=shape, initializer="ones", autocast=False, name="weights")

    def call(self, inputs: "Sequence[tf.Tensor]") -> "tf.Tensor":
        """List of `[B, h, w, C] -> [B, h, w, C]`"""
        shares = NORMALISATIONS[self.normalisation](self.map_weights.value)
        shares = keras.ops.unstack(keras.ops.cast(shares, inputs[0].dtype), len(inputs))
        total = inputs[0] * shares[0]
        for maps, share in zip(inputs[1:], shares[1:], strict=True):
            total = total + maps * share
        return total

    def compute_output_shape(self, input_shape: Sequence[tuple[int | None, ...]]) -> tuple[int | None, ...]:
        return tuple(input_shape[0])
