"""RetinaNet: every anchor of a feature pyramid is classified at once (Lin et al., ICCV 2017).

    images -> features -> score every anchor -> detections                      `call`, `predict`
    images -> features -> score every anchor -> focal loss, box loss            `train_step`, `test_step`
"""

import keras

from keras_fpn.models.class_detector import ClassDetector
from keras_fpn.stages.dense import DenseStage


@keras.saving.register_keras_serializable("keras_fpn")
class RetinaNet(ClassDetector):
    """One-stage detector on a feature pyramid P3..P7.

    Outputs are detections, see `DenseDetectionLayer`; inputs, targets and losses: see `Detector`. `fit` reports
    `class_loss`, the focal loss of all anchors and classes, `box_loss`, and `class_recall`, of the positive anchors the
    share whose own class is the likeliest.

    Args:
        num_classes, class_names, category_ids: see `ClassDetector`.
        backbone, profile, seed: see `Detector`.
        pixels, resize, pyramid, anchors, dense_head, anchor_targets, dense_losses, detections: dicts of differences
            from the profile, group by group.

    Raises:
        UserError: for an unknown profile, setting or backbone, or names and ids that do not number K.
    """

    architecture = "retinanet"
    title = "RetinaNet on a feature pyramid"
    stage_types = (DenseStage,)

    def __init__(self, num_classes, backbone="resnet50", *, name="retinanet", **kwargs):
        super().__init__(num_classes, backbone, name=name, **kwargs)
