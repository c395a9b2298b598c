"""The Cascade R-CNNs with a pyramid of detectron2: its Faster and Mask R-CNNs, with a row of box heads."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from keras_fpn.checkpoints.published.faster_rcnn import Detectron2FasterRCNN
from keras_fpn.checkpoints.published.identity import Identity
from keras_fpn.checkpoints.published.kind import register_published
from keras_fpn.checkpoints.published.mask_rcnn import Detectron2MaskRCNN
from keras_fpn.heads.box_head_names import BOXES, CLASS_SCORES
from keras_fpn.heads.cascade_head_names import in_row

_PATTERNS = (r"^proposal_generator\.", r"^roi_heads\.box_predictor\.\d\.", r"^roi_heads\.box_head\.\d\.fc\d\.")


def _of_cascade(identity: Identity, name: str, plain: str) -> Identity:
    """The identity of a model with one box head as that of one with several.

    Args:
        name: of the configuration of its family that is shipped, "cascade_rcnn".
        plain: how titles of the model with one head begin.
    """
    return dataclasses.replace(
        identity, title=identity.title.replace(plain, name), config=f"{name}_r50_fpn"
    )


@register_published
class Detectron2CascadeRCNN(Detectron2FasterRCNN):
    """A cascade without masks, of which the model zoo has none."""

    architecture, words, is_default = "cascade_rcnn", "Cascade R-CNN", False
    reached: dict[str, str] = {}
    patterns = _PATTERNS
    predictors = (in_row(CLASS_SCORES, 0), in_row(BOXES, 0))

    @classmethod
    def recognise(cls, tensors: Mapping[str, np.ndarray], backbone: str | None, file: Path) -> Identity:
        return _of_cascade(super().recognise(tensors, backbone, file), "cascade_rcnn", "faster_rcnn")


@register_published
class Detectron2CascadeMaskRCNN(Detectron2MaskRCNN):
    """cascade_mask_rcnn_R_50_FPN of the model zoo, 1x and 3x."""

    architecture, words = "cascade_mask_rcnn", "Cascade Mask R-CNN"
    reached = {"cascade_mask_rcnn_r50_fpn": "box AP 42.1, mask AP 36.4 (1x schedule) or 44.3, 38.5 (3x)"}
    patterns = (*_PATTERNS, Detectron2MaskRCNN.patterns[-1])
    predictors = Detectron2CascadeRCNN.predictors

    @classmethod
    def recognise(cls, tensors: Mapping[str, np.ndarray], backbone: str | None, file: Path) -> Identity:
        return _of_cascade(super().recognise(tensors, backbone, file), "cascade_mask_rcnn", "mask_rcnn")
