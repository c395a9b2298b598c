"""Settings of FCOS: its points, head, targets, losses and detections."""

from typing import Literal

from pydantic import NonNegativeFloat, PositiveFloat

from keras_fpn.parts.choice import Choice
from keras_fpn.parts.settings import Probability, Settings
from keras_fpn.stages.dense_settings import DenseDetectionSettings, DenseHeadSettings, suppressions_of


class PointSettings(Settings):
    """Where the point of a cell is, `offset` strides from its corner, and `stride_source`, see `AnchorGenerator`."""

    offset: float = 0.5
    stride_source: Literal["nominal", "floor"] = "nominal"
    conventions = ("offset", "stride_source")
    elsewhere = {"torchvision": {"offset": 0.0, "stride_source": "floor"}}
    profiles = {"torchvision": {"offset": 0.0, "stride_source": "floor"}}


class FCOSHeadSettings(DenseHeadSettings):
    """Of `FCOSHead`."""

    norm: Literal["group_norm"] | None = "group_norm"


class PointTargetSettings(Settings):
    """Of `fcos_targets.point_labels`: which points are of an object.

    `radius`: strides from the object's middle within which its points are; `crowd_ioa`: see `DenseTargetSettings`.
    """

    radius: PositiveFloat = 1.5
    crowd_ioa: Probability = 0.7


class FCOSLossSettings(Settings):
    """Of the focal loss of all points, and of the GIoU and the centre-ness of those that are of an object.

    `alpha`, `gamma`: see `sigmoid_focal_loss`. `normalizer`, `initial`, `momentum`: see `LossNormalizer`. The others
    are factors.
    """

    alpha: Probability = 0.25
    gamma: NonNegativeFloat = 2.0
    box_weight: NonNegativeFloat = 1.0
    centerness_weight: NonNegativeFloat = 1.0
    normalizer: Literal["moving_average", "image", "batch"] = "moving_average"
    initial: PositiveFloat = 300.0
    momentum: Probability = 0.9
    profiles = {"torchvision": {"normalizer": "batch"}, "paper": {"normalizer": "batch"}}


class PointDetectionSettings(DenseDetectionSettings):
    """Of `PointDetectionLayer` (suppression "per_class"), and of `ClassAgnosticPointDetections` ("class_agnostic") and
    `SoftPointDetections` ("soft_linear"), see `DetectionSettings`.
    """

    score_threshold: Probability = 0.2
    nms_threshold: Probability = 0.6
    profiles = {
        "torchvision": {"clip": "before_nms", "keep_empty": True},
        "paper": {"clip": "before_nms", "keep_empty": True},
    }


class GaussianPointDetectionSettings(PointDetectionSettings):
    """Of `SoftPointDetections` (suppression "soft_gaussian"), see `GaussianDetectionSettings`."""

    sigma: PositiveFloat = 0.5


POINT_SUPPRESSIONS = suppressions_of(
    "keras_fpn.layers.point_detections:PointDetectionLayer",
    "Point", PointDetectionSettings, GaussianPointDetectionSettings,
)  # fmt: skip

GROUPS = {
    "points": PointSettings,
    "dense_head": FCOSHeadSettings,
    "point_targets": PointTargetSettings,
    "dense_losses": FCOSLossSettings,
    "detections": Choice(POINT_SUPPRESSIONS, "suppression", "per_class"),
}
