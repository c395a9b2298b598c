"""Objects are found at points, without anchors (FCOS; Tian et al., ICCV 2019).

    features -> score every point -> detections
    features -> score every point -> label every point -> focal loss, GIoU, centre-ness

B images, N points of all levels.
"""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from keras_fpn.heads.fcos_head import FCOSHead
from keras_fpn.layers.anchors import AnchorGenerator
from keras_fpn.ops.giou import giou_loss
from keras_fpn.ops.points import centerness, decode_distances, encode_distances
from keras_fpn.stages.dense import DenseStage
from keras_fpn.stages.fcos_settings import POINT_SUPPRESSIONS
from keras_fpn.stages.fcos_targets import point_labels
from keras_fpn.stages.stage import StageContext, Tensors


class FCOSStage(DenseStage):
    """Points, an `FCOSHead` and a `PointDetectionLayer`: gives "detections".

    The "anchors" that it has are the cells around the points, as wide as the stride.
    """

    loss_names = ("class_loss", "box_loss", "centerness_loss")
    suppressions = POINT_SUPPRESSIONS

    @staticmethod
    def make_anchors(context: StageContext) -> AnchorGenerator:
        """The layer that gives the cells of every level."""
        sizes = {level: [stride] for level, stride in context.strides.items()}
        return AnchorGenerator(sizes, [1.0], dict(context.strides), name="anchors", **context.settings["points"])

    def make_head(self, settings: Mapping[str, Any]) -> FCOSHead:
        """The head, of its group of settings."""
        return FCOSHead(self.num_classes, 1, name="dense_head", **settings)

    def label(self, anchors: Mapping[str, tf.Tensor], targets: Tensors) -> dict[str, tf.Tensor]:
        """Targets of the points of all levels, see `point_labels`."""
        return point_labels(anchors, targets, **self.context.settings["point_targets"])

    def sums(
        self, predictions: Tensors, anchors: tf.Tensor, labelled: Tensors, settings: Mapping[str, Any]
    ) -> dict[str, tf.Tensor]:
        """`{loss: [B]}`, summed over the points of each image."""
        is_positive = labelled["classes"] >= 0
        distances = tf.where(is_positive[..., None], predictions["distances"], 0.5)  # of the others: the cell itself
        box = tf.where(is_positive, giou_loss(decode_distances(distances, anchors), labelled["boxes"]), 0.0)
        wanted = centerness(encode_distances(labelled["boxes"], anchors))
        logits = predictions["centerness"][..., 0]
        middle = tf.nn.sigmoid_cross_entropy_with_logits(labels=wanted, logits=logits)
        middle = tf.where(is_positive, middle, 0.0)
        return {
            "class_loss": self.class_loss(predictions["class_logits"], labelled, settings),
            "box_loss": settings["box_weight"] * tf.reduce_sum(box, axis=-1),
            "centerness_loss": settings["centerness_weight"] * tf.reduce_sum(middle, axis=-1),
        }
