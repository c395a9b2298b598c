"""RoI max pooling over the levels of a pyramid (Fast R-CNN, section 2.1; level rule of FPN, eq. 1)."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from keras_fpn.layers.roi_pooling import RoIPooling
from keras_fpn.ops.bin_maxima import bin_maxima


@keras.saving.register_keras_serializable("keras_fpn")
class RoIPool(RoIPooling):
    """The maximum of each bin of a box rounded to whole cells; an empty bin is 0.

    Args:
        output_size: height and width of a crop, in bins.
        strides: `{level: pixels between cells}` of the levels that are read.
        canonical_size, canonical_level: see `levels.roi_levels`.
    """

    def crop(self, maps: Sequence[tf.Tensor], boxes: tf.Tensor, images: tf.Tensor, own_level: tf.Tensor) -> tf.Tensor:
        """See `RoIPooling`."""
        places, crops = [], []
        for index, (feature, stride) in enumerate(zip(maps, self.strides.values(), strict=True)):
            of_level = tf.cast(tf.where(own_level == index)[:, 0], tf.int32)
            places.append(of_level)
            crops.append(self._pool(feature, tf.gather(boxes, of_level), tf.gather(images, of_level), stride))
        return tf.dynamic_stitch(places, crops)

    def _pool(self, feature, boxes, images, stride):
        top, bottom = self._bins(boxes[:, 1], boxes[:, 3], stride, tf.shape(feature)[1])
        left, right = self._bins(boxes[:, 0], boxes[:, 2], stride, tf.shape(feature)[2])
        shape = [-1, self.output_size, self.output_size]
        # Edges of every bin, [n, s, s]: rows differ along the second axis, columns along the third.
        top, bottom = (edge[:, :, None] + tf.zeros_like(left)[:, None, :] for edge in (top, bottom))
        left, right = (edge[:, None, :] + tf.zeros_like(top) for edge in (left, right))
        images = images[:, None, None] + tf.zeros_like(top)
        edges = [tf.reshape(edge, [-1]) for edge in (images, top, bottom, left, right)]
        crops = bin_maxima(feature, *edges)
        return tf.reshape(crops, [*shape, feature.shape[-1]])

    def _bins(self, low, high, stride, limit):
        """First cell of each bin and the one after its last, along one axis: `[n, s]` int32 each."""
        scale = 1.0 / float(stride)
        start, end = _round_half_away(low * scale), _round_half_away(high * scale)
        cells = tf.maximum(end - start + 1, 1)[:, None]
        bins = tf.range(self.output_size)[None]
        # In integers: floor(i w / s) and ceil((i + 1) w / s) must not depend on how a quotient is rounded.
        first = bins * cells // self.output_size + start[:, None]
        after = -(-(bins + 1) * cells // self.output_size) + start[:, None]
        return tf.clip_by_value(first, 0, limit), tf.clip_by_value(after, 0, limit)


def _round_half_away(values):
    """C's `round` to int32: halves go away from zero, unlike `tf.round`'s to even."""
    return tf.cast(tf.sign(values) * tf.floor(tf.abs(values) + 0.5), tf.int32)
