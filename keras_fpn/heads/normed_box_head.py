"""The box head with a normalisation after each fully connected layer (Liu et al., PANet, CVPR 2018)."""

from typing import TYPE_CHECKING, Any

import keras

from keras_fpn.heads.box_head import BoxHead
from keras_fpn.layers.normalization import build_norm, told_of_maps

if TYPE_CHECKING:
    import tensorflow as tf


@keras.saving.register_keras_serializable("keras_fpn")
class NormedBoxHead(BoxHead):
    """`BoxHead` whose fully connected layers are normalised before their ReLU; their biases stay.

    The convention is that of roi_2mlp_head_gn_panet of ShuLiu1993/PANet.

    Args:
        num_classes: K, without background.
        fc_norm: a kind of `build_norm`, "group_norm" in its authors'.
        **kwargs: see `BoxHead`; `norm_epsilon` is of these normalisations, too.
    """

    checkpoint_names = {}

    def __init__(self, num_classes, fc_norm="group_norm", **kwargs):
        super().__init__(num_classes, **kwargs)
        self.fc_norm = fc_norm
        self.fc_norms = []
        for layer in self._fc_layers():
            layer.activation = keras.activations.linear
            self.fc_norms.append(build_norm(fc_norm, self.norm_epsilon, f"{layer.name}_norm", "box_head"))

    def _fc_layers(self):
        return [layer for layer in (self.fc1, self.fc2) if layer is not None]

    def build(self, crops_shape: tuple[Any, ...]) -> None:
        super().build(crops_shape)
        for norm in self.fc_norms:
            norm.build((None, 1, 1, self.units))

    def hidden(self, flat: "tf.Tensor", training: bool, is_valid: "tf.Tensor | None") -> "tf.Tensor":
        """See `BoxHead.hidden`."""
        hidden = flat
        for layer, norm in zip(self._fc_layers(), self.fc_norms, strict=True):
            maps = keras.ops.reshape(layer(hidden), (-1, 1, 1, self.units))  # the normalisations' are maps
            maps = norm(maps, **told_of_maps(self.fc_norm, maps, training, is_valid))
            hidden = keras.ops.reshape(keras.ops.relu(maps), (-1, self.units))
        return hidden
