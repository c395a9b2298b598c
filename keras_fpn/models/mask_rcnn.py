"""Mask R-CNN on a feature pyramid: propose, classify, and a mask for each detection (He et al., ICCV 2017).

    images -> features -> propose -> classify -> masks of the detections                    `call`, `predict`
    images -> features -> propose -> sample -> classify, masks of the positives -> losses   `train_step`, `test_step`

B images, D detections, s side of a mask.
"""

import keras

from keras_fpn.models.class_detector import ClassDetector
from keras_fpn.stages.classify import ClassifyStage
from keras_fpn.stages.mask import MaskStage
from keras_fpn.stages.propose import ProposeStage


@keras.saving.register_keras_serializable("keras_fpn")
class MaskRCNN(ClassDetector):
    """`FasterRCNN` and a stage that gives each detection a mask.

    Outputs are detections, see `DetectionLayer`, and `"masks": [B, D, s, s]` float32: probabilities in the s x s equal
    bins of the box, 0 past the last detection; s is twice `mask_head.pooling_size`, 28. `keras_fpn.detect` and
    `keras-fpn evaluate` paste them into the image by the rule that `mask_pasting` names.

    Inputs and targets: see `Detector`; what the targets name besides follows from `mask_targets.rule`: `"polygons":
    [B, G, V, 3]` or `"bitmaps": [B, G, H, W]`, see `stages.mask_targets`. `fit` reports what `FasterRCNN` does, and
    `mask_loss`.

    Args:
        num_classes, class_names, category_ids: see `ClassDetector`.
        backbone, profile, seed: see `Detector`.
        pixels, resize, pyramid, anchors, rpn, proposals, anchor_targets, rpn_losses, roi_targets, roi_pooling,
            box_head, roi_losses, detections, mask_head, mask_targets, mask_pasting: dicts of differences from the
            profile, group by group.

    Raises:
        UserError: for an unknown profile, setting or backbone, or names and ids that do not number K.
    """

    architecture = "mask_rcnn"
    title = "Mask R-CNN on a feature pyramid"
    stage_types = (ProposeStage, ClassifyStage, MaskStage)

    def __init__(self, num_classes, backbone="resnet50", *, name="mask_rcnn", **kwargs):
        super().__init__(num_classes, backbone, name=name, **kwargs)
