"""torchvision's ImageNet classifiers Swin and ConvNeXt, of which the backbone is taken."""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from keras_fpn.checkpoints import torchvision
from keras_fpn.checkpoints.published.identity import Identity
from keras_fpn.checkpoints.published.kind import PublishedKind, register_published


def _stem_and_depth(tensors):
    """Channels of the first convolution, and blocks of the third stage: what tells the sizes of a family apart."""
    blocks = {match[1] for name in tensors if (match := re.match(r"features\.5\.(\d+)\.", name))}
    stem = tensors.get("features.0.0.weight")
    return 0 if stem is None else len(stem), len(blocks)


class _Classifier(PublishedKind):
    """Base of both families.

    Attributes:
        sizes: `{(channels of the first convolution, blocks of the third stage): name}`.
        config: the configuration to go with them.
    """

    source = torchvision.NAME
    sizes: dict[tuple[int, int], str] = {}
    config = ""

    @classmethod
    def backbone(cls, tensors: Mapping[str, np.ndarray]) -> str | None:
        return cls.sizes.get(_stem_and_depth(tensors))

    @classmethod
    def recognise(cls, tensors: Mapping[str, np.ndarray], backbone: str | None, file: Path) -> Identity:
        name = backbone or next(iter(cls.sizes.values()))
        settings = {"model.backbone.name": name}
        return Identity(torchvision.NAME, None, f"{name} (an ImageNet classifier)", cls.config, settings)


@register_published
class SwinClassifier(_Classifier):
    """A Swin Transformer of the first version; those of the second have a `logit_scale` and other norms."""

    words = "ImageNet Swin-T, Swin-S, Swin-B"
    patterns = (r"^features\.0\.2\.weight$", r"^features\.1\.0\.attn\.relative_position_bias_table$")
    sizes = {(96, 6): "swin_t", (96, 18): "swin_s", (128, 18): "swin_b"}
    config = "faster_rcnn_swin_t_fpn"


@register_published
class ConvNeXtClassifier(_Classifier):
    """A ConvNeXt."""

    words = "ImageNet ConvNeXts"
    patterns = (r"^features\.0\.1\.weight$", r"^features\.1\.0\.layer_scale$")
    sizes = {
        (96, 9): "convnext_tiny",
        (96, 27): "convnext_small",
        (128, 27): "convnext_base",
        (192, 27): "convnext_large",
    }
    config = "faster_rcnn_convnext_t_fpn"
