"""Settings of the stage that places keypoints: its head, losses, and the places that it reads and gives."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, model_validator

from keras_fpn.console.errors import UserError
from keras_fpn.data import coco_keypoints
from keras_fpn.parts.settings import Channels, Settings, Side

Name = Annotated[str, Field(min_length=1, max_length=1000)]
Index = Annotated[int, Field(ge=0)]
Bone = Annotated[list[Index], Field(min_length=2, max_length=2)]


class KeypointHeadSettings(Settings):
    """Of `KeypointHead`, and of the pooling before it: `roi_pooling`'s, with a `pooling_size` of its own.

    `num_keypoints` comes from the data set; 17 without one.
    """

    pooling_size: Side = 14
    conv_layers: NonNegativeInt = 8
    channels: Channels = 512
    num_keypoints: Annotated[int, Field(gt=0, le=10_000)] | None = None
    conventions = ("pooling_size",)
    is_written = True


class KeypointLossSettings(Settings):
    """Of `keypoint_targets.keypoint_loss`: what the sum over keypoints is divided by, and the weight of the loss."""

    normalizer: Literal["visible", "fixed"] = "visible"
    weight: NonNegativeFloat = 1.0


class KeypointPlaceSettings(Settings):
    """The keypoints' names, the pairs of them that a skeleton joins, and the convention of their places and scores.

    `names`, `skeleton`, `of_classes` (for each class the keypoints that it has, counted from 0; null: all) and
    `skeletons` (for each class its own pairs, where they differ) come from the data set. `offset`: what is added to the
    places in an annotation file before they are learnt from and taken off those of results: 0.5 takes them for pixels
    and goes by their centres (detectron2), 0 takes them as they are (torchvision). `score`, `least_pixels`:
    see `ops.keypoints.decode`.
    """

    names: list[Name] | None = None
    skeleton: list[Bone] | None = None
    of_classes: list[list[Index]] | None = None
    skeletons: list[list[Bone]] | None = None
    offset: NonNegativeFloat = 0.5
    score: Literal["probability", "logit"] = "probability"
    least_pixels: Side = 1
    conventions = ("offset",)
    is_written = True
    profiles = {"torchvision": {"offset": 0.0, "score": "logit"}}

    @model_validator(mode="after")
    def _of_names(self):
        number = 10_000 if self.names is None else len(self.names)
        bones = [bone for each in self.skeletons or () for bone in each]
        for key, lists in (("skeleton", self.skeleton), ("of_classes", self.of_classes), ("skeletons", bones)):
            for numbers in lists or ():
                if max(numbers, default=0) >= number:
                    raise ValueError(f"{key}: {numbers} has others than the {number} names, which are counted from 0")
        return self


def named_keypoints(groups: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], list[list[int]]]:
    """Names and skeleton of the keypoints that settings speak of.

    Without names: COCO's where there are as many, and if no number is given either; else "0" and so on.

    Args:
        groups: `{"keypoint_head": {"num_keypoints"}, "keypoint_places": {"names", "skeleton"}}`; what is not there or
            None is not given.

    Raises:
        UserError: another number of names than `num_keypoints`.
    """
    places = groups.get("keypoint_places", {})
    names, skeleton = places.get("names"), places.get("skeleton")
    number = groups.get("keypoint_head", {}).get("num_keypoints")
    if number is None:
        number = len(coco_keypoints.NAMES if names is None else names)
    if names is None and number == len(coco_keypoints.NAMES):
        names, skeleton = coco_keypoints.NAMES, coco_keypoints.SKELETON if skeleton is None else skeleton
    names = [str(index) for index in range(number)] if names is None else list(names)
    if number != len(names):
        raise UserError(
            f"keypoint_head.num_keypoints: {number}, and keypoint_places.names has {len(names)}; leave the number out"
        )
    return names, [list(bone) for bone in skeleton or ()]


def check_keypoints_of_classes(groups: Mapping[str, Any], num_classes: int) -> None:
    """Refuse keypoints of other classes than there are.

    Raises:
        UserError: says how many.
    """
    for key, without in (("of_classes", "each then has all keypoints"), ("skeletons", "all then have one")):
        lists = groups["keypoint_places"][key]
        if lists is not None and len(lists) != num_classes:
            raise UserError(
                f"keypoint_places.{key}: lists of {len(lists)} classes, and the model has {num_classes}; give one for"
                f" each class, or leave it out: {without}"
            )


GROUPS = {
    "keypoint_head": KeypointHeadSettings,
    "keypoint_losses": KeypointLossSettings,
    "keypoint_places": KeypointPlaceSettings,
}
