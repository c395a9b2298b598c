"""The region proposal network alone (paper, section 4.1): its proposals are the detections, without classes.

    images -> features -> propose -> detections                      `call`, `predict`
    images -> features -> score_anchors -> sample -> losses          `train_step`, `test_step`
"""

import keras
import tensorflow as tf

from keras_fpn.batches import check_targets, with_sizes
from keras_fpn.proposing import Proposing


@keras.saving.register_keras_serializable("keras_fpn")
class RPN(Proposing):
    """Class-agnostic detector: boxes that may hold an object, and how likely each does.

    Outputs are `{"boxes": [B, P, 4] pixels, "scores": [B, P] probabilities, "num_detections": [B] int32}`, best first,
    padded with 0; P is `proposals.post_nms_top_k_test`. Inputs, targets and losses: see `Detector`; of the targets'
    classes only the padding is read. `fit` reports `rpn_objectness_loss`, `rpn_box_loss` and `rpn_recall`, of the
    sampled positive anchors the share called an object. Where results need a class it is "object", category id 0.

    Args:
        backbone, profile, seed: see `Detector`.
        pixels, resize, pyramid, anchors, rpn, proposals, anchor_targets, losses: dicts of differences from the
            profile, group by group.
    """

    title = "Region proposal network"
    main_metric = "proposals/AR1000"

    def __init__(self, backbone="resnet50", *, name="rpn", **kwargs):
        super().__init__(backbone, name=name, **kwargs)
        self.build()

    def inference(self, inputs):
        """`{"detections": see the class}` of a batch."""
        inputs = with_sizes(inputs)
        _, proposals = self.propose(self.features(inputs), inputs)
        count = proposals["num_proposals"]
        is_valid = tf.sequence_mask(count, tf.shape(proposals["scores"])[1])
        # Sorted again: the logistic of float32 is off by one bit here and there, not alike at all places of a vector.
        scores = tf.sort(tf.where(is_valid, tf.sigmoid(proposals["scores"]), 0.0), direction="DESCENDING")
        return {"detections": {"boxes": proposals["boxes"], "scores": scores, "num_detections": count}}

    def training_losses(self, inputs, targets, seed, training=True):
        """See `Detector`."""
        inputs = with_sizes(inputs)
        check_targets(targets)
        rpn = self.score_anchors(self.features(inputs, training=training), inputs)
        return self.rpn_losses(rpn, targets, tf.random.experimental.stateless_fold_in(seed, 0))

    def coco_metrics(self, evaluator, detections, proposals=None, image_ids=None):
        """Average recall: see `COCOEvaluator.proposals`."""
        return evaluator.proposals(detections, image_ids)
