"""Keypoint R-CNN on a feature pyramid: propose, classify, and the keypoints of each detection (He et al., ICCV 2017).

    images -> features -> propose -> classify -> keypoints of detections                    `call`, `predict`
    images -> features -> propose -> sample -> classify, keypoints of positives -> losses   `train_step`, `test_step`

B images, G objects, D detections, K keypoints.
"""

import keras

from keras_fpn.models.keypoint_detector import KeypointDetector
from keras_fpn.stages.classify import ClassifyStage
from keras_fpn.stages.keypoint import KeypointStage
from keras_fpn.stages.propose import ProposeStage


@keras.saving.register_keras_serializable("keras_fpn")
class KeypointRCNN(KeypointDetector):
    """`FasterRCNN` and a stage that places the keypoints of each detection.

    Outputs are detections, see `DetectionLayer`, and `"keypoints": [B, D, K, 3]` float32: x and y in pixels of the
    image given, and a score, 0 past the last detection. The score is a logit under the torchvision profile; under
    detectron2's it is a share of the heat map that may exceed 1, see `ops.keypoints.decode`.

    Inputs and targets: see `Detector`; targets name `"keypoints": [B, G, K, 3]`, too: x and y in pixels of the
    network's input, and visibility, 0 without a label, 1 hidden, 2 visible. `fit` reports what `FasterRCNN` does,
    `keypoint_loss` and `keypoint_recall`.

    Args:
        num_classes, class_names, category_ids, backbone, profile, seed, num_keypoints, keypoint_names, skeleton: see
            `KeypointDetector`.
        pixels, resize, pyramid, anchors, rpn, proposals, anchor_targets, rpn_losses, roi_targets, roi_pooling,
            box_head, roi_losses, detections, keypoint_head, keypoint_losses, keypoint_places: dicts of differences
            from the profile, group by group.

    Raises:
        UserError: for an unknown profile, setting or backbone, or names that do not number their K.
    """

    architecture = "keypoint_rcnn"
    title = "Keypoint R-CNN on a feature pyramid"
    stage_types = (ProposeStage, ClassifyStage, KeypointStage)

    def __init__(self, num_classes=1, backbone="resnet50", *, name="keypoint_rcnn", **kwargs):
        super().__init__(num_classes, backbone, name=name, **kwargs)
