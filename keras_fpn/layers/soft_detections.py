"""Detections whose scores a better box lowers, in the place of dropping them (Soft-NMS, ICCV 2017)."""

from typing import Any

import keras
import tensorflow as tf

from keras_fpn.layers.detections import DetectionLayer
from keras_fpn.ops.soft_nms import DECAYS, soft_scores


@keras.saving.register_keras_serializable("keras_fpn")
class SoftDetections(DetectionLayer):
    """A `DetectionLayer` with soft suppression per class; scores of detections are the lowered ones.

    Args:
        num_classes: see `DetectionLayer`.
        decay: "linear" or "gaussian", see `soft_nms.soft_scores`.
        sigma: of the Gaussian.
        **kwargs: see `DetectionLayer`; `nms_threshold` is read by "linear" alone.

    Raises:
        ValueError: for an unknown `decay`.
    """

    def __init__(self, num_classes, decay="linear", sigma=0.5, **kwargs):
        super().__init__(num_classes, **kwargs)
        if decay not in DECAYS:
            raise ValueError(f"decay must be one of {DECAYS}, not {decay!r}")
        self.decay = decay
        self.sigma = sigma

    def choose(self, boxes: tf.Tensor, scores: tf.Tensor) -> tf.Tensor:
        return self.lowered(boxes, scores, self.score_threshold)

    def lowered(self, boxes: tf.Tensor, scores: tf.Tensor, score_threshold: float) -> tf.Tensor:
        """`choose` with another threshold."""
        shape = tf.shape(scores)
        class_boxes = tf.reshape(tf.transpose(boxes, [0, 2, 1, 3]), [-1, shape[1], 4])  # [B * K, R, 4]
        class_scores = tf.reshape(tf.transpose(scores, [0, 2, 1]), [-1, shape[1]])
        options: dict[str, Any] = {"iou_threshold": self.nms_threshold, "sigma": self.sigma}
        lowered = soft_scores(
            class_boxes, class_scores, self.decay, self.max_detections, score_threshold, **options
        )
        return tf.transpose(tf.reshape(lowered, [shape[0], shape[2], shape[1]]), [0, 2, 1])
