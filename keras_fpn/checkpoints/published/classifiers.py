"""torchvision's ImageNet classifiers, of which the backbone is taken."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from keras_fpn.checkpoints import sizes, torchvision
from keras_fpn.checkpoints.published.identity import Identity
from keras_fpn.checkpoints.published.kind import PublishedKind, register_published


@register_published
class ResNetClassifier(PublishedKind):
    """A ResNet; its names have no prefix, so that no detector's file meets the patterns."""

    source = torchvision.NAME
    words = "ImageNet ResNets"
    patterns = (r"^conv1\.weight$", r"^layer1\.0\.conv1\.weight$")

    @classmethod
    def backbone(cls, tensors: Mapping[str, np.ndarray]) -> str | None:
        return sizes.resnet_name(tensors, torchvision.RESNET_BLOCK)

    @classmethod
    def recognise(cls, tensors: Mapping[str, np.ndarray], backbone: str | None, file: Path) -> Identity:
        backbone = backbone or "resnet50"
        return _identity(backbone, "faster_rcnn_r50_fpn_torchvision", torchvision.width(tensors, ""))


@register_published
class MobileNetClassifier(PublishedKind):
    """A MobileNetV3-Large."""

    source = torchvision.NAME
    words = "ImageNet MobileNetV3-Large"
    patterns = (r"^features\.16\.0\.weight$",)

    @classmethod
    def backbone(cls, tensors: Mapping[str, np.ndarray]) -> str | None:
        return "mobilenet_v3_large"

    @classmethod
    def recognise(cls, tensors: Mapping[str, np.ndarray], backbone: str | None, file: Path) -> Identity:
        config = "faster_rcnn_mobilenet_v3_large_fpn"
        return _identity("mobilenet_v3_large", config, {"model.backbone.norm_epsilon": 1e-3})


def _identity(backbone, config, settings):
    settings = {"model.backbone.name": backbone} | settings
    return Identity(torchvision.NAME, None, f"{backbone} (an ImageNet classifier)", config, settings)
