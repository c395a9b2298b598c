"""Settings of the stages of a cascade after its first."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from keras_fpn.parts.settings import BoxWeights, Probability, Settings


class CascadeSettings(Settings):
    """Of `CascadeStage`, its stages after the first, in order: how many, from which IoU their RoIs are objects, and by
    which weights they refine boxes. The first has `roi_targets.positive_iou` and `detections.box_weights`.
    """

    positive_ious: Annotated[list[Probability], Field(min_length=1)] = [0.6, 0.7]
    box_weights: Annotated[list[BoxWeights], Field(min_length=1)] = [[20.0, 20.0, 10.0, 10.0], [30.0, 30.0, 15.0, 15.0]]
    conventions = ("box_weights",)


def check_stages(groups: Mapping[str, Any]) -> None:
    """Refuse stages that are told half, and boxes of each class, of which no stage could choose one to go on with.

    Raises:
        ValueError: says which.
    """
    ious, weights = groups["cascade"]["positive_ious"], groups["cascade"]["box_weights"]
    if len(ious) != len(weights):
        raise ValueError(
            f"cascade.box_weights: {len(weights)} for the {len(ious)} stages of cascade.positive_ious; give as many"
        )
    if not groups["box_head"]["class_agnostic_boxes"]:
        raise ValueError(
            "box_head.class_agnostic_boxes: a cascade refines one box for all classes; set it to true"
        )


# What detectron2's configurations of Cascade R-CNN have otherwise than its Faster R-CNN.
DEFAULTS = {"box_head": {"class_agnostic_boxes": True}, "proposals": {"post_nms_top_k_train": 2000}}

GROUPS = {"cascade": CascadeSettings}
