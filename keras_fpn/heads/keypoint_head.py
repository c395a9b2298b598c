"""The keypoint head: convolutions on each crop, and a heat map of four times its side for each keypoint.

Mask R-CNN, section 5: eight 3x3 convolutions, a transposed one and bilinear upsampling.
"""

from types import MappingProxyType
from typing import Any

import keras
import tensorflow as tf

from keras_fpn.heads.convolutions import build_convolutions, convolve, he_normal, make_convolutions
from keras_fpn.heads.keypoint_head_names import CHECKPOINT_NAMES
from keras_fpn.layers.fixed_arguments import FixedArguments

UPSAMPLED = 4  # sides of a crop in the side of its heat maps


@keras.saving.register_keras_serializable("keras_fpn")
class KeypointHead(FixedArguments, keras.layers.Layer):
    """Crops -> logits of where each keypoint is, over four times the crops' side.

    3x3 convolutions with ReLU, a 4x4 transposed convolution of stride 2 to one map for each keypoint, without
    activation, and a bilinear upsampling by 2 with half-pixel centres. All kernels begin He-normal by their fan-out,
    all biases 0 (torchvision, detectron2).

    Args:
        num_keypoints: K.
        conv_layers: number of 3x3 convolutions.
        channels: of each of them.

    Raises:
        ValueError: a number out of range.
    """

    checkpoint_names = CHECKPOINT_NAMES
    named_rows = MappingProxyType({"score_lowres": {"kernel": 2, "bias": 0}})  # see `parts.checkpoint_names`

    def __init__(self, num_keypoints=17, conv_layers=8, channels=512, **kwargs):
        super().__init__(**kwargs)
        if num_keypoints < 1 or conv_layers < 0 or channels < 1:
            raise ValueError("num_keypoints and channels must be 1 or more, conv_layers not negative")
        self.num_keypoints = num_keypoints
        self.conv_layers = conv_layers
        self.channels = channels
        self.norm = None
        self.convolutions, self.norms = make_convolutions(conv_layers, channels, self.norm, 0.0, "keypoint_head")
        # torch's padding of 1 cuts off what "same" does.
        self.score_lowres = keras.layers.Conv2DTranspose(
            num_keypoints, 4, strides=2, padding="same", kernel_initializer=he_normal(), name="score_lowres"
        )

    def build(self, crops_shape: tuple[Any, ...]) -> None:
        self.score_lowres.build(build_convolutions(self, crops_shape))

    def call(self, crops: tf.Tensor) -> tf.Tensor:
        """Locate.

        Args:
            crops: `[B, R, h, w, C]`.

        Returns:
            Logits `[B, R, 4h, 4w, K]`, float32.
        """
        shape = keras.ops.shape(crops)  # numbers where they are known
        maps = convolve(self, keras.ops.reshape(crops, (shape[0] * shape[1], *shape[2:])), False, None)
        logits = tf.cast(self.score_lowres(maps), tf.float32)
        sides = UPSAMPLED * shape[2], UPSAMPLED * shape[3]
        logits = tf.image.resize(logits, sides, method="bilinear")
        return tf.reshape(logits, [shape[0], shape[1], *sides, self.num_keypoints])
