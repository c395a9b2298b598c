"""The Mask R-CNNs with a pyramid of torchvision and of detectron2: their Faster R-CNNs, and a head more."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_fpn.checkpoints import sizes, torchvision
from keras_fpn.checkpoints.published.faster_rcnn import Detectron2FasterRCNN, TorchvisionFasterRCNN
from keras_fpn.checkpoints.published.identity import Identity
from keras_fpn.checkpoints.published.kind import register_published
from keras_fpn.checkpoints.sizes import last_number, places
from keras_fpn.heads.mask_head_names import DETECTRON2_LOGITS, OLDER_NAMES

_PATTERN = r"^roi_heads\.mask_"
_HEAD = r"roi_heads\.mask_head\."
_REACHED = {
    "mask_rcnn_r50_fpn_torchvision": "box AP 37.9, mask AP 34.6",
    "mask_rcnn_r50_fpn_v2": "box AP 47.4, mask AP 41.8",
    "mask_rcnn_r50_fpn": "box AP 38.6, mask AP 35.2 (1x schedule) or 41.0, 37.2 (3x)",
    "mask_rcnn_r101_fpn": "box AP 42.9, mask AP 38.6 (3x schedule)",
    "mask_rcnn_x101_fpn": "box AP 44.3, mask AP 39.5 (3x schedule)",
}


def _of_masks(identity: Identity, tensors: Mapping[str, np.ndarray], convolution: str, first: int) -> Identity:
    """The identity of a Faster R-CNN as that of the Mask R-CNN which it is a part of.

    Args:
        convolution: pattern of the names of the head's convolutions; its group is the number of one.
        first: number of the first of them.
    """
    channels = {"model.mask_head.channels": places(tensors, convolution)}
    last = last_number(tensors, convolution)
    settings = sizes.common_sizes(tensors, channels) | {
        "model.mask_head.conv_layers": 0 if last is None else last + 1 - first
    }
    return dataclasses.replace(
        identity,
        title=identity.title.replace("faster", "mask"),
        config=identity.config.replace("faster", "mask"),
        settings={**identity.settings, **settings},
    )


@register_published
class TorchvisionMaskRCNN(TorchvisionFasterRCNN):
    """maskrcnn_resnet50_fpn and its v2."""

    architecture, words, is_default, reached = "mask_rcnn", "Mask R-CNN", False, _REACHED
    patterns = (*TorchvisionFasterRCNN.patterns, _PATTERN)
    older_names = OLDER_NAMES
    coco_v1_r50 = "bf2d0c1e"

    @classmethod
    def recognise(cls, tensors: Mapping[str, np.ndarray], backbone: str | None, file: Path) -> Identity:
        backbone = torchvision.resnet_of(backbone, "a Mask R-CNN", file)
        return _of_masks(super().recognise(tensors, backbone, file), tensors, _HEAD + r"(\d)\.0\.weight", 0)

    @classmethod
    def classes(cls, *args: Any) -> tuple[Any, dict[str, Any]]:
        classes, settings = super().classes(*args)
        return classes, settings | {"model.mask_head.background_masks": classes.background_logits}


@register_published
class Detectron2MaskRCNN(Detectron2FasterRCNN):
    """mask_rcnn_R_50_FPN, R_101_FPN and X_101_32x8d_FPN of the model zoo, and those with one mask for all classes."""

    architecture, words, is_default, reached = "mask_rcnn", "Mask R-CNN", False, _REACHED
    patterns = (*Detectron2FasterRCNN.patterns, _PATTERN)

    @classmethod
    def recognise(cls, tensors: Mapping[str, np.ndarray], backbone: str | None, file: Path) -> Identity:
        return cls.with_masks(super().recognise(tensors, backbone, file), tensors)

    @classmethod
    def with_masks(cls, identity: Identity, tensors: Mapping[str, np.ndarray]) -> Identity:
        """The identity of what a file has but the mask head, as that of the whole."""
        identity = _of_masks(identity, tensors, _HEAD + r"mask_fcn(\d)\.weight", 1)
        if sizes.common_size(tensors, [(f"{DETECTRON2_LOGITS}.bias", 0)]) != 1:
            return identity
        return dataclasses.replace(identity, settings={**identity.settings, "model.mask_head.class_agnostic": True})
