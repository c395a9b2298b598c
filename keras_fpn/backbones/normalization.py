"""Batch normalisation as detectors use it: usually frozen, because their batches are small."""

import keras

from keras_fpn.errors import UserError

NORMS = ("frozen_batch_norm", "batch_norm")


@keras.saving.register_keras_serializable("keras_fpn")
class FrozenBatchNormalization(keras.layers.Layer):
    """Batch normalisation whose four vectors are constants: an affine map per channel, in training too.

    Args:
        epsilon: added to the variance; 1e-5 in detectron2, 0 in torchvision's first COCO weights.
    """

    def __init__(self, epsilon=1e-5, **kwargs):
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def build(self, input_shape):
        def constant(name, value):
            return self.add_weight(shape=(input_shape[-1],), initializer=value, trainable=False, name=name)

        self.gamma = constant("gamma", "ones")
        self.beta = constant("beta", "zeros")
        self.moving_mean = constant("moving_mean", "zeros")
        self.moving_variance = constant("moving_variance", "ones")

    def call(self, inputs):
        """`[..., C] -> [..., C]`"""
        # The affine map is made in float32 whatever the compute dtype: 1 / sqrt(variance) spans orders of magnitude.
        variables = (self.gamma, self.beta, self.moving_mean, self.moving_variance)
        gamma, beta, mean, variance = (variable.value for variable in variables)
        scale = gamma / keras.ops.sqrt(variance + self.epsilon)
        shift = beta - mean * scale
        return inputs * keras.ops.cast(scale, inputs.dtype) + keras.ops.cast(shift, inputs.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return super().get_config() | {"epsilon": self.epsilon}


def build_norm(kind, epsilon, name):
    """A normalisation layer: "frozen_batch_norm", or "batch_norm" for one that learns its statistics."""
    if kind == "frozen_batch_norm":
        return FrozenBatchNormalization(epsilon=epsilon, name=name)
    if kind == "batch_norm":
        if epsilon == 0:
            raise UserError(
                "backbone.norm_epsilon: 0 suits frozen statistics only, a channel that is constant in a batch would "
                "be divided by zero; set backbone.norm_epsilon to 1e-5"
            )
        return keras.layers.BatchNormalization(epsilon=epsilon, momentum=0.9, name=name)
    raise ValueError(f"norm must be one of {NORMS}, not {kind!r}")
