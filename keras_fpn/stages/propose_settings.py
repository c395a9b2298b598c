"""Settings of the region proposal network: its anchors, head, proposals, targets and losses."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import NonNegativeFloat, PositiveInt, model_validator

from keras_fpn.console.errors import UserError
from keras_fpn.parts.settings import BoxWeights, Channels, Count, Level, Positives, Probability, Settings


class AnchorSettings(Settings):
    """Of `AnchorGenerator`. A configuration that names sizes names those of every level."""

    sizes: dict[Level, Positives] = {"P2": [32.0], "P3": [64.0], "P4": [128.0], "P5": [256.0], "P6": [512.0]}
    ratios: Positives = [0.5, 1.0, 2.0]
    rounding: Literal["none", "torchvision", "detectron"] = "none"
    offset: float = 0.0
    stride_source: Literal["nominal", "floor"] = "nominal"
    order: Literal["size_major", "ratio_major"] = "size_major"
    conventions = ("sizes", "ratios", "rounding", "offset", "stride_source", "order")
    elsewhere = {"torchvision": {"rounding": "torchvision", "offset": 0.0, "stride_source": "floor"}}
    is_written = True
    profiles = {
        "torchvision": {"rounding": "torchvision", "stride_source": "floor", "order": "ratio_major"},
        "paper": {"rounding": "detectron"},
    }


def of_levels(settings: Mapping[str, Any], levels: Iterable[str]) -> dict[str, Any]:
    """The settings of anchors with the sizes of these levels alone.

    Raises:
        UserError: a level has none.
    """
    missing = [level for level in levels if level not in settings["sizes"]]
    if missing:
        raise UserError(f"anchors.sizes: none for {', '.join(missing)}; give a list of sizes for every pyramid level")
    return {**settings, "sizes": {level: settings["sizes"][level] for level in levels}}


class RPNHeadSettings(Settings):
    """Of `RPNHead`."""

    channels: Channels = 256
    conv_layers: PositiveInt = 1


class ProposalSettings(Settings):
    """Of `ProposalLayer`."""

    pre_nms_top_k_train: Count = 2000
    pre_nms_top_k_test: Count = 1000
    post_nms_top_k_train: Count = 1000
    post_nms_top_k_test: Count = 1000
    nms_threshold: Probability = 0.7
    score_threshold: Probability = 0.0
    min_size: NonNegativeFloat = 0.0
    box_weights: BoxWeights = [1.0, 1.0, 1.0, 1.0]
    conventions = ("box_weights",)
    is_written = True
    profiles = {
        "torchvision": {"post_nms_top_k_train": 2000, "min_size": 1e-3},
        "paper": {"post_nms_top_k_train": 2000},
    }


class AnchorTargetSettings(Settings):
    """Of `targets.anchor_targets`: which anchors the RPN is trained on, and towards what.

    An anchor whose best IoU with an object reaches `positive_iou` is positive, one below `negative_iou` is background;
    with `low_quality_matches` the best anchors of each object are positive, too. `samples_per_image` anchors are drawn,
    at most `positive_fraction` of them positive. Background that lies within a crowd by `crowd_ioa` is left out.
    """

    positive_iou: Probability = 0.7
    negative_iou: Probability = 0.3
    low_quality_matches: bool = True
    samples_per_image: Count = 256
    positive_fraction: Probability = 0.5
    crowd_ioa: Probability = 0.7

    @model_validator(mode="after")
    def _in_order(self):
        if self.negative_iou > self.positive_iou:
            raise ValueError("negative_iou must not be above positive_iou")
        return self


class RPNLossSettings(Settings):
    """Of `losses.rpn_losses`: what both are divided by, and where the smooth L1 of boxes turns linear."""

    normalizer: Literal["samples_per_image", "sampled", "sampled_per_image"] = "samples_per_image"
    box_beta: NonNegativeFloat = 0.0
    profiles = {
        "torchvision": {"normalizer": "sampled", "box_beta": 1 / 9},
        "paper": {"normalizer": "sampled_per_image", "box_beta": 1 / 9},
    }


GROUPS = {
    "anchors": AnchorSettings,
    "rpn": RPNHeadSettings,
    "proposals": ProposalSettings,
    "anchor_targets": AnchorTargetSettings,
    "rpn_losses": RPNLossSettings,
}
