"""Base of every model that places keypoints: how many, what they are called, what joins them."""

import os
from collections.abc import Mapping
from typing import Any, Self

from keras_fpn.console.errors import UserError
from keras_fpn.data.objects import short
from keras_fpn.models.class_detector import ClassDetector
from keras_fpn.stages.keypoint_settings import named_keypoints


class KeypointDetector(ClassDetector):
    """A `ClassDetector` that knows its keypoints; they are settings of it, and so in its files.

    Args:
        num_classes, class_names, category_ids: see `ClassDetector`.
        backbone, profile, seed: see `Detector`.
        num_keypoints: K, those of each object; as many as there are names, 17 without.
        keypoint_names: K names; without, COCO's if K is 17, else "0".."K-1".
        skeleton: pairs of keypoints, counted from 0, that pictures join; COCO's where the names are.
        **kwargs: see `Detector`; the three above may stand in the groups `keypoint_head` and `keypoint_places`, too.

    Raises:
        UserError: names that do not number K; see `ClassDetector`.
    """

    def __init__(
        self,
        num_classes=1,
        backbone="resnet50",
        *,
        num_keypoints=None,
        keypoint_names=None,
        skeleton=None,
        **kwargs,
    ):
        told = {
            "keypoint_head": {"num_keypoints": num_keypoints},
            "keypoint_places": {"names": keypoint_names, "skeleton": skeleton},
        }
        super().__init__(num_classes, backbone, **_with_keypoints(kwargs, told))

    @classmethod
    def for_data(cls, classes: Any, **settings: Any) -> Self:
        """See `Detector`; the keypoints are those of the data set's field "keypoints", where it has one.

        Raises:
            UserError: the settings say another number of keypoints.
        """
        field = getattr(classes, "fields", {}).get("keypoints")
        if field is None or getattr(field, "names", None) is None:
            return super().for_data(classes, **settings)
        number = (settings.get("keypoint_head") or {}).get("num_keypoints")
        if number not in (None, len(field.names)):
            raise UserError(
                f"keypoint_head.num_keypoints: {number}, and the data set has {len(field.names)}; leave the setting out"
            )
        has_all = all(len(points) == len(field.names) for points in field.of_classes)
        of_classes = None if has_all else [list(points) for points in field.of_classes]
        own = getattr(field, "skeletons", None)
        skeletons = None if own is None else [[list(pair) for pair in each] for each in own]
        places = {"names": field.names, "skeleton": field.skeleton, "of_classes": of_classes, "skeletons": skeletons}
        told = {"keypoint_places": places}
        return super().for_data(classes, **_with_keypoints(settings, told))

    def check_fields(self, fields: Mapping[str, Any], source: str | os.PathLike) -> None:
        """See `Detector`; of keypoints without names of their own ("0", "1", ...) only the number must be the same."""
        theirs = getattr(fields.get("keypoints"), "names", None)
        if theirs is None or theirs == self.keypoint_names:
            return
        if len(theirs) != self.num_keypoints or not self.has_unnamed_keypoints:
            raise UserError(
                f"{source}: its keypoints {short(theirs)} are not the model's {short(self.keypoint_names)}; use"
                " annotations with the keypoints that it learnt"
            )

    @property
    def has_unnamed_keypoints(self) -> bool:
        """Whether nobody named them: they are called "0", "1" and so on."""
        return self.keypoint_names == tuple(map(str, range(self.num_keypoints)))

    @property
    def row_names(self) -> dict[str, tuple[str, ...]]:
        """See `Detector`."""
        return {} if self.has_unnamed_keypoints else {"keypoint_head": self.keypoint_names}

    @property
    def num_keypoints(self) -> int:
        """K, of each object."""
        return self.settings["keypoint_head"]["num_keypoints"]

    @property
    def keypoint_names(self) -> tuple[str, ...]:
        """Names of the keypoints, 0..K-1."""
        return tuple(self.settings["keypoint_places"]["names"])

    @property
    def skeleton(self) -> tuple[tuple[int, int], ...]:
        """Pairs of keypoints that pictures join, counted from 0."""
        return tuple((first, second) for first, second in self.settings["keypoint_places"]["skeleton"])


def _with_keypoints(groups: Mapping[str, Any], told: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Groups of settings with number, names and skeleton of the keypoints, all three; what is `told` wins."""
    own = {group: groups.get(group) or {} for group in ("keypoint_head", "keypoint_places")}
    if not all(isinstance(values, Mapping) for values in own.values()):
        return dict(groups)  # refused as what it is
    for group, values in told.items():
        own[group] = {**own[group], **{key: value for key, value in values.items() if value is not None}}
    names, skeleton = named_keypoints(own)
    own["keypoint_head"] = {**own["keypoint_head"], "num_keypoints": len(names)}
    own["keypoint_places"] = {**own["keypoint_places"], "names": names, "skeleton": skeleton}
    return {**groups, **own}
