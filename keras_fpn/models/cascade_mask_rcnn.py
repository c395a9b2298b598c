"""Cascade Mask R-CNN on a feature pyramid: `CascadeRCNN`, and a mask for each detection.

Masks are learnt from the samples of the first head, and given to the final boxes, as detectron2 does it.
"""

import keras

from keras_fpn.models.class_detector import ClassDetector
from keras_fpn.stages.cascade import CascadeStage
from keras_fpn.stages.mask import MaskStage
from keras_fpn.stages.propose import ProposeStage


@keras.saving.register_keras_serializable("keras_fpn")
class CascadeMaskRCNN(ClassDetector):
    """`CascadeRCNN` and the stage of `MaskRCNN` that gives each detection a mask.

    Outputs, targets and losses are those of `CascadeRCNN`, and `"masks"` and `mask_loss` as of `MaskRCNN`.

    Args:
        num_classes, class_names, category_ids: see `ClassDetector`.
        backbone, profile, seed: see `Detector`.
        **kwargs: dicts of differences from the profile, for the groups of `CascadeRCNN` and of `MaskRCNN`.

    Raises:
        UserError: for an unknown profile, setting or backbone, or names and ids that do not number K.
    """

    architecture = "cascade_mask_rcnn"
    title = "Cascade Mask R-CNN on a feature pyramid"
    stage_types = (ProposeStage, CascadeStage, MaskStage)

    def __init__(self, num_classes, backbone="resnet50", *, name="cascade_mask_rcnn", **kwargs):
        super().__init__(num_classes, backbone, name=name, **kwargs)
