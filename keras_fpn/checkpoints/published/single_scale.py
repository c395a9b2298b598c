"""detectron2's Faster R-CNNs without a pyramid: RPN and RoIs on one map of stride 16."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from keras_fpn.checkpoints import detectron2
from keras_fpn.checkpoints.published.faster_rcnn import Detectron2FasterRCNN, detectron2_units
from keras_fpn.checkpoints.published.identity import Identity
from keras_fpn.checkpoints.published.kind import register_published


@register_published
class Detectron2DC5(Detectron2FasterRCNN):
    """faster_rcnn_R_50_DC5 and faster_rcnn_R_101_DC5 of the model zoo: on C5 with a dilated res5."""

    words, is_default = "Faster R-CNN on a dilated C5", False
    patterns = (*Detectron2FasterRCNN.patterns, r"^backbone\.res\d\.")
    reached = {"faster_rcnn_r50_dc5": "box AP 37.3 (1x schedule) or 39.0 (3x)"}

    @classmethod
    def recognise(cls, tensors: Mapping[str, np.ndarray], backbone: str | None, file: Path) -> Identity:
        backbone = backbone or "resnet50"
        shared, notes = detectron2.shared_settings(tensors, backbone)
        title = f"faster_rcnn_{detectron2.short_name(backbone)}_DC5"
        return cls.identity(title, "faster_rcnn_r50_dc5", shared | detectron2_units(tensors), notes)


@register_published
class Detectron2C4(Detectron2FasterRCNN):
    """faster_rcnn_R_50_C4 and faster_rcnn_R_101_C4 of the model zoo: on C4, with res5 in the head."""

    words, is_default = "Faster R-CNN on C4", False
    patterns = (*Detectron2DC5.patterns, r"^roi_heads\.res5\.")
    reached = {"faster_rcnn_r50_c4": "box AP 35.7 (1x schedule) or 38.4 (3x)"}

    @classmethod
    def recognise(cls, tensors: Mapping[str, np.ndarray], backbone: str | None, file: Path) -> Identity:
        backbone = backbone or "resnet50"
        settings, notes = detectron2.shared_settings(tensors, backbone)
        title = f"faster_rcnn_{detectron2.short_name(backbone)}_C4"
        return cls.identity(title, "faster_rcnn_r50_c4", settings, notes)
