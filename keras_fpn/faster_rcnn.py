"""Faster R-CNN on a feature pyramid: the assembly of the stages (paper, sections 4 and 5.2).

    images -> features -> propose -> classify -> detections          `call`, `predict`
    images -> features -> propose -> sample -> classify -> losses    `train_step`, `test_step`

B images, R RoIs, K classes, D detections.
"""

import keras
import tensorflow as tf

from keras_fpn.batches import check_classes, check_targets, with_sizes
from keras_fpn.classifying import Classifying
from keras_fpn.proposing import Proposing


@keras.saving.register_keras_serializable("keras_fpn")
class FasterRCNN(Classifying, Proposing):
    """Two-stage detector on a feature pyramid.

    Outputs are detections, see `DetectionLayer`; inputs, targets and losses: see `Detector`. `fit` reports four losses
    and the share of the sampled positives that either stage gets right: `rpn_recall`, of positive anchors the share
    called an object, and `roi_recall`, of object RoIs the share given the right class.

    Args:
        num_classes: K, without background.
        backbone, profile, seed: see `Detector`.
        class_names: K names; "0".."K-1" without.
        category_ids: K ids of the classes in the data set's own numbering; 1..K without.
        pixels, resize, pyramid, anchors, rpn, proposals, anchor_targets, roi_targets, roi_pooling, box_head, losses,
            detections: dicts of differences from the profile, group by group.

    Raises:
        UserError: for an unknown profile, setting or backbone, or names and ids that do not number K.
    """

    title = "Faster R-CNN on a feature pyramid"
    GROUPS = tuple(dict.fromkeys((*Proposing.GROUPS, *Classifying.GROUPS)))
    loss_names = (*Proposing.loss_names, *Classifying.loss_names)
    recall_names = (*Proposing.recall_names, *Classifying.recall_names)

    def __init__(self, num_classes, backbone="resnet50", *, name="faster_rcnn", **kwargs):
        super().__init__(num_classes, backbone, name=name, **kwargs)

    def stages(self, inputs):
        """See `Detector`."""
        yield from super().stages(inputs)
        features = self.features(inputs)
        yield from self.classifying_stages(inputs, features, self.propose(features, inputs)[1])

    def inference(self, inputs):
        """Detections and proposals of a batch, of one forward pass.

        Returns:
            `{"detections": see DetectionLayer, "proposals": see ProposalLayer}`.
        """
        inputs = with_sizes(inputs)
        features = self.features(inputs)
        _, proposals = self.propose(features, inputs)
        return {"detections": self.detect(features, proposals, inputs), "proposals": proposals}

    def training_losses(self, inputs, targets, seed, training=True):
        """See `Detector`."""
        inputs = with_sizes(inputs)
        check_targets(targets)
        check_classes(targets["classes"], self.num_classes)
        features = self.features(inputs, training=training)
        rpn, proposals = self.propose(features, inputs, training=training)
        fold_in = tf.random.experimental.stateless_fold_in
        losses, recalls = self.rpn_losses(rpn, targets, fold_in(seed, 0))
        own_losses, own_recalls = self.roi_losses(features, proposals, targets, fold_in(seed, 1), training)
        return losses | own_losses, recalls | own_recalls
