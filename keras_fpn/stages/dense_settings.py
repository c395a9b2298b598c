"""Settings of a detector without proposals: its anchors, head, targets, losses and detections."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from keras_fpn.parts.choice import Choice
from keras_fpn.parts.registry import Part, Registry
from keras_fpn.parts.settings import BoxWeights, Channels, Count, Level, Positives, Probability, Settings
from keras_fpn.stages.propose_settings import AnchorSettings

_LEVELS: dict[Level, int] = {"P3": 32, "P4": 64, "P5": 128, "P6": 256, "P7": 512}  # the least side
_SIZES: dict[Level, list[float]] = {
    level: [size * 2.0 ** (step / 3) for step in range(3)] for level, size in _LEVELS.items()
}


class DenseAnchorSettings(AnchorSettings):
    """Of `AnchorGenerator`: three sizes a level, a third of an octave apart. A configuration that names sizes names
    those of every level, and of no other.
    """

    sizes: dict[Level, Positives] = _SIZES
    profiles = {
        "torchvision": AnchorSettings.profiles["torchvision"]
        | {"sizes": {level: [float(int(size)) for size in sizes] for level, sizes in _SIZES.items()}},
        "paper": {"rounding": "detectron"},
    }


class DenseHeadSettings(Settings):
    """Of `DenseHead`."""

    conv_layers: NonNegativeInt = 4
    channels: Channels = 256
    norm: Literal["group_norm"] | None = None
    norm_groups: PositiveInt = 32
    norm_bias: bool = True
    prior_probability: Probability = 0.01
    unused_logits: NonNegativeInt = 0

    @model_validator(mode="after")
    def _divisible(self):
        if self.norm and self.channels % self.norm_groups:
            raise ValueError(f"channels must be a multiple of norm_groups, {self.norm_groups}, not {self.channels}")
        if self.prior_probability in (0, 1):
            raise ValueError("prior_probability must be between 0 and 1")
        return self


class DenseTargetSettings(Settings):
    """Of `dense_targets.anchor_labels`: which anchors are trained on, and towards what.

    An anchor whose best IoU with an object reaches `positive_iou` is positive, one below `negative_iou` is background,
    one between them is ignored; with `low_quality_matches` the best anchors of each object are positive, too. All that
    are not ignored are trained on. Background that lies within a crowd by `crowd_ioa` is left out.
    """

    positive_iou: Probability = 0.5
    negative_iou: Probability = 0.4
    low_quality_matches: bool = True
    crowd_ioa: Probability = 0.7

    @model_validator(mode="after")
    def _in_order(self):
        if self.negative_iou > self.positive_iou:
            raise ValueError("negative_iou must not be above positive_iou")
        return self


class DenseLossSettings(Settings):
    """Of the focal loss of all anchors, and the box loss of the positive ones.

    `alpha`, `gamma`: see `sigmoid_focal_loss`. `box_loss`: "smooth_l1" of the deltas, which turns linear at `box_beta`,
    or "giou" of the boxes; `box_weight` is its factor. `normalizer`, `initial`, `momentum`: see `LossNormalizer`.
    """

    alpha: Probability = 0.25
    gamma: NonNegativeFloat = 2.0
    box_loss: Literal["smooth_l1", "giou"] = "smooth_l1"
    box_beta: NonNegativeFloat = 0.0
    box_weight: NonNegativeFloat = 1.0
    normalizer: Literal["moving_average", "image", "batch"] = "moving_average"
    initial: PositiveFloat = 100.0
    momentum: Probability = 0.9
    profiles = {
        "torchvision": {"normalizer": "image"},
        "paper": {"normalizer": "batch", "box_beta": 0.11},
    }


class DenseDetectionSettings(Settings):
    """Of `DenseDetectionLayer` (suppression "per_class"), and of `ClassAgnosticDenseDetections` ("class_agnostic") and
    `SoftDenseDetections` ("soft_linear"), see `DetectionSettings`.
    """

    suppression: str = "per_class"
    score_threshold: Probability = 0.05
    pre_nms_top_k: Count = 1000
    nms_threshold: Probability = 0.5
    max_detections: Count = 100
    clip: Literal["before_nms", "after_nms"] = "after_nms"
    keep_empty: bool = False
    box_weights: BoxWeights = [1.0, 1.0, 1.0, 1.0]
    conventions = ("box_weights",)
    is_written = True
    profiles = {
        "torchvision": {"max_detections": 300, "clip": "before_nms", "keep_empty": True},
        "paper": {"clip": "before_nms", "keep_empty": True},
    }


class GaussianDenseDetectionSettings(DenseDetectionSettings):
    """Of `SoftDenseDetections` (suppression "soft_gaussian"), see `GaussianDetectionSettings`."""

    sigma: PositiveFloat = 0.5


def check_levels(groups: Mapping[str, Any]) -> None:
    """Refuse anchors that are not of the pyramid's levels, or not as many on each.

    Raises:
        ValueError: says which.
    """
    levels, sizes = groups["pyramid"]["levels"], groups["anchors"]["sizes"]
    for level in levels:
        if level not in sizes:
            raise ValueError(f"anchors.sizes: none for {level}, a level of pyramid.levels; give it a list of sizes")
    for level, own in sizes.items():
        if level not in levels:
            raise ValueError(
                f"anchors.sizes: {level} is not among pyramid.levels {', '.join(levels)}; leave it out or add it"
            )
        if len(own) != len(sizes[levels[0]]):
            raise ValueError(
                f"anchors.sizes: {len(own)} for {level} and {len(sizes[levels[0]])} for {levels[0]}; give every level "
                "as many, the head is shared"
            )


def suppressions_of(
    layer: str, kind: str, settings: type[DenseDetectionSettings], gaussian: type[DenseDetectionSettings]
) -> Registry:
    """Registry of the ways of `detections.suppression` where all anchors, or all points, are classified.

    Args:
        layer: "module:name" of the layer that suppresses per class.
        kind: "Dense" or "Point", as the names of the others in `layers.dense_suppressions` end.
        settings, gaussian: of all of them, and of "soft_gaussian".
    """
    others = "keras_fpn.layers.dense_suppressions:"
    parts = (
        Part("per_class", settings, layer),
        Part("class_agnostic", settings, f"{others}ClassAgnostic{kind}Detections"),
        Part("soft_linear", settings, f"{others}Soft{kind}Detections", {"decay": "linear"}),
        Part("soft_gaussian", gaussian, f"{others}Soft{kind}Detections", {"decay": "gaussian"}),
    )
    registry = Registry("suppression", "detections.suppression")
    for part in parts:
        registry.add(part.name, part)
    return registry


DENSE_SUPPRESSIONS = suppressions_of(
    "keras_fpn.layers.dense_detections:DenseDetectionLayer",
    "Dense", DenseDetectionSettings, GaussianDenseDetectionSettings,
)  # fmt: skip

GROUPS = {
    "anchors": DenseAnchorSettings,
    "dense_head": DenseHeadSettings,
    "anchor_targets": DenseTargetSettings,
    "dense_losses": DenseLossSettings,
    "detections": Choice(DENSE_SUPPRESSIONS, "suppression", "per_class"),
}
