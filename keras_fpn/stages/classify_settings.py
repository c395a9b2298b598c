"""Settings of the stage that classifies RoIs: its targets, pooling, head, losses and detections."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from keras_fpn.parts.choice import Choice
from keras_fpn.parts.registry import Part, Registry
from keras_fpn.parts.settings import BoxWeights, Channels, Count, Levels, Norm, Probability, Settings, Side

POOLINGS = Registry("pooling", "roi_pooling.method")
SUPPRESSIONS = Registry("suppression", "detections.suppression")
BOX_HEADS = Registry("head", "box_head.name")
_Build = TypeVar("_Build", bound=Callable)


class RoITargetSettings(Settings):
    """Of `targets.roi_targets`: which RoIs the head is trained on, and towards what."""

    positive_iou: Probability = 0.5
    samples_per_image: Count = 512
    positive_fraction: Probability = 0.25
    add_ground_truth: bool = True
    crowd_ioa: Probability = 0.7


class PoolingSettings(Settings):
    """Of `RoIPool` (method "max"), and what every pooling is told: see `levels.roi_levels`."""

    leaves_maps: ClassVar[bool] = True  # False where a head reads vectors

    method: str = "align"
    output_size: Side = 7
    levels: Levels = ["P2", "P3", "P4", "P5"]
    canonical_size: PositiveFloat = 224.0
    canonical_level: PositiveInt = 4
    conventions: ClassVar[tuple[str, ...]] = ("method", "levels", "canonical_size", "canonical_level")
    elsewhere = {"torchvision": {"method": "align", "aligned": False}}
    is_written = True


class RoIAlignSettings(PoolingSettings):
    """Of `RoIAlign` (method "align")."""

    sampling_ratio: NonNegativeInt = 0
    aligned: bool = True
    implementation: Literal["auto", "product", "crop_and_resize", "gather"] = "auto"
    conventions: ClassVar[tuple[str, ...]] = (*PoolingSettings.conventions, "sampling_ratio", "aligned")
    profiles = {"torchvision": {"aligned": False, "sampling_ratio": 2}}


class AdaptivePoolingSettings(RoIAlignSettings):
    """Of `AdaptiveRoIAlign` (method "adaptive"), which reads all levels and no `canonical_size`, `canonical_level`."""

    norm: Norm | None = None
    norm_epsilon: NonNegativeFloat = 1e-5
    conventions = (*RoIAlignSettings.conventions, "norm", "norm_epsilon")


class AdaptiveVectorSettings(AdaptivePoolingSettings):
    """Of `AdaptiveRoIVectors` (method "adaptive_vectors"), for a box head with one layer less than without."""

    leaves_maps = False
    units: Channels = 1024
    conventions = (*AdaptivePoolingSettings.conventions, "units")


class HeadSettings(Settings):
    """Of `Conv5Head` (name "conv5"), and what every head is told of its predictors, see `BoxHead`."""

    name: str = "fc"
    initializer: Literal["xavier", "torch_linear"] = "xavier"
    background_logits: Channels = 1
    background_boxes: NonNegativeInt = 0
    class_agnostic_boxes: bool = False
    elsewhere = {"torchvision": {"name": "fc", "class_agnostic_boxes": False}}
    profiles = {"torchvision": {"initializer": "torch_linear"}}


class BoxHeadSettings(HeadSettings):
    """Of `BoxHead` (name "fc")."""

    units: Channels = 1024
    conv_layers: NonNegativeInt = 0
    conv_channels: Channels = 256
    fc_layers: Literal[1, 2] = 2
    norm: Norm | None = None
    norm_epsilon: NonNegativeFloat = 1e-5


class NormedBoxHeadSettings(BoxHeadSettings):
    """Of `NormedBoxHead` (name "normed_fc"), whose fully connected layers are normalised, too."""

    fc_norm: Norm = "group_norm"


class RoILossSettings(Settings):
    """Of `losses.roi_losses`: where the smooth L1 of boxes turns linear."""

    box_beta: NonNegativeFloat = 0.0
    profiles = {"torchvision": {"box_beta": 1 / 9}, "paper": {"box_beta": 1.0}}


class DetectionSettings(Settings):
    """Of `DetectionLayer` (suppression "per_class"), of `ClassAgnosticDetections` ("class_agnostic"), in which a box
    suppresses those of all classes, and of `SoftDetections` ("soft_linear"), in which a better box lowers the scores of
    those that it overlaps by more than `nms_threshold`, to 1 - IoU of what they were.
    """

    suppression: str = "per_class"
    score_threshold: Probability = 0.05
    nms_threshold: Probability = 0.5
    max_detections: Count = 100
    min_size: NonNegativeFloat = 0.0
    box_weights: BoxWeights = [10.0, 10.0, 5.0, 5.0]
    conventions = ("box_weights",)
    is_written = True
    profiles = {"torchvision": {"min_size": 1e-2}}


class GaussianDetectionSettings(DetectionSettings):
    """Of `SoftDetections` (suppression "soft_gaussian"): a better box lowers the scores of all others, to exp(-IoU^2 /
    sigma) of what they were; `nms_threshold` is not read.
    """

    sigma: PositiveFloat = 0.5


def register_box_head(name: str, settings: type[HeadSettings] = HeadSettings) -> Callable[[_Build], _Build]:
    """Register what builds a head for `box_head.name`; a decorator.

    The function decorated is called with the number of classes K, the `StageContext`, `roi_pooling`'s settings, and as
    keywords `name` of the layer and the settings; it returns a Keras layer that is called like `BoxHead`.
    """

    def add(build):
        BOX_HEADS.add(name, Part(name, settings, build))
        return build

    return add


def check_boxes(groups: Mapping[str, Any]) -> None:
    """Refuse boxes of no class where all classes share one.

    Raises:
        ValueError: says so.
    """
    head = groups["box_head"]
    if head["class_agnostic_boxes"] and head["background_boxes"]:
        raise ValueError("box_head.background_boxes: one box for all classes has none of the background; set it to 0")


def check_levels(groups: Mapping[str, Any]) -> None:
    """Refuse RoIs of levels that the pyramid does not give.

    Raises:
        ValueError: says which.
    """
    levels = groups["pyramid"]["levels"]
    for level in groups["roi_pooling"]["levels"]:
        if level not in levels:
            raise ValueError(f"roi_pooling.levels: {level} is not among pyramid.levels {', '.join(levels)}")


def check_maps(groups: Mapping[str, Any]) -> None:
    """Refuse heads that read maps where the pooling leaves vectors.

    Raises:
        ValueError: names the head.
    """
    method, head = groups["roi_pooling"]["method"], groups["box_head"]
    readers = [name for name, settings in groups.items() if "pooling_size" in settings]
    if head.get("conv_layers", 1):
        readers.insert(0, "box_head")
    if not POOLINGS[method].settings.leaves_maps and readers:
        raise ValueError(
            f"roi_pooling.method: {method} leaves vectors, and {readers[0]} reads maps; set roi_pooling.method=adaptive"
        )


def check_vector_norms(groups: Mapping[str, Any]) -> None:
    """Refuse vectors so short that each group of their normalisation is one number, of which it leaves nothing.

    Raises:
        ValueError: names the setting.
    """
    norms = {"box_head": "fc_norm"}
    if not POOLINGS[groups["roi_pooling"]["method"]].settings.leaves_maps:
        norms["roi_pooling"] = "norm"
    for group, norm in norms.items():
        units = groups[group].get("units", 0)
        if groups[group].get(norm) == "group_norm" and 32 % units == 0:  # so many groups, or what divides both
            raise ValueError(f"{group}.units: {units} are one number for each group of {norm}; take 64 or more")


POOLINGS.add("align", Part("align", RoIAlignSettings, "keras_fpn.layers.roi_align:RoIAlign"))
POOLINGS.add("max", Part("max", PoolingSettings, "keras_fpn.layers.roi_pool:RoIPool"))
POOLINGS.add(
    "adaptive",
    Part("adaptive", AdaptivePoolingSettings, "keras_fpn.layers.adaptive_roi_align:AdaptiveRoIAlign"),
)
POOLINGS.add(
    "adaptive_vectors",
    Part("adaptive_vectors", AdaptiveVectorSettings, "keras_fpn.layers.adaptive_roi_vectors:AdaptiveRoIVectors"),
)
BOX_HEADS.add("fc", Part("fc", BoxHeadSettings, "keras_fpn.heads.build:build_fc_head"))
BOX_HEADS.add("normed_fc", Part("normed_fc", NormedBoxHeadSettings, "keras_fpn.heads.build:build_normed_fc_head"))
BOX_HEADS.add("conv5", Part("conv5", HeadSettings, "keras_fpn.heads.build:build_conv5_head"))

SUPPRESSIONS.add("per_class", Part("per_class", DetectionSettings, "keras_fpn.layers.detections:DetectionLayer"))
SUPPRESSIONS.add(
    "class_agnostic",
    Part("class_agnostic", DetectionSettings, "keras_fpn.layers.class_agnostic_detections:ClassAgnosticDetections"),
)
_SOFT = "keras_fpn.layers.soft_detections:SoftDetections"
SUPPRESSIONS.add("soft_linear", Part("soft_linear", DetectionSettings, _SOFT, arguments={"decay": "linear"}))
SUPPRESSIONS.add(
    "soft_gaussian", Part("soft_gaussian", GaussianDetectionSettings, _SOFT, arguments={"decay": "gaussian"})
)

GROUPS = {
    "roi_targets": RoITargetSettings,
    "roi_pooling": Choice(POOLINGS, "method", "align", {"paper": "max"}),
    "box_head": Choice(BOX_HEADS, "name", "fc"),
    "roi_losses": RoILossSettings,
    "detections": Choice(SUPPRESSIONS, "suppression", "per_class"),
}
