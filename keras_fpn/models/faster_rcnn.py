"""Faster R-CNN on a feature pyramid: propose, then classify (paper, sections 4 and 5.2).

    images -> features -> propose -> classify -> detections          `call`, `predict`
    images -> features -> propose -> sample -> classify -> losses    `train_step`, `test_step`
"""

import keras

from keras_fpn.models.class_detector import ClassDetector
from keras_fpn.stages.classify import ClassifyStage
from keras_fpn.stages.propose import ProposeStage


@keras.saving.register_keras_serializable("keras_fpn")
class FasterRCNN(ClassDetector):
    """Two-stage detector on a feature pyramid.

    Outputs are detections, see `DetectionLayer`; inputs, targets and losses: see `Detector`. `fit` reports four losses
    and the share of the sampled positives that either stage gets right: `rpn_recall`, of positive anchors the share
    called an object, and `roi_recall`, of object RoIs the share given the right class.

    Args:
        num_classes, class_names, category_ids: see `ClassDetector`.
        backbone, profile, seed: see `Detector`.
        pixels, resize, pyramid, anchors, rpn, proposals, anchor_targets, rpn_losses, roi_targets, roi_pooling,
            box_head, roi_losses, detections: dicts of differences from the profile, group by group.

    Raises:
        UserError: for an unknown profile, setting or backbone, or names and ids that do not number K.
    """

    architecture = "faster_rcnn"
    title = "Faster R-CNN on a feature pyramid"
    stage_types = (ProposeStage, ClassifyStage)

    def __init__(self, num_classes, backbone="resnet50", *, name="faster_rcnn", **kwargs):
        super().__init__(num_classes, backbone, name=name, **kwargs)
