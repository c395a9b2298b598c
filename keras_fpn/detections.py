"""From class scores and boxes to the detections of each image."""

import keras
import tensorflow as tf

from keras_fpn import boxes as box_ops
from keras_fpn.nms import batched_nms


@keras.saving.register_keras_serializable("keras_fpn")
class DetectionLayer(keras.layers.Layer):
    """Softmax, a box for each class, score threshold, suppression per class, the best of all classes.

    Every class above the threshold gives a detection of its own, as in Fast R-CNN and all its successors.

    Args:
        score_threshold: probabilities above it are kept.
        nms_threshold: IoU above which the worse of two boxes of one class goes.
        max_detections: detections an image, D.
        min_size: boxes with a side below this many pixels are dropped; empty boxes always are.
        box_weights: factors of (dx, dy, dw, dh).
    """

    def __init__(
        self,
        score_threshold=0.05,
        nms_threshold=0.5,
        max_detections=100,
        min_size=0.0,
        box_weights=(10.0, 10.0, 5.0, 5.0),
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        self.score_threshold = score_threshold
        self.nms_threshold = nms_threshold
        self.max_detections = max_detections
        self.min_size = min_size
        self.box_weights = list(box_weights)

    def call(self, proposal_boxes, num_proposals, class_logits, deltas, image_sizes):
        """Detect.

        Args:
            proposal_boxes: `[B, R, 4]` pixels.
            num_proposals: `[B]` int, how many of the R are valid.
            class_logits: `[B, R, K + 1]`, background last.
            deltas: `[B, R, K, 4]`.
            image_sizes: `[B, 2]` height and width of the valid part of each image, pixels.

        Returns:
            `{"boxes": [B, D, 4], "scores": [B, D], "classes": [B, D] int32, "num_detections": [B] int32}`, pixels of
            the image that was given, best first, padded with 0 boxes, 0 scores and class -1.
        """
        scores = tf.nn.softmax(tf.cast(class_logits, tf.float32))[..., :-1]  # [B, R, K]
        boxes = box_ops.decode(tf.cast(deltas, tf.float32), proposal_boxes[:, :, None], self.box_weights)
        boxes = box_ops.clip(boxes, image_sizes[:, None])  # [B, R, K, 4]
        valid = tf.sequence_mask(num_proposals, tf.shape(scores)[1])[..., None]
        scores = tf.where(valid & box_ops.larger_than(boxes, self.min_size), scores, 0.0)
        return self._best(boxes, scores)

    def _best(self, boxes, scores):
        num_classes, count = scores.shape[-1], self.max_detections

        # One row of nothing, so that no proposals at all still have a box to point at.
        boxes, scores = tf.pad(boxes, [[0, 0], [0, 1], [0, 0], [0, 0]]), tf.pad(scores, [[0, 0], [0, 1], [0, 0]])

        def one_image(image):
            image_boxes, image_scores = tf.reshape(image[0], [-1, 4]), tf.reshape(image[1], [-1])
            classes = tf.range(tf.size(image_scores)) % num_classes
            kept, valid = batched_nms(
                image_boxes, image_scores, classes, self.nms_threshold, count, self.score_threshold
            )
            is_valid = tf.range(count) < valid
            return (
                tf.where(is_valid[:, None], tf.gather(image_boxes, kept), 0.0),
                tf.where(is_valid, tf.gather(image_scores, kept), 0.0),
                tf.where(is_valid, kept % num_classes, -1),
                valid,
            )

        signature = (
            tf.TensorSpec([count, 4]),
            tf.TensorSpec([count]),
            tf.TensorSpec([count], tf.int32),
            tf.TensorSpec([], tf.int32),
        )
        best = tf.map_fn(one_image, (boxes, scores), fn_output_signature=signature)
        return dict(zip(("boxes", "scores", "classes", "num_detections"), best, strict=True))

    def get_config(self):
        return super().get_config() | {
            "score_threshold": self.score_threshold,
            "nms_threshold": self.nms_threshold,
            "max_detections": self.max_detections,
            "min_size": self.min_size,
            "box_weights": self.box_weights,
        }
