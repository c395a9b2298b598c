"""The head of FCOS: two towers, of which that of the boxes also tells how near the middle of its object a point is."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import keras

from keras_fpn.heads.dense_head import DenseHead
from keras_fpn.heads.dense_head_names import (
    TORCHVISION_BOXES,
    TORCHVISION_CLASSES,
    TORCHVISION_DELTAS,
    TORCHVISION_SCORES,
)

if TYPE_CHECKING:
    import tensorflow as tf

CENTERNESS = f"{TORCHVISION_BOXES}.bbox_ctrness"


def _torchvision(head, model):
    """A sequence there: convolution, normalisation, ReLU."""
    step, names = 3 if head.norm else 2, {}
    for tower, theirs in (("class", TORCHVISION_CLASSES), ("box", TORCHVISION_BOXES)):
        for index in range(head.conv_layers):
            names[f"{tower}_conv_{index}"] = f"{theirs}.conv.{step * index}"
            names[f"{tower}_norm_{index}"] = f"{theirs}.conv.{step * index + 1}"
    return names | {"class_logits": TORCHVISION_SCORES, "distances": TORCHVISION_DELTAS, "centerness": CENTERNESS}


@keras.saving.register_keras_serializable("keras_fpn")
class FCOSHead(DenseHead):
    """Levels -> class logits, distances to the sides of a box, and centre-ness of every point (FCOS, section 3).

    Arguments are those of `DenseHead`; `num_anchors` is 1, a point a cell. Distances begin at one stride, and not at
    torchvision's 0: behind a ReLU a side that falls below 0 everywhere has no gradient any more, and by AdamW at a rate
    of 0.002 all four did within a hundred steps (one seed of two).
    """

    checkpoint_names = {"torchvision": _torchvision}
    outputs_per_anchor = {"distances": 4, "centerness": 1}
    first_outputs = {"distances": 1.0}

    def call(self, features: "Mapping[str, tf.Tensor]") -> "dict[str, dict[str, tf.Tensor]]":
        """Predict on every level.

        Returns:
            As `DenseHead`: "class_logits"; "distances" `{level: [B, N_l, 4]}` to the left, the top, the right and the
            bottom, in strides of the level, none negative; "centerness" `{level: [B, N_l, 1]}`, logits.
        """
        outputs = super().call(features)
        distances = {level: keras.ops.relu(value) for level, value in outputs["distances"].items()}
        return outputs | {"distances": distances}
