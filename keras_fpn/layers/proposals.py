"""From the RPN's outputs to the best boxes of each image (Faster R-CNN, section 3; FPN, section 4.1)."""

from collections.abc import Mapping

import keras
import tensorflow as tf

from keras_fpn.layers.fixed_arguments import FixedArguments
from keras_fpn.ops import boxes as box_ops
from keras_fpn.ops.nms import best, nms_mask


@keras.saving.register_keras_serializable("keras_fpn")
class ProposalLayer(FixedArguments, keras.layers.Layer):
    """Per level: the best by objectness, decoded and clipped; then suppression per level; then the best of all.

    No gradient flows through proposals: training is the approximate joint training of Faster R-CNN.

    Args:
        pre_nms_top_k_train, pre_nms_top_k_test: boxes kept on each level before suppression.
        post_nms_top_k_train, post_nms_top_k_test: boxes kept in an image after it, over all levels.
        nms_threshold: IoU above which the worse of two boxes of one level goes.
        score_threshold: boxes whose objectness, as a probability, is below it are dropped before suppression
            (torchvision's `rpn_score_thresh`).
        min_size: sides below this many pixels are dropped; empty boxes always are.
        box_weights: factors of (dx, dy, dw, dh).
    """

    # The signature of `nms.nms_mask`: the exporters put the suppression of their runtime in its place.
    suppression = staticmethod(nms_mask)

    def __init__(
        self,
        pre_nms_top_k_train=2000,
        pre_nms_top_k_test=1000,
        post_nms_top_k_train=1000,
        post_nms_top_k_test=1000,
        nms_threshold=0.7,
        score_threshold=0.0,
        min_size=0.0,
        box_weights=(1.0, 1.0, 1.0, 1.0),
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        self.pre_nms_top_k_train = pre_nms_top_k_train
        self.pre_nms_top_k_test = pre_nms_top_k_test
        self.post_nms_top_k_train = post_nms_top_k_train
        self.post_nms_top_k_test = post_nms_top_k_test
        self.nms_threshold = nms_threshold
        self.score_threshold = score_threshold
        self.min_size = min_size
        self.box_weights = list(box_weights)

    def call(
        self,
        objectness: Mapping[str, tf.Tensor],
        deltas: Mapping[str, tf.Tensor],
        anchors: Mapping[str, tf.Tensor],
        image_sizes: tf.Tensor,
        training: bool = False,
    ) -> dict[str, tf.Tensor]:
        """Propose boxes.

        Args:
            objectness: `{level: [B, N_l]}` logits.
            deltas: `{level: [B, N_l, 4]}`.
            anchors: `{level: [N_l, 4]}` pixels.
            image_sizes: `[B, 2]` height and width of the valid part of each image, pixels.
            training: chooses between the two pairs of counts.

        Returns:
            `{"boxes": [B, P, 4], "scores": [B, P], "num_proposals": [B] int32}`: pixels and logits, float32, best
            first, padded with 0.
        """
        pre_nms = self.pre_nms_top_k_train if training else self.pre_nms_top_k_test
        post_nms = self.post_nms_top_k_train if training else self.post_nms_top_k_test
        levels = [
            self._nms_of_level(
                objectness[level], deltas[level], anchors[level], image_sizes, pre_nms, post_nms
            )
            for level in anchors
        ]
        boxes, scores = (tf.concat(parts, axis=1) for parts in zip(*levels, strict=True))  # [B, sum k_l, 4]
        boxes, scores, _, numbers = best(boxes, scores, post_nms)
        return {"boxes": boxes, "scores": scores, "num_proposals": numbers}

    def _nms_of_level(self, objectness, deltas, anchors, image_sizes, pre_nms, post_nms):
        """Boxes `[B, k, 4]` of a level and scores `[B, k]`, minus infinity for those that went."""
        scores, boxes = self._best_of_level(objectness, deltas, anchors, pre_nms)
        boxes = box_ops.clip(boxes, image_sizes)
        is_wanted = box_ops.larger_than(boxes, self.min_size) & (tf.sigmoid(scores) >= self.score_threshold)
        scores = tf.where(is_wanted, scores, float("-inf"))
        kept = self.suppression(boxes, scores[:, None], self.nms_threshold, post_nms)
        return boxes, tf.where(kept[:, 0], scores, float("-inf"))

    def _best_of_level(self, objectness, deltas, anchors, count):
        count = tf.minimum(count, tf.shape(objectness)[1])
        scores, indices = tf.math.top_k(tf.stop_gradient(tf.cast(objectness, tf.float32)), count)
        deltas = tf.gather(tf.stop_gradient(tf.cast(deltas, tf.float32)), indices, batch_dims=1)
        return scores, box_ops.decode(deltas, tf.gather(anchors, indices), self.box_weights)
