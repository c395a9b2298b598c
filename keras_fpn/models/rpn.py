"""The region proposal network alone (paper, section 4.1): its proposals are the detections, without classes.

    images -> features -> propose -> detections                      `call`, `predict`
    images -> features -> score anchors -> sample -> losses          `train_step`, `test_step`
"""

import keras

from keras_fpn.models.detector import Detector
from keras_fpn.stages.propose import ObjectsStage


@keras.saving.register_keras_serializable("keras_fpn")
class RPN(Detector):
    """Class-agnostic detector: boxes that may hold an object, and how likely each does.

    Outputs are `{"boxes": [B, P, 4] pixels, "scores": [B, P] probabilities, "num_detections": [B] int32}`, best first,
    padded with 0; P is `proposals.post_nms_top_k_test`. Inputs, targets and losses: see `Detector`; of the targets'
    classes only the padding is read. `fit` reports `rpn_objectness_loss`, `rpn_box_loss` and `rpn_recall`, of the
    sampled positive anchors the share called an object. Where results need a class it is "object", category id 0.

    Args:
        backbone, profile, seed: see `Detector`.
        pixels, resize, pyramid, anchors, rpn, proposals, anchor_targets, rpn_losses: dicts of differences from the
            profile, group by group.
    """

    architecture = "rpn"
    title = "Region proposal network"
    stage_types = (ObjectsStage,)

    def __init__(self, backbone="resnet50", *, name="rpn", **kwargs):
        super().__init__(backbone, name=name, **kwargs)
