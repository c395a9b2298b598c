"""Mask R-CNN and Keypoint R-CNN in one: masks and keypoints of the same detections (He et al., ICCV 2017, section 5).

    images -> features -> propose -> classify -> masks, keypoints of detections                    `call`, `predict`
    images -> features -> propose -> sample -> classify, masks, keypoints of positives -> losses   `train_step`
"""

import keras

from keras_fpn.models.keypoint_detector import KeypointDetector
from keras_fpn.stages.classify import ClassifyStage
from keras_fpn.stages.keypoint import KeypointStage
from keras_fpn.stages.mask import MaskStage
from keras_fpn.stages.propose import ProposeStage


@keras.saving.register_keras_serializable("keras_fpn")
class MaskKeypointRCNN(KeypointDetector):
    """`FasterRCNN` and two stages more, one for the mask of each detection and one for its keypoints.

    Outputs, targets and losses are those of `MaskRCNN` and of `KeypointRCNN`.

    Args:
        num_classes, class_names, category_ids, backbone, profile, seed, num_keypoints, keypoint_names, skeleton: see
            `KeypointDetector`.
        **kwargs: dicts of differences from the profile, for the groups of `MaskRCNN` and of `KeypointRCNN`.

    Raises:
        UserError: for an unknown profile, setting or backbone, or names that do not number their K.
    """

    architecture = "mask_keypoint_rcnn"
    title = "Mask and Keypoint R-CNN on a feature pyramid"
    stage_types = (ProposeStage, ClassifyStage, MaskStage, KeypointStage)

    def __init__(self, num_classes=1, backbone="resnet50", *, name="mask_keypoint_rcnn", **kwargs):
        super().__init__(num_classes, backbone, name=name, **kwargs)
