"""Fast R-CNN on given proposals (paper, sections 4.2 and 5.2.1; table 2).

    images -> features, proposals -> classify -> detections          `call`, `predict`
    images -> features, proposals -> sample -> classify -> losses    `train_step`, `test_step`

B images, P proposals, K classes.
"""

import keras

from keras_fpn.models.class_detector import ClassDetector
from keras_fpn.stages.classify import ClassifyStage
from keras_fpn.stages.given import GivenProposalsStage


@keras.saving.register_keras_serializable("keras_fpn")
class FastRCNN(ClassDetector):
    """The second stage of Faster R-CNN alone: proposals come with the images.

    Inputs are those of `Detector`, and `{"proposals": [B, P, 4] pixels of the images, "num_proposals": [B] int32}`,
    the valid ones first; `load_coco(..., proposals=...)` puts them there. Outputs are detections, see `DetectionLayer`;
    targets: see `Detector`. `fit` reports `roi_class_loss`, `roi_box_loss` and `roi_recall`, of object RoIs the share
    given the right class.

    Args:
        num_classes, class_names, category_ids: see `ClassDetector`.
        backbone, profile, seed: see `Detector`.
        pixels, resize, pyramid, roi_targets, roi_pooling, box_head, roi_losses, detections: dicts of differences from
            the profile, group by group.

    Raises:
        UserError: for an unknown profile, setting or backbone, or names and ids that do not number K.
    """

    architecture = "fast_rcnn"
    title = "Fast R-CNN on given proposals"
    stage_types = (GivenProposalsStage, ClassifyStage)

    def __init__(self, num_classes, backbone="resnet50", *, name="fast_rcnn", **kwargs):
        super().__init__(num_classes, backbone, name=name, **kwargs)
