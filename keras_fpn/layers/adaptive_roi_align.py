"""RoIs read from all levels and fused (Liu et al., PANet, CVPR 2018, section 3.2)."""

from collections.abc import Callable, Mapping

import keras
import tensorflow as tf

from keras_fpn.layers.normalization import build_norm, told_of_maps
from keras_fpn.layers.roi_align import RoIAlign


@keras.saving.register_keras_serializable("keras_fpn")
class AdaptiveRoIAlign(RoIAlign):
    """Crops of each box from every level, each level's through a 3x3 convolution of its own, and their maximum.

    It is the first of the convolutions of the authors' heads, which each level has for itself; a head after this
    pooling has one less. `canonical_size` and `canonical_level` are not asked.

    Args:
        norm: None, or a kind of `build_norm` after each convolution, which then has no bias.
        norm_epsilon: of the normalisation.
        **kwargs: see `RoIAlign`.
    """

    has_weights = True

    def __init__(self, norm=None, norm_epsilon=1e-5, **kwargs):
        super().__init__(**kwargs)
        self.norm = norm
        self.norm_epsilon = norm_epsilon

    def build(
        self, features_shape: Mapping[str, tuple[int | None, ...]], boxes_shape: tuple[int | None, ...] | None = None
    ) -> None:
        channels = next(iter(features_shape.values()))[-1] or 0
        self.first_layers, self.norms = {}, {}
        for level in self.strides:
            layer = self.make_first_layer(channels, f"{self.name}_{level}")
            layer.build((None, *self.read_shape(channels)))
            self.first_layers[level] = layer
            if self.norm is not None:
                norm = build_norm(self.norm, self.norm_epsilon, f"{layer.name}_norm", "roi_pooling")
                norm.dtype_policy = self.dtype_policy
                norm.build((None, *self.crop_shape(channels)))
                self.norms[level] = norm

    def make_first_layer(self, channels: int, name: str) -> keras.layers.Layer:
        """A level's own layer: of crops `[N, *read_shape]` that leaves `[N, *crop_shape]`, without a ReLU."""
        initializer = keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")  # as of the heads'
        return keras.layers.Conv2D(
            channels, 3, padding="same", use_bias=self.norm is None, kernel_initializer=initializer,
            dtype=self.dtype_policy, name=name,
        )  # fmt: skip

    def read_shape(self, channels: int) -> tuple[int, int, int]:
        """Height, width and channels of what a level's own layer reads of each crop."""
        return self.output_size, self.output_size, channels

    def read(
        self,
        crop: Callable[[tf.Tensor], tf.Tensor],
        own_level: tf.Tensor,
        training: bool,
        is_valid: tf.Tensor | None,
    ) -> tf.Tensor:
        """See `RoIPooling.read`; of `own_level` only the number of boxes is asked."""
        fused = None
        for index, level in enumerate(self.strides):
            crops = crop(tf.fill(tf.shape(own_level), index))
            crops = self.first_layers[level](tf.reshape(crops, [-1, *self.read_shape(crops.shape[-1])]))
            if self.norms:
                crops = self.norms[level](crops, **told_of_maps(self.norm, crops, training, is_valid))
            crops = tf.nn.relu(crops)
            fused = crops if fused is None else tf.maximum(fused, crops)
        return fused
