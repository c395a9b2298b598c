"""The normalisations that can be chosen: of batches, usually frozen for these are small, of groups, and of cells."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras

from keras_fpn.console.errors import UserError
from keras_fpn.console.naming import nearest
from keras_fpn.layers.group_normalization import GroupNormalization

if TYPE_CHECKING:
    import tensorflow as tf

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
            # Not cast on reading: 1 / sqrt(variance) spans orders of magnitude, whatever the compute dtype.
            shape = (input_shape[-1],)
            return self.add_weight(shape=shape, initializer=value, trainable=False, autocast=False, name=name)

        self.gamma = constant("gamma", keras.initializers.Constant(self.initial_gamma))
        self.beta = constant("beta", "zeros")
        self.moving_mean = constant("moving_mean", "zeros")
        self.moving_variance = constant("moving_variance", "ones")

    def call(self, inputs: "tf.Tensor", training: bool | None = None) -> "tf.Tensor":
        """`[..., C] -> [..., C]`"""
        if not has_one_operation(inputs):
            return self._product_and_sum(inputs)
        return self._differentiable(inputs) if training else in_one_operation(inputs, self)

    def _product_and_sum(self, inputs):
        scale, shift = scale_and_shift(self)
        return inputs * keras.ops.cast(scale, inputs.dtype) + keras.ops.cast(shift, inputs.dtype)

    def _differentiable(self, inputs):
        """Gradients of the one operation need what it was given, with which a convolution before cannot take it in."""
        import tensorflow as tf

        @tf.custom_gradient
        def normalise(maps):
            def gradient(upstream):
                scale, _ = scale_and_shift(self)
                return upstream * keras.ops.cast(scale, upstream.dtype)

            return in_one_operation(maps, self), gradient

        return normalise(inputs)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"epsilon": self.epsilon, "initial_gamma": self.initial_gamma}


@keras.saving.register_keras_serializable("keras_fpn")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras' own, of the last axis, which normalises by its running statistics in one operation where there is one."""

    def call(self, inputs: "tf.Tensor", training: bool | None = None, mask: "tf.Tensor | None" = None) -> "tf.Tensor":
        """`[..., C]`, and for training a mask `[...]` of the cells that count -> `[..., C]`"""
        if training and self.trainable:
            if self.synchronized:
                return self._synchronized(inputs, mask)
            return super().call(inputs, training=training, mask=mask)
        return in_one_operation(inputs, self) if has_one_operation(inputs) else super().call(inputs)

    def _synchronized(self, inputs, mask):
        from keras_fpn.layers.synchronized_moments import synchronized_moments

        maps = keras.ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        counts = keras.ops.ones(keras.ops.shape(maps)[:-1], "bool") if mask is None else mask
        moments = synchronized_moments(maps, counts)
        for variable, new in zip((self.moving_mean, self.moving_variance), moments, strict=True):
            variable.assign(self.momentum * variable + (1.0 - self.momentum) * keras.ops.cast(new, variable.dtype))
        normalised = keras.ops.batch_normalization(
            maps, *moments, axis=-1, offset=self.beta, scale=self.gamma, epsilon=self.epsilon
        )
        return keras.ops.cast(normalised, self.compute_dtype)


@keras.saving.register_keras_serializable("keras_fpn")
class MaskedBatchNormalization(BatchNormalization):
    """Live batch normalisation that is told which maps count: others are normalised and stay out of the statistics.

    The mask is an argument of its own: Keras hands one named `mask` on to the layers after it, which know none.
    """

    def __init__(self, epsilon=1e-5, momentum=LIVE_MOMENTUM, **kwargs):
        super().__init__(epsilon=epsilon, momentum=momentum, **kwargs)

    def call(self, inputs: "tf.Tensor", is_valid: "tf.Tensor", training: bool | None = None) -> "tf.Tensor":  # type: ignore[override]
        """`[N, h, w, C]` and `[N, 1, 1]` bool -> `[N, h, w, C]`"""
        # A mask for each cell: Keras 3.8 would count each map as one cell.
        mask = keras.ops.broadcast_to(is_valid, keras.ops.shape(inputs)[:-1])
        return super().call(inputs, training=training, mask=mask)


def _frozen(epsilon, frozen_gamma, name):
    return FrozenBatchNormalization(epsilon=epsilon, initial_gamma=frozen_gamma, name=name)


def _live(epsilon, frozen_gamma, name):
    return BatchNormalization(epsilon=epsilon, momentum=LIVE_MOMENTUM, name=name)


def _synchronised(epsilon, frozen_gamma, name):
    return BatchNormalization(epsilon=epsilon, momentum=LIVE_MOMENTUM, synchronized=True, name=name)


def _of_groups(epsilon, frozen_gamma, name):
    return GroupNormalization(groups=32, epsilon=epsilon, name=name)


def _of_cells(epsilon, frozen_gamma, name):
    return keras.layers.LayerNormalization(epsilon=epsilon, name=name)


# The settings' `Norm` has the same names.
NORMS: dict[str, Callable[[float, float, str], keras.layers.Layer]] = {
    "frozen_batch_norm": _frozen,
    "batch_norm": _live,
    "sync_batch_norm": _synchronised,
    "group_norm": _of_groups,
    "layer_norm": _of_cells,
}
LEARNS_STATISTICS = ("batch_norm", "sync_batch_norm")


def build_norm(
    kind: str, epsilon: float, name: str, group: str = "backbone", frozen_gamma: float = 1.0
) -> keras.layers.Layer:
    """A normalisation layer.

    Args:
        kind: "frozen_batch_norm"; "batch_norm" for one that learns its statistics, "sync_batch_norm" for one that
            learns them of the batches of all devices together; "group_norm" for 32 groups of channels; "layer_norm" for
            the channels of each cell.
        epsilon: added to the variance.
        name: name of the layer.
        group: group of settings that `kind` and `epsilon` come from, for errors to name.
        frozen_gamma: gamma that a frozen one has until weights are loaded.

    Raises:
        UserError: for an unknown kind, or an epsilon of 0 with statistics that are learnt.
    """
    if kind not in NORMS:
        raise UserError(f"{group}.norm: unknown value {kind!r}{nearest(kind, NORMS)}")
    if epsilon == 0 and kind != "frozen_batch_norm":
        raise UserError(
            f"{group}.norm_epsilon: 0 suits frozen statistics only, a channel that is constant in a batch would "
            f"be divided by zero; set {group}.norm_epsilon to 1e-5"
        )
    return NORMS[kind](epsilon, frozen_gamma, name)


def told_of_maps(kind: str | None, maps: "tf.Tensor", training: bool, is_valid: "tf.Tensor | None") -> dict[str, Any]:
    """Arguments of a normalisation's call besides the maps: one that learns statistics is told which of them count.

    Args:
        kind: see `build_norm`; None for none.
        maps: `[N, h, w, C]`.
        training: whether statistics are learnt.
        is_valid: `[B, R]` or `[N]` bool, False for maps that stay out of the statistics; all count without.
    """
    if kind not in LEARNS_STATISTICS:
        return {}
    if is_valid is None:
        return {"training": training}
    cells = keras.ops.shape(maps)[:3]
    return {"training": training, "mask": keras.ops.broadcast_to(keras.ops.reshape(is_valid, (-1, 1, 1)), cells)}


def told_what_counts(norm: BatchNormalization) -> MaskedBatchNormalization:
    """The same normalisation, of learnt statistics, which is told which maps count."""
    return MaskedBatchNormalization.from_config(norm.get_config())


def has_one_operation(inputs: "tf.Tensor") -> bool:
    """Whether TensorFlow normalises such maps by given statistics in one operation: `[B, H, W, C]`, not of float64."""
    return len(inputs.shape) == 4 and inputs.dtype in ("float32", "bfloat16", "float16")


def vectors(layer: keras.layers.Layer) -> "tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]":
    """Vectors of a normalisation: gamma, beta, mean and variance, `[C]` each."""
    return layer.gamma.value, layer.beta.value, layer.moving_mean.value, layer.moving_variance.value


def scale_and_shift(layer: keras.layers.Layer) -> "tuple[tf.Tensor, tf.Tensor]":
    """Factor of a normalisation by given statistics, and what it then adds, `[C]` each."""
    gamma, beta, mean, variance = vectors(layer)
    scale = gamma / keras.ops.sqrt(variance + layer.epsilon)
    return scale, beta - mean * scale


def in_one_operation(inputs: "tf.Tensor", layer: keras.layers.Layer) -> "tf.Tensor":
    """Maps `[B, H, W, C]` normalised by the statistics of a layer.

    A product and a sum would each go over the map once more; this operation goes over it once, or not at all where
    TensorFlow joins it to the convolution before. Its gradient is dearer than that of the two.
    """
    import tensorflow as tf

    gamma, beta, mean, variance = vectors(layer)
    return tf.raw_ops.FusedBatchNormV3(
        x=inputs, scale=gamma, offset=beta, mean=mean, variance=variance, epsilon=layer.epsilon, is_training=False
    ).y
