"""Batch normalisation as detectors use it: usually frozen, because their batches are small."""

from typing import TYPE_CHECKING, Any

import keras

from keras_fpn.console.errors import UserError
from keras_fpn.console.naming import nearest

if TYPE_CHECKING:
    import tensorflow as tf

NORMS = ("frozen_batch_norm", "batch_norm")
LIVE_MOMENTUM = 0.9  # torch's momentum of 0.1 is the share of the new; Keras' is that of the old


@keras.saving.register_keras_serializable("keras_fpn")
class FrozenBatchNormalization(keras.layers.Layer):
    """Batch normalisation whose four vectors are constants: an affine map per channel, in training too.

    Args:
        epsilon: added to the variance; 1e-5 but for the COCO weights of torchvision's first ResNet-50, 0.
        initial_gamma: gamma before any weights are loaded.
    """

    def __init__(self, epsilon=1e-5, initial_gamma=1.0, **kwargs):
        super().__init__(**kwargs)
        self.epsilon = epsilon
        self.initial_gamma = initial_gamma

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        def constant(name, value):
            return self.add_weight(shape=(input_shape[-1],), initializer=value, trainable=False, name=name)

        self.gamma = constant("gamma", keras.initializers.Constant(self.initial_gamma))
        self.beta = constant("beta", "zeros")
        self.moving_mean = constant("moving_mean", "zeros")
        self.moving_variance = constant("moving_variance", "ones")

    def call(self, inputs: "tf.Tensor") -> "tf.Tensor":
        """`[..., C] -> [..., C]`"""
        # The affine map is made in float32 whatever the compute dtype: 1 / sqrt(variance) spans orders of magnitude.
        variables = (self.gamma, self.beta, self.moving_mean, self.moving_variance)
        gamma, beta, mean, variance = (variable.value for variable in variables)
        scale = gamma / keras.ops.sqrt(variance + self.epsilon)
        shift = beta - mean * scale
        return inputs * keras.ops.cast(scale, inputs.dtype) + keras.ops.cast(shift, inputs.dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"epsilon": self.epsilon, "initial_gamma": self.initial_gamma}


@keras.saving.register_keras_serializable("keras_fpn")
class MaskedBatchNormalization(keras.layers.BatchNormalization):
    """Live batch normalisation that is told which maps count: others are normalised and stay out of the statistics.

    Keras' own takes a mask, too, and hands it on to the layers after it, which know none.
    """

    def __init__(self, epsilon=1e-5, momentum=LIVE_MOMENTUM, **kwargs):
        super().__init__(epsilon=epsilon, momentum=momentum, **kwargs)

    def call(self, inputs: "tf.Tensor", is_valid: "tf.Tensor", training: bool | None = None) -> "tf.Tensor":
        """`[N, h, w, C]` and `[N, 1, 1]` bool -> `[N, h, w, C]`"""
        # A mask for each cell: Keras 3.8 would count each map as one cell.
        mask = keras.ops.broadcast_to(is_valid, keras.ops.shape(inputs)[:-1])
        return super().call(inputs, training=training, mask=mask)


def build_norm(
    kind: str, epsilon: float, name: str, group: str = "backbone", frozen_gamma: float = 1.0
) -> keras.layers.Layer:
    """A normalisation layer.

    Args:
        kind: "frozen_batch_norm", or "batch_norm" for one that learns its statistics.
        epsilon: added to the variance.
        name: name of the layer.
        group: group of settings that `kind` and `epsilon` come from, for errors to name.
        frozen_gamma: gamma that a frozen one has until weights are loaded.

    Raises:
        UserError: for an unknown kind, or an epsilon of 0 with statistics that are learnt.
    """
    if kind == "frozen_batch_norm":
        return FrozenBatchNormalization(epsilon=epsilon, initial_gamma=frozen_gamma, name=name)
    if kind != "batch_norm":
        raise UserError(f"{group}.norm: unknown value {kind!r}{nearest(kind, NORMS)}")
    if epsilon == 0:
        raise UserError(
            f"{group}.norm_epsilon: 0 suits frozen statistics only, a channel that is constant in a batch would "
            f"be divided by zero; set {group}.norm_epsilon to 1e-5"
        )
    return keras.layers.BatchNormalization(epsilon=epsilon, momentum=LIVE_MOMENTUM, name=name)
