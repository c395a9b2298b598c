"""From the scores, distances and centre-ness of all points to the detections of each image (FCOS, section 3)."""

from collections.abc import Mapping

import keras
import tensorflow as tf

from keras_fpn.layers.dense_detections import DenseDetectionLayer
from keras_fpn.ops.points import decode_distances


@keras.saving.register_keras_serializable("keras_fpn")
class PointDetectionLayer(DenseDetectionLayer):
    """`DenseDetectionLayer` of points: the score is the root of the class's probability times the centre-ness."""

    def rank(self, predictions: Mapping[str, tf.Tensor]) -> tf.Tensor:
        return tf.sigmoid(predictions["class_logits"]) * tf.sigmoid(predictions["centerness"])

    def score(self, ranks: tf.Tensor) -> tf.Tensor:
        return tf.sqrt(ranks)

    def decode(self, predictions: Mapping[str, tf.Tensor], anchors: tf.Tensor) -> tf.Tensor:
        return decode_distances(predictions["distances"], anchors)
