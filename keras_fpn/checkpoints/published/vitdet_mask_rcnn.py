"""detectron2's ViTDet: a Mask R-CNN on a plain ViT with the simple pyramid."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from keras_fpn.checkpoints import sizes
from keras_fpn.checkpoints.published.identity import Identity
from keras_fpn.checkpoints.published.kind import register_published
from keras_fpn.checkpoints.published.mask_rcnn import Detectron2MaskRCNN
from keras_fpn.checkpoints.sizes import last_number, places

_BLOCKS = "backbone.net.blocks"
_PATCHES = "backbone.net.patch_embed.proj.weight"
_PLACES = "backbone.net.pos_embed"
_SIZES = {(768, 12): "vit_b", (1024, 24): "vit_l", (1280, 32): "vit_h"}
_REACHED = "box AP 51.6, mask AP 45.9; of ViT-L 55.5, 49.2; of ViT-H 56.7, 50.2"


@register_published
class ViTDetMaskRCNN(Detectron2MaskRCNN):
    """mask_rcnn_vitdet_b, l and h of detectron2's projects/ViTDet."""

    words = "Mask R-CNN on ViT-B, ViT-L or ViT-H (ViTDet)"
    patterns = (*Detectron2MaskRCNN.patterns, r"^backbone\.net\.blocks\.0\.")
    reached = {"mask_rcnn_vitdet_b": _REACHED}

    @classmethod
    def backbone(cls, tensors: Mapping[str, np.ndarray]) -> str | None:
        """By the channels of the patches and the number of blocks."""
        last = last_number(tensors, r"backbone\.net\.blocks\.(\d+)\.norm1\.weight")
        return _SIZES.get((len(tensors[_PATCHES]), last + 1)) if _PATCHES in tensors and last is not None else None

    @classmethod
    def recognise(cls, tensors: Mapping[str, np.ndarray], backbone: str | None, file: Path) -> Identity:
        backbone = backbone or "vit_b"
        witnesses = {
            "model.pyramid.channels": places(tensors, r"backbone\.simfp_4\.\d\.weight"),
            "model.rpn.channels": places(tensors, r"proposal_generator\.rpn_head\.conv\.conv\d\.weight"),
            "model.box_head.conv_channels": places(tensors, r"roi_heads\.box_head\.conv\d\.weight"),
        }
        settings = {"model.backbone.name": backbone} | _sides(tensors, backbone)
        settings |= sizes.common_sizes(tensors, witnesses) | cls.head_sizes(tensors)
        name = f"mask_rcnn_vitdet_{backbone[-1]}"
        identity = Identity(cls.source, cls.architecture, name, "mask_rcnn_vitdet_b", settings, ())
        return cls.with_masks(identity, tensors)


def _sides(tensors, backbone):
    """Sides of the maps that the tables of places are of: of the patches, and of a block that sees the whole map."""
    blocks = next(number for (_, number), name in _SIZES.items() if name == backbone)
    whole = f"{_BLOCKS}.{blocks // 4 - 1}.attn.rel_pos_h"
    settings = {}
    if _PLACES in tensors:
        settings["model.backbone.position_side"] = math.isqrt(tensors[_PLACES].shape[1] - 1)
    if whole in tensors:
        settings["model.backbone.map_side"] = (len(tensors[whole]) + 1) // 2
    return settings
