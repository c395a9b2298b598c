"""torchvision's ImageNet classifiers, of which the backbone is taken."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from keras_fpn.checkpoints import torchvision
from keras_fpn.checkpoints.published.kind import PublishedKind, register_published
from keras_fpn.checkpoints.published.recognition import Recognition


@register_published
class ResNetClassifier(PublishedKind):
    """A ResNet; its names have no prefix, so that no detector's file meets the patterns."""

    source = torchvision.NAME
    words = "ImageNet ResNets"
    patterns = (r"^conv1\.weight$", r"^layer1\.0\.conv1\.weight$")

    @classmethod
    def recognise(cls, tensors: Mapping[str, np.ndarray], backbone: str | None, file: Path) -> Recognition:
        backbone = backbone or "resnet50"
        return _recognition(backbone, "faster_rcnn_r50_fpn_torchvision", torchvision.width(tensors, ""))


@register_published
class MobileNetClassifier(PublishedKind):
    """A MobileNetV3-Large."""

    source = torchvision.NAME
    words = "ImageNet MobileNetV3-Large"
    patterns = (r"^features\.16\.0\.weight$",)

    @classmethod
    def recognise(cls, tensors: Mapping[str, np.ndarray], backbone: str | None, file: Path) -> Recognition:
        config = "faster_rcnn_mobilenet_v3_large_fpn"
        return _recognition("mobilenet_v3_large", config, {"model.backbone.norm_epsilon": 1e-3})


def _recognition(backbone, config, settings):
    settings = {"model.backbone.name": backbone} | settings
    return Recognition(torchvision.NAME, None, f"{backbone} (an ImageNet classifier)", config, settings)
