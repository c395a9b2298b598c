"""The head of the region proposal network, shared over the levels (paper, section 4.1)."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import keras

from keras_fpn.layers.fixed_arguments import FixedArguments

if TYPE_CHECKING:
    import tensorflow as tf


def _convolution(filters, kernel_size, name, activation=None):
    # N(0, 0.01) for all new layers (Faster R-CNN, section 3.1).
    return keras.layers.Conv2D(
        filters,
        kernel_size,
        padding="same",
        activation=activation,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
        name=name,
    )


def _detectron2(head, model):
    # Several convolutions are a sequence there, one is a layer of its own.
    hidden = "conv" if head.conv_layers == 1 else r"conv.conv\1"
    return {
        r"conv_(\d+)": rf"proposal_generator.rpn_head.{hidden}",
        "objectness": "proposal_generator.rpn_head.objectness_logits",
        "deltas": "proposal_generator.rpn_head.anchor_deltas",
    }


CHECKPOINT_NAMES = {
    "torchvision": {
        r"conv_(\d+)": r"rpn.head.conv.\1.0",
        "objectness": "rpn.head.cls_logits",
        "deltas": "rpn.head.bbox_pred",
    },
    "detectron2": _detectron2,
}


@keras.saving.register_keras_serializable("keras_fpn")
class RPNHead(FixedArguments, keras.layers.Layer):
    """3x3 convolution with ReLU, then one objectness logit and four deltas for each anchor.

    Args:
        channels: channels of the hidden convolution.
        num_anchors: anchors in a cell, A.
        conv_layers: number of hidden convolutions (2 in torchvision's v2 models).
    """

    checkpoint_names = CHECKPOINT_NAMES
    settings_group = "rpn"

    def __init__(self, channels=256, num_anchors=3, conv_layers=1, **kwargs):
        super().__init__(**kwargs)
        self.channels = channels
        self.num_anchors = num_anchors
        self.conv_layers = conv_layers
        self.hidden = [_convolution(channels, 3, f"conv_{i}", activation="relu") for i in range(conv_layers)]
        self.objectness = _convolution(num_anchors, 1, "objectness")
        self.deltas = _convolution(num_anchors * 4, 1, "deltas")

    def build(self, features_shape: Mapping[str, tuple[int | None, ...]]) -> None:
        shape = next(iter(features_shape.values()))
        for layer in self.hidden:
            layer.build(shape)
            shape = (*shape[:3], self.channels)
        self.objectness.build(shape)
        self.deltas.build(shape)

    def call(self, features: "Mapping[str, tf.Tensor]") -> "dict[str, dict[str, tf.Tensor]]":
        """Predict on every level.

        Args:
            features: `{level: [B, h, w, C]}`.

        Returns:
            `{"objectness": {level: [B, h * w * A]}, "deltas": {level: [B, h * w * A, 4]}}`, logits and deltas in
            the order (y, x, anchor), the order of the anchors.
        """
        objectness, deltas = {}, {}
        for level, feature in features.items():
            for layer in self.hidden:
                feature = layer(feature)
            anchors = keras.ops.shape(feature)[1] * keras.ops.shape(feature)[2] * self.num_anchors
            objectness[level] = keras.ops.reshape(self.objectness(feature), (-1, anchors))
            deltas[level] = keras.ops.reshape(self.deltas(feature), (-1, anchors, 4))
        return {"objectness": objectness, "deltas": deltas}
