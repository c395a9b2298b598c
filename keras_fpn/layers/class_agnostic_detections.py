"""Detections of which a box suppresses those of all classes."""

import keras
import tensorflow as tf

from keras_fpn.layers.detections import DetectionLayer


@keras.saving.register_keras_serializable("keras_fpn")
class ClassAgnosticDetections(DetectionLayer):
    """A `DetectionLayer` whose boxes suppress worse ones of all classes.

    Of one object that looks like two classes the likelier is left, and so is one of two objects of different classes
    that overlap by more than `nms_threshold`.
    """

    def choose(self, boxes: tf.Tensor, scores: tf.Tensor) -> tf.Tensor:
        shape = tf.shape(scores)
        flat_boxes, flat = tf.reshape(boxes, [shape[0], -1, 4]), tf.reshape(scores, [shape[0], 1, -1])
        kept = self.suppression(flat_boxes, flat, self.nms_threshold, self.max_detections, self.score_threshold)
        return tf.where(tf.reshape(kept, shape), scores, float("-inf"))
