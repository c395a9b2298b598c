"""Detections of all anchors, or of all points, that other ways of suppression choose than per class."""

from typing import Any

import keras
import tensorflow as tf

from keras_fpn.layers.dense_detections import DenseDetectionLayer
from keras_fpn.layers.point_detections import PointDetectionLayer
from keras_fpn.ops.soft_nms import DECAYS, soft_scores


@keras.saving.register_keras_serializable("keras_fpn")
class ClassAgnosticDenseDetections(DenseDetectionLayer):
    """A `DenseDetectionLayer` whose boxes suppress worse ones of all classes; see `ClassAgnosticDetections`."""

    def choose(self, boxes: tf.Tensor, scores: tf.Tensor, classes: tf.Tensor, num_classes: int) -> tf.Tensor:
        of_all = scores[:, None]
        kept = self.suppression(boxes, of_all, self.nms_threshold, self.max_detections, self.score_threshold)
        return tf.where(kept[:, 0], scores, float("-inf"))


@keras.saving.register_keras_serializable("keras_fpn")
class SoftDenseDetections(DenseDetectionLayer):
    """A `DenseDetectionLayer` with soft suppression per class; scores of detections are the lowered ones.

    Args:
        decay: "linear" or "gaussian", see `soft_nms.soft_scores`.
        sigma: of the Gaussian.
        **kwargs: see `DenseDetectionLayer`; `nms_threshold` is read by "linear" alone.

    Raises:
        ValueError: for an unknown `decay`.
    """

    def __init__(self, decay="linear", sigma=0.5, **kwargs):
        super().__init__(**kwargs)
        if decay not in DECAYS:
            raise ValueError(f"decay must be one of {DECAYS}, not {decay!r}")
        self.decay = decay
        self.sigma = sigma

    def choose(self, boxes: tf.Tensor, scores: tf.Tensor, classes: tf.Tensor, num_classes: int) -> tf.Tensor:
        return self.lowered(boxes, scores, classes, num_classes, self.score_threshold)

    def lowered(
        self, boxes: tf.Tensor, scores: tf.Tensor, classes: tf.Tensor, num_classes: int, score_threshold: float
    ) -> tf.Tensor:
        """`choose` with another threshold."""
        number = tf.shape(scores)[1]
        class_boxes = tf.reshape(tf.tile(boxes[:, None], [1, num_classes, 1, 1]), [-1, number, 4])
        class_scores = tf.reshape(self.by_class(scores, classes, num_classes), [-1, number])
        options: dict[str, Any] = {"iou_threshold": self.nms_threshold, "sigma": self.sigma}
        lowered = soft_scores(class_boxes, class_scores, self.decay, self.max_detections, score_threshold, **options)
        return tf.reduce_max(tf.reshape(lowered, [-1, num_classes, number]), axis=1)


@keras.saving.register_keras_serializable("keras_fpn")
class ClassAgnosticPointDetections(ClassAgnosticDenseDetections, PointDetectionLayer):
    """`ClassAgnosticDenseDetections` of points, see `PointDetectionLayer`."""


@keras.saving.register_keras_serializable("keras_fpn")
class SoftPointDetections(SoftDenseDetections, PointDetectionLayer):
    """`SoftDenseDetections` of points, see `PointDetectionLayer`."""
