"""FCOS: every point of a feature pyramid is classified at once, without anchors (Tian et al., ICCV 2019).

    images -> features -> score every point -> detections                               `call`, `predict`
    images -> features -> score every point -> focal loss, GIoU, centre-ness            `train_step`, `test_step`
"""

import keras

from keras_fpn.models.class_detector import ClassDetector
from keras_fpn.stages.fcos import FCOSStage


@keras.saving.register_keras_serializable("keras_fpn")
class FCOS(ClassDetector):
    """Anchor-free one-stage detector on a feature pyramid P3..P7.

    Outputs are detections, see `PointDetectionLayer`; inputs, targets and losses: see `Detector`. `fit` reports
    `class_loss`, `box_loss`, `centerness_loss`, and `class_recall`, of the points of objects the share whose own class
    is the likeliest.

    Args:
        num_classes, class_names, category_ids: see `ClassDetector`.
        backbone, profile, seed: see `Detector`.
        pixels, resize, pyramid, points, dense_head, point_targets, dense_losses, detections: dicts of differences from
            the profile, group by group.

    Raises:
        UserError: for an unknown profile, setting or backbone, or names and ids that do not number K.
    """

    architecture = "fcos"
    title = "FCOS on a feature pyramid"
    stage_types = (FCOSStage,)

    def __init__(self, num_classes, backbone="resnet50", *, name="fcos", **kwargs):
        super().__init__(num_classes, backbone, name=name, **kwargs)
