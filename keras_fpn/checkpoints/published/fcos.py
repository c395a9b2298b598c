"""The FCOS of torchvision."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from keras_fpn.checkpoints import torchvision
from keras_fpn.checkpoints.published.identity import Identity
from keras_fpn.checkpoints.published.kind import register_published
from keras_fpn.checkpoints.published.retinanet import TorchvisionRetinaNet, pyramid_channels
from keras_fpn.heads.fcos_head import CENTERNESS


@register_published
class TorchvisionFCOS(TorchvisionRetinaNet):
    """fcos_resnet50_fpn: one anchor a cell, which is a point, and centre-ness beside its box."""

    architecture, words = "fcos", "FCOS"
    patterns = (*TorchvisionRetinaNet.patterns, rf"^{CENTERNESS}\.")
    older_names = ()
    towers = r"head\.\w+_head\.conv\.(\d+)\.weight"
    reached = {"fcos_r50_fpn": "box AP 39.2"}

    @classmethod
    def recognise(cls, tensors: Mapping[str, np.ndarray], backbone: str | None, file: Path) -> Identity:
        backbone = torchvision.resnet_of(backbone, "an FCOS", file)
        settings = pyramid_channels(tensors) | cls._head(tensors, 3) | torchvision.width(tensors)
        title = f"fcos_{backbone}_fpn"
        settings |= {"model.backbone.name": backbone}
        return Identity(cls.source, cls.architecture, title, "fcos_r50_fpn", settings)
