"""The head of the segment proposals: small MLPs that slide over all levels (paper, section 6 and appendix A)."""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from keras_fpn.layers.fixed_arguments import FixedArguments


def _convolution(filters, kernel_size, name, initializer, activation=None):
    return keras.layers.Conv2D(
        filters, kernel_size, activation=activation, kernel_initializer=initializer, name=name
    )


@keras.saving.register_keras_serializable("keras_fpn")
class SegmentHead(FixedArguments, keras.layers.Layer):
    """MLPs of a k x k window of the pyramid: a hidden layer with ReLU, then one score and m x m mask logits.

    Each MLP has weights of its own, shared over the levels. The dense pass (`call`) gives scores everywhere; `at`
    gives scores and masks at chosen positions alone, by the same layers on the windows of those positions: the 1000
    best of an image have a hundredth of the positions, the 128 of training a thousandth.

    Args:
        units: width of the hidden layer.
        mask_size: m.
        kernel_sizes: k of each of the K MLPs, odd.
    """

    settings_group = "segments"

    def __init__(self, units=512, mask_size=14, kernel_sizes=(5, 7), **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.mask_size = mask_size
        self.kernel_sizes = list(kernel_sizes)
        # The hidden layer as fully connected layers start in the detectors, the outputs N(0, 0.01) as in Fast R-CNN.
        xavier = keras.initializers.VarianceScaling(1.0, "fan_in", "uniform")
        normal = keras.initializers.RandomNormal(stddev=0.01)
        # Without padding of their own: zeros are put around the maps, and a single window gives a single cell.
        self.hidden = [_convolution(units, k, f"hidden_{k}x{k}", xavier, "relu") for k in self.kernel_sizes]
        self.scores = [_convolution(1, 1, f"score_{k}x{k}", normal) for k in self.kernel_sizes]
        self.masks = [_convolution(mask_size**2, 1, f"mask_{k}x{k}", normal) for k in self.kernel_sizes]

    def build(self, features_shape: Mapping[str, tuple[int | None, ...]]) -> None:
        shape = next(iter(features_shape.values()))
        for hidden, score, mask in zip(self.hidden, self.scores, self.masks, strict=True):
            hidden.build(shape)
            score.build((*shape[:3], self.units))
            mask.build((*shape[:3], self.units))

    def call(self, features: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Score every position.

        Args:
            features: `{level: [B, h, w, C]}`, zeros outside.

        Returns:
            Logits `{level: [B, h * w * K]}` in the order (y, x, MLP).
        """
        return {level: self._scores_of(feature) for level, feature in features.items()}

    def _scores_of(self, feature):
        logits = []
        for size, hidden, score in zip(self.kernel_sizes, self.hidden, self.scores, strict=True):
            logits.append(score(hidden(_with_border(feature, size // 2))))
        logits = tf.concat(logits, axis=-1)  # [B, h, w, K]
        shape = tf.shape(logits)
        return tf.reshape(logits, [shape[0], shape[1] * shape[2] * len(self.kernel_sizes)])

    def at(self, features: Mapping[str, tf.Tensor], places: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """Scores and masks at chosen positions.

        Args:
            features: `{level: [B, h, w, C]}`, finest first.
            places: `segment_grid.Places` of `[B, S]`.

        Returns:
            Score logits `[B, S]` and mask logits `[B, S, m, m]`, float32; row 0 of a mask is its top.
        """
        shape, most = tf.shape(places.level), max(self.kernel_sizes)
        windows = _windows(list(features.values()), places, most)  # [B * S, most, most, C]
        outputs = None
        for index, size in enumerate(self.kernel_sizes):
            margin = (most - size) // 2
            hidden = self.hidden[index](windows[:, margin : margin + size, margin : margin + size])
            own = tf.concat([self.scores[index](hidden), self.masks[index](hidden)], axis=-1)
            own = tf.reshape(own, [shape[0], shape[1], 1 + self.mask_size**2])
            outputs = own if outputs is None else tf.where(places.mlp[..., None] == index, own, outputs)
        outputs = tf.cast(outputs, tf.float32)
        masks = tf.reshape(outputs[..., 1:], [shape[0], shape[1], self.mask_size, self.mask_size])
        return outputs[..., 0], masks


def _with_border(feature, cells):
    """`[B, h, w, C]` with zeros around it."""
    return tf.pad(feature, [[0, 0], [cells, cells], [cells, cells], [0, 0]])


def _windows(maps, places, size):
    """The cells around each place on its own level, zeros outside. `[B * S, size, size, C]`"""
    maps = [_with_border(feature, size // 2) for feature in maps]
    channels, images = maps[0].shape[-1], tf.shape(maps[0])[0]
    heights, widths = zip(*(tf.unstack(tf.shape(feature)[1:3]) for feature in maps), strict=True)
    starts, cells = [], 0
    for height, width in zip(heights, widths, strict=True):
        starts.append(cells)
        cells = cells + height * width
    rows = tf.concat([tf.reshape(feature, [images, -1, channels]) for feature in maps], axis=1)  # [B, cells, C]
    # One gather of rows for all images, levels and cells of a window: every runtime has it.
    start, width = tf.gather(tf.stack(starts), places.level), tf.gather(tf.stack(widths), places.level)  # [B, S]
    start += places.row * width + places.column + tf.range(images)[:, None] * cells
    steps = tf.range(size)
    indices = start[..., None, None] + steps[:, None] * width[..., None, None] + steps  # [B, S, size, size]
    windows = tf.gather(tf.reshape(rows, [-1, channels]), indices)
    return tf.reshape(windows, [-1, size, size, channels])
