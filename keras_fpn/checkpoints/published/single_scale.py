"""detectron2's Faster R-CNNs without a pyramid: RPN and RoIs on one map of stride 16."""

from collections.abc import Mapping

import numpy as np

from keras_fpn.checkpoints.published.faster_rcnn import Detectron2FasterRCNN
from keras_fpn.checkpoints.published.kind import register_published


@register_published
class Detectron2DC5(Detectron2FasterRCNN):
    """faster_rcnn_R_50_DC5 and faster_rcnn_R_101_DC5 of the model zoo: on C5 with a dilated res5."""

    words, is_default = "Faster R-CNN on a dilated C5", False
    patterns = (*Detectron2FasterRCNN.patterns, r"^backbone\.res\d\.")
    suffix, config, configs = "DC5", "faster_rcnn_r50_dc5", {}
    reached = {"faster_rcnn_r50_dc5": "box AP 37.3 (1x schedule) or 39.0 (3x)"}


@register_published
class Detectron2C4(Detectron2FasterRCNN):
    """faster_rcnn_R_50_C4 and faster_rcnn_R_101_C4 of the model zoo: on C4, with res5 in the head."""

    words, is_default = "Faster R-CNN on C4", False
    patterns = (*Detectron2DC5.patterns, r"^roi_heads\.res5\.")
    suffix, config, configs = "C4", "faster_rcnn_r50_c4", {}
    reached = {"faster_rcnn_r50_c4": "box AP 35.7 (1x schedule) or 38.4 (3x)"}

    @classmethod
    def head_sizes(cls, tensors: Mapping[str, np.ndarray]) -> dict[str, int]:
        """None: it is as wide as the backbone."""
        return {}
