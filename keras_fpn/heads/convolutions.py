"""The 3x3 convolutions that heads of RoIs begin with, each with a normalisation where one is chosen."""

from typing import TYPE_CHECKING, Any

import keras

from keras_fpn.layers.normalization import build_norm, told_of_maps

if TYPE_CHECKING:
    import tensorflow as tf


def he_normal() -> keras.initializers.Initializer:
    """He-normal by the fan-out, torch's `kaiming_normal_(mode="fan_out")`, for one layer.

    An initializer of Keras draws the same numbers each time: layers that share one begin alike.
    """
    return keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")


def make_convolutions(
    number: int, channels: int, norm: str | None, norm_epsilon: float, group: str
) -> tuple[list[keras.layers.Layer], list[keras.layers.Layer]]:
    """`(convolutions, norms)` of a head, to be built by `build_convolutions`; no norms where `norm` is None.

    He-normal by their fan-out, without a bias where a normalisation follows (torchvision, detectron2).

    Args:
        number: of the convolutions.
        channels: of each.
        norm, norm_epsilon, group: see `build_norm`.

    Raises:
        UserError: see `build_norm`.
    """
    convolutions = [
        keras.layers.Conv2D(
            channels, 3, padding="same", use_bias=not norm, kernel_initializer=he_normal(), name=f"conv_{index}"
        )
        for index in range(number)
    ]
    norms = [build_norm(norm, norm_epsilon, f"norm_{index}", group=group) for index in range(number)] if norm else []
    return convolutions, norms


def build_convolutions(head: keras.layers.Layer, crops_shape: tuple[Any, ...]) -> tuple[Any, ...]:
    """Make the variables of a head's `convolutions` and `norms`; returns the shape `[N, h, w, C]` that they leave.

    Args:
        crops_shape: `(B, R, h, w, C)`.
    """
    shape = (None, *crops_shape[2:])
    for index, layer in enumerate(head.convolutions):
        layer.build(shape)
        shape = (*shape[:3], layer.filters)
        if head.norms:
            head.norms[index].build(shape)
    return shape


def convolve(
    head: keras.layers.Layer, maps: "tf.Tensor", training: bool, is_valid: "tf.Tensor | None"
) -> "tf.Tensor":
    """Maps `[B * R, h, w, C]` after a head's convolutions, normalisations and ReLUs.

    Args:
        training: whether live batch normalisation learns its statistics.
        is_valid: `[B, R]` bool, False for crops that stay out of the statistics; all count without.
    """
    told = told_of_maps(head.norm, maps, training, is_valid)
    for index, layer in enumerate(head.convolutions):
        maps = layer(maps)
        if head.norms:
            maps = head.norms[index](maps, **told)
        maps = keras.ops.relu(maps)
    return maps
