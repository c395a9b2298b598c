"""From the scores and deltas of all anchors to the detections of each image (RetinaNet, section 4.1)."""

from collections.abc import Mapping

import keras
import tensorflow as tf

from keras_fpn.layers.fixed_arguments import FixedArguments
from keras_fpn.ops import boxes as box_ops
from keras_fpn.ops.nms import best, nms_mask


@keras.saving.register_keras_serializable("keras_fpn")
class DenseDetectionLayer(FixedArguments, keras.layers.Layer):
    """Per level the best pairs of an anchor and a class, decoded; then suppression per class; then the best of all.

    An anchor may give detections of several classes. Another way of suppression is a class derived from this one with a
    `choose` of its own, registered in `DENSE_SUPPRESSIONS`.

    Args:
        score_threshold: probabilities above it are kept.
        pre_nms_top_k: pairs kept on each level before suppression.
        nms_threshold: IoU above which the worse of two boxes of one class goes.
        max_detections: detections an image, D.
        clip: "before_nms" (torchvision) or "after_nms" (detectron2): boxes that reach out of the image overlap less
            than what is seen of them.
        keep_empty: whether boxes that nothing is left of are detections, too (torchvision); without, they are dropped
            from the D best, which are fewer then (detectron2).
        box_weights: factors of (dx, dy, dw, dh).
    """

    # The signature of `nms.nms_mask`: the exporters put the suppression of their runtime in its place.
    suppression = staticmethod(nms_mask)
    settings_group: str | None = "detections"

    def __init__(
        self,
        score_threshold=0.05,
        pre_nms_top_k=1000,
        nms_threshold=0.5,
        max_detections=100,
        clip="after_nms",
        keep_empty=False,
        box_weights=(1.0, 1.0, 1.0, 1.0),
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        if clip not in ("before_nms", "after_nms"):
            raise ValueError(f"clip must be before_nms or after_nms, not {clip!r}")
        self.score_threshold = score_threshold
        self.pre_nms_top_k = pre_nms_top_k
        self.nms_threshold = nms_threshold
        self.max_detections = max_detections
        self.clip = clip
        self.keep_empty = keep_empty
        self.box_weights = list(box_weights)

    def call(
        self,
        predictions: Mapping[str, Mapping[str, tf.Tensor]],
        anchors: Mapping[str, tf.Tensor],
        image_sizes: tf.Tensor,
        num_classes: int,
    ) -> dict[str, tf.Tensor]:
        """Detect.

        Args:
            predictions: see `DenseHead`.
            anchors: `{level: [A_l, 4]}` pixels.
            image_sizes: `[B, 2]` height and width of the valid part of each image, pixels.
            num_classes: K, of the logits that are read.

        Returns:
            `{"boxes": [B, D, 4], "scores": [B, D], "classes": [B, D] int32, "num_detections": [B] int32}`, pixels of
            the image that was given, best first, padded with 0 boxes, 0 scores and class -1.
        """
        levels = [
            self.candidates({name: of_levels[level] for name, of_levels in predictions.items()}, own, num_classes)
            for level, own in anchors.items()
        ]
        boxes, scores, classes = (tf.concat(parts, axis=1) for parts in zip(*levels, strict=True))  # [B, N, ...]
        if self.clip == "before_nms":
            boxes = box_ops.clip(boxes, image_sizes)
        scores = self.choose(boxes, scores, classes, num_classes)
        boxes, scores, places, numbers = best(boxes, scores, self.max_detections)
        classes = _gathered(classes, places)
        if self.clip == "after_nms":
            boxes = box_ops.clip(boxes, image_sizes)
        if not self.keep_empty:
            is_there = tf.sequence_mask(numbers, self.max_detections) & box_ops.larger_than(boxes, 0.0)
            boxes, scores, places, numbers = best(
                boxes, tf.where(is_there, scores, float("-inf")), self.max_detections
            )
            classes = _gathered(classes, places)
        classes = tf.where(tf.sequence_mask(numbers, self.max_detections), classes, -1)
        return {"boxes": boxes, "scores": scores, "classes": classes, "num_detections": numbers}

    def candidates(
        self, predictions: Mapping[str, tf.Tensor], anchors: tf.Tensor, num_classes: int
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Boxes `[B, k, 4]` of a level, not clipped, their scores `[B, k]`, minus infinity at or below the threshold,
        and classes `[B, k]` int32.

        The best pairs are of the anchors whose best classes are best: only those anchors are looked at.
        """
        predictions = {name: tf.cast(value, tf.float32) for name, value in predictions.items()}
        predictions["class_logits"] = predictions["class_logits"][..., :num_classes]
        whole = predictions | {"class_logits": tf.reduce_max(predictions["class_logits"], axis=-1, keepdims=True)}
        number = tf.minimum(self.pre_nms_top_k, tf.shape(anchors)[0])
        _, places = tf.math.top_k(self.rank(whole)[..., 0], number)  # [B, n]
        predictions = {name: tf.gather(value, places, batch_dims=1) for name, value in predictions.items()}
        ranks = self.rank(predictions)  # [B, n, K]
        ranks = tf.reshape(ranks, [-1, number * num_classes])
        ranks, pairs = tf.math.top_k(ranks, tf.minimum(self.pre_nms_top_k, number * num_classes))
        boxes = self.decode(predictions, tf.gather(anchors, places))
        boxes = tf.gather(boxes, pairs // num_classes, batch_dims=1)
        scores = self.score(ranks)
        scores = tf.where(scores > self.score_threshold, scores, float("-inf"))
        return boxes, scores, pairs % num_classes

    def rank(self, predictions: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Values that rise with the score, here the logits: `{name: [B, n, ...]} -> [B, n, K]`"""
        return predictions["class_logits"]

    def score(self, ranks: tf.Tensor) -> tf.Tensor:
        """Probabilities of what `rank` gave."""
        return tf.sigmoid(ranks)

    def decode(self, predictions: Mapping[str, tf.Tensor], anchors: tf.Tensor) -> tf.Tensor:
        """Boxes `[B, n, 4]` of predictions `{name: [B, n, ...]}` and anchors `[B, n, 4]`."""
        return box_ops.decode(predictions["box_deltas"], anchors, self.box_weights)

    def choose(self, boxes: tf.Tensor, scores: tf.Tensor, classes: tf.Tensor, num_classes: int) -> tf.Tensor:
        """Scores `[B, N]` after suppression, minus infinity of what is dropped.

        Args:
            boxes, scores, classes: `[B, N, 4]`, `[B, N]` and `[B, N]`, see `candidates`.
            num_classes: K.
        """
        class_scores = self.by_class(scores, classes, num_classes)
        kept = self.suppression(boxes, class_scores, self.nms_threshold, self.max_detections, self.score_threshold)
        return tf.where(tf.reduce_any(kept, axis=1), scores, float("-inf"))

    @staticmethod
    def by_class(scores: tf.Tensor, classes: tf.Tensor, num_classes: int) -> tf.Tensor:
        """Scores `[B, K, N]` of each class by itself, minus infinity of the boxes of others."""
        is_of = classes[:, None] == tf.range(num_classes)[None, :, None]
        return tf.where(is_of, scores[:, None], float("-inf"))


def _gathered(classes, places):
    """Classes `[B, D]` int32 at places, of which those past the last are of padding."""
    return tf.gather(classes, tf.minimum(places, tf.shape(classes)[1] - 1), batch_dims=1)
