"""The part that is the same in every pooling of RoIs: which level each is read from, and the shape of the crops."""

import functools
from collections.abc import Callable, Mapping, Sequence

import keras
import tensorflow as tf

from keras_fpn.layers.fixed_arguments import FixedArguments
from keras_fpn.ops.levels import place_rois


class RoIPooling(FixedArguments, keras.layers.Layer):
    """Crops of fixed size from the level that suits each box (level rule of FPN, eq. 1); a subclass has `crop`.

    Args:
        output_size: height and width of a crop, in bins.
        strides: `{level: pixels between cells}` of the levels that are read.
        canonical_size, canonical_level: see `levels.roi_levels`.

    Attributes:
        has_weights: whether it is trained.
    """

    has_weights = False

    def __init__(self, output_size=7, strides=None, canonical_size=224.0, canonical_level=4, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.output_size = output_size
        self.strides = dict(sorted((strides or {"P2": 4, "P3": 8, "P4": 16, "P5": 32}).items()))
        self.canonical_size = canonical_size
        self.canonical_level = canonical_level

    def call(
        self,
        features: Mapping[str, tf.Tensor],
        boxes: tf.Tensor,
        training: bool = False,
        is_valid: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Crop.

        Args:
            features: `{level: [B, h, w, C]}`, at least the levels of `strides`.
            boxes: `[B, R, 4]` float32, pixels of the network's input.
            training, is_valid: for poolings with weights, as of `BoxHead.call`.

        Returns:
            `[B, R, *crop_shape]`, which is `[output_size, output_size, C]` here, in the dtype of the features.
        """
        shape, levels = tf.shape(boxes), list(self.strides)
        boxes, images, own_level = place_rois(boxes, levels, self.canonical_size, self.canonical_level)
        maps = [features[level] for level in levels]
        crops = self.read(functools.partial(self.crop, maps, boxes, images), own_level, training, is_valid)
        return tf.reshape(crops, [shape[0], shape[1], *self.crop_shape(maps[0].shape[-1])])

    def crop_shape(self, channels: int) -> tuple[int, int, int]:
        """Height, width and channels of what leaves of each crop of levels of so many channels."""
        return self.output_size, self.output_size, channels

    def read(
        self,
        crop: Callable[[tf.Tensor], tf.Tensor],
        own_level: tf.Tensor,
        training: bool,
        is_valid: tf.Tensor | None,
    ) -> tf.Tensor:
        """The crops that leave, `[N, *crop_shape]`.

        Args:
            crop: `crop` of all boxes, a function of the level that each is read from.
            own_level: see `crop`.
            training, is_valid: see `call`.
        """
        return crop(own_level)

    def crop(self, maps: Sequence[tf.Tensor], boxes: tf.Tensor, images: tf.Tensor, own_level: tf.Tensor) -> tf.Tensor:
        """Return the crops `[N, s, s, C]` of N boxes.

        Args:
            maps: `[B, h, w, C]` of each level of `strides`, finest first.
            boxes: `[N, 4]` float32, pixels of the network's input.
            images: `[N]` int32, index into the batch.
            own_level: `[N]` int32, index into `maps`.
        """
        raise NotImplementedError
