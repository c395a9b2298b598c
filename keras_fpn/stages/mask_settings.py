"""Settings of the stage that gives each detection a mask: its head, what it learns from, how masks go into images."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import NonNegativeFloat, NonNegativeInt

from keras_fpn.parts.settings import Channels, Norm, Settings, Side


class MaskHeadSettings(Settings):
    """Of `MaskHead`, and `pooling_size`: bins of the crops that it reads, pooled as `roi_pooling` says else."""

    pooling_size: Side = 14
    conv_layers: NonNegativeInt = 4
    channels: Channels = 256
    norm: Norm | None = None
    norm_epsilon: NonNegativeFloat = 1e-5
    initializer: Literal["c2_msra", "kaiming_normal"] = "c2_msra"
    class_agnostic: bool = False
    background_masks: NonNegativeInt = 0
    conventions = ("pooling_size",)
    is_written = True
    elsewhere = {"torchvision": {"class_agnostic": False}}
    profiles = {"torchvision": {"initializer": "kaiming_normal"}}


class MaskTargetSettings(Settings):
    """Of `mask_targets`: "polygon" and "bitmask" are detectron2's two formats of masks, "soft" is torchvision's."""

    rule: Literal["polygon", "bitmask", "soft"] = "polygon"
    profiles = {"torchvision": {"rule": "soft"}}


class MaskPastingSettings(Settings):
    """How the mask of a box goes into the image: by whose rule, see `InstanceMasks`."""

    rule: Literal["detectron2", "torchvision"] = "detectron2"
    is_written = True
    profiles = {"torchvision": {"rule": "torchvision"}}


def check_background(groups: Mapping[str, Any]) -> None:
    """Refuse masks of no class where no score has the like.

    Raises:
        ValueError: says which.
    """
    masks, logits = groups["mask_head"]["background_masks"], groups["box_head"]["background_logits"]
    if masks > logits:
        raise ValueError(f"mask_head.background_masks: {masks} are more than box_head.background_logits, {logits}")
    if masks and groups["mask_head"]["class_agnostic"]:
        raise ValueError("mask_head.background_masks: one mask for all classes has none of the background; set it to 0")


GROUPS = {"mask_head": MaskHeadSettings, "mask_targets": MaskTargetSettings, "mask_pasting": MaskPastingSettings}
