"""From class scores and boxes to the detections of each image."""

import keras
import tensorflow as tf

from keras_fpn.layers.fixed_arguments import FixedArguments
from keras_fpn.ops import boxes as box_ops
from keras_fpn.ops.nms import best, nms_mask


@keras.saving.register_keras_serializable("keras_fpn")
class DetectionLayer(FixedArguments, keras.layers.Layer):
    """Softmax, a box for each class, score threshold, suppression per class, the best of all classes.

    Every class above the threshold gives a detection of its own, as in Fast R-CNN and all its successors. Another way
    of suppression is a class derived from this one with a `choose` of its own, registered in `SUPPRESSIONS`.

    Args:
        num_classes: K; what the logits have more is the background and other rows of no class.
        score_threshold: probabilities above it are kept.
        nms_threshold: IoU above which the worse of two boxes of one class goes.
        max_detections: detections an image, D.
        min_size: boxes with a side below this many pixels are dropped; empty boxes always are.
        box_weights: factors of (dx, dy, dw, dh).
    """

    # The signature of `nms.nms_mask`: the exporters put the suppression of their runtime in its place.
    suppression = staticmethod(nms_mask)

    def __init__(
        self,
        num_classes,
        score_threshold=0.05,
        nms_threshold=0.5,
        max_detections=100,
        min_size=0.0,
        box_weights=(10.0, 10.0, 5.0, 5.0),
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        self.num_classes = num_classes
        self.score_threshold = score_threshold
        self.nms_threshold = nms_threshold
        self.max_detections = max_detections
        self.min_size = min_size
        self.box_weights = list(box_weights)

    def call(
        self,
        proposal_boxes: tf.Tensor,
        num_proposals: tf.Tensor,
        class_logits: tf.Tensor,
        deltas: tf.Tensor,
        image_sizes: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        """Detect.

        Args:
            proposal_boxes: `[B, R, 4]` pixels.
            num_proposals: `[B]` int, how many of the R are valid.
            class_logits: `[B, R, K + N]`: K classes, then the background, then any that count in the softmax but are
                no class.
            deltas: `[B, R, K, 4]`, or `[B, R, 1, 4]` of one box for all classes.
            image_sizes: `[B, 2]` height and width of the valid part of each image, pixels.

        Returns:
            `{"boxes": [B, D, 4], "scores": [B, D], "classes": [B, D] int32, "num_detections": [B] int32}`, pixels of
            the image that was given, best first, padded with 0 boxes, 0 scores and class -1.
        """
        return self._best(*self.candidates(proposal_boxes, num_proposals, class_logits, deltas, image_sizes))

    def candidates(
        self,
        proposal_boxes: tf.Tensor,
        num_proposals: tf.Tensor,
        class_logits: tf.Tensor,
        deltas: tf.Tensor,
        image_sizes: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Candidates of `call`: clipped boxes `[B, R, K, 4]` and scores `[B, R, K]`, 0 where there is no box.

        Arguments are those of `call`.
        """
        scores = tf.nn.softmax(tf.cast(class_logits, tf.float32))[..., : self.num_classes]  # [B, R, K]
        boxes = box_ops.decode(tf.cast(deltas, tf.float32), proposal_boxes[:, :, None], self.box_weights)
        boxes = box_ops.clip(boxes, image_sizes[:, None])  # [B, R, K or 1, 4]
        if deltas.shape[2] == 1 < self.num_classes:
            boxes = tf.tile(boxes, [1, 1, self.num_classes, 1])
        valid = tf.sequence_mask(num_proposals, tf.shape(scores)[1])[..., None]
        return boxes, tf.where(valid & box_ops.larger_than(boxes, self.min_size), scores, 0.0)

    def choose(self, boxes: tf.Tensor, scores: tf.Tensor) -> tf.Tensor:
        """Scores `[B, R, K]` after suppression, minus infinity of what is dropped.

        Args:
            boxes, scores: `[B, R, K, 4]` and `[B, R, K]`, see `candidates`.
        """
        shape = tf.shape(scores)
        class_boxes = tf.reshape(tf.transpose(boxes, [0, 2, 1, 3]), [-1, shape[1], 4])  # [B * K, R, 4]
        class_scores = tf.reshape(tf.transpose(scores, [0, 2, 1]), [-1, 1, shape[1]])
        kept = self.suppression(
            class_boxes, class_scores, self.nms_threshold, self.max_detections, self.score_threshold
        )
        kept = tf.transpose(tf.reshape(kept, [shape[0], shape[2], shape[1]]), [0, 2, 1])  # [B, R, K]
        return tf.where(kept, scores, float("-inf"))

    def _best(self, boxes, scores):
        shape, scores = tf.shape(scores), self.choose(boxes, scores)
        boxes, scores = tf.reshape(boxes, [shape[0], -1, 4]), tf.reshape(scores, [shape[0], -1])
        boxes, scores, indices, numbers = best(boxes, scores, self.max_detections)
        classes = tf.where(tf.sequence_mask(numbers, self.max_detections), indices % shape[2], -1)
        return {"boxes": boxes, "scores": scores, "classes": classes, "num_detections": numbers}
