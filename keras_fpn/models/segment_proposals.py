"""Segment proposals: masks of whatever may be an object, without classes (paper, section 6, appendix A; table 6).

    images -> features -> score positions -> the best -> masks there         `call`, `predict`
    images -> features -> sampled positions -> scores, masks -> losses       `train_step`, `test_step`

B images, N positions, S samples, D detections, m side of a mask.
"""

import keras

from keras_fpn.models.detector import Detector
from keras_fpn.stages.segment import SegmentStage


@keras.saving.register_keras_serializable("keras_fpn")
class SegmentProposals(Detector):
    """Class-agnostic segments: 5x5 and 7x7 MLPs over the pyramid, half an octave apart.

    Outputs are `{"boxes": [B, D, 4], "scores": [B, D], "masks": [B, D, m, m], "num_detections": [B] int32}`, best
    first, padded with 0: a box is the window that its mask covers, in pixels of the image given and not clipped to it;
    scores are probabilities, and so are masks, of m x m equal bins of the window. D is `segments.max_detections`;
    nothing is suppressed.

    Inputs and targets: see `Detector`; targets name `"masks": [B, G, M, M] 0 or 1`, too, each object over its own box.
    Of the classes only the padding is read. `fit` reports `segment_score_loss`, `segment_mask_loss` (its weight
    included) and `segment_recall`, of the sampled positive positions the share called an object. Where results need a
    class it is "object", category id 0.

    Args:
        backbone, profile, seed: see `Detector`.
        pixels, resize, pyramid, segments: dicts of differences from the profile, group by group. The paper's pyramid
            has 128 channels here.

    Raises:
        UserError: for an unknown profile, setting or backbone, or kernel sizes that are not a scale's.
    """

    architecture = "segment_proposals"
    title = "Segment proposals on a feature pyramid"
    stage_types = (SegmentStage,)

    def __init__(self, backbone="resnet50", *, name="segment_proposals", **kwargs):
        super().__init__(backbone, name=name, **kwargs)
