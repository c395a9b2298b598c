"""Cascade R-CNN on a feature pyramid: propose, then classify and refine three times (Cai and Vasconcelos, CVPR 2018).

    images -> features -> propose -> classify, refine -> classify, refine -> classify -> detections    `call`, `predict`
    images -> features -> propose -> sample -> the same, each matched at its own IoU -> losses         `train_step`
"""

import keras

from keras_fpn.models.class_detector import ClassDetector
from keras_fpn.stages.cascade import CascadeStage
from keras_fpn.stages.propose import ProposeStage


@keras.saving.register_keras_serializable("keras_fpn")
class CascadeRCNN(ClassDetector):
    """`FasterRCNN` with a row of box heads, each of which takes the boxes that the one before refined.

    Outputs are detections, see `DetectionLayer`; inputs, targets and losses: see `Detector`. `fit` reports the two
    losses and the recall of each head, under `roi`, `roi_2` and `roi_3`, beside those of the proposals. How many heads
    there are `cascade` says; all read the same pooling and are made as `box_head` says, with one box for all classes.

    Args:
        num_classes, class_names, category_ids: see `ClassDetector`.
        backbone, profile, seed: see `Detector`.
        pixels, resize, pyramid, anchors, rpn, proposals, anchor_targets, rpn_losses, roi_targets, roi_pooling,
            box_head, roi_losses, detections, cascade: dicts of differences from the profile, group by group.

    Raises:
        UserError: for an unknown profile, setting or backbone, or names and ids that do not number K.
    """

    architecture = "cascade_rcnn"
    title = "Cascade R-CNN on a feature pyramid"
    stage_types = (ProposeStage, CascadeStage)

    def __init__(self, num_classes, backbone="resnet50", *, name="cascade_rcnn", **kwargs):
        super().__init__(num_classes, backbone, name=name, **kwargs)
