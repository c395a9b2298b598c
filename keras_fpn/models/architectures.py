"""The members of the family that a configuration can name, and the groups of settings of each; without TensorFlow."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from keras_fpn.backbones.settings import BACKBONES
from keras_fpn.data.image_settings import PixelSettings, ResizeSettings
from keras_fpn.necks.settings import NECKS
from keras_fpn.parts.choice import Choice
from keras_fpn.parts.registry import Part, Registry
from keras_fpn.parts.settings import Settings
from keras_fpn.stages import (
    cascade_settings,
    classify_settings,
    dense_settings,
    fcos_settings,
    keypoint_settings,
    mask_settings,
    propose_settings,
    segment_settings,
)

_Class = TypeVar("_Class", bound=type)

ARCHITECTURES = Registry("architecture", "architecture")

# Those of every detector.
SHARED_GROUPS: dict[str, type[Settings] | Choice] = {
    "pixels": PixelSettings,
    "resize": ResizeSettings,
    "backbone": Choice(BACKBONES, "name", "resnet50"),
    "pyramid": Choice(NECKS, "name", "fpn"),
}


@dataclass(frozen=True)
class Architecture:
    """A member of the family.

    Attributes:
        name: in a configuration.
        target: its class, a `Detector`, or "module:name" of that.
        own_groups: `{group: Settings or Choice}` of its stages.
        checks: called with the settings of all groups; raise a ValueError where they do not fit each other.
        defaults: `{group: {key: value}}`, what it has otherwise than the groups themselves, under every profile.
    """

    name: str
    target: Callable | str
    own_groups: Mapping = field(default_factory=dict)
    checks: tuple[Callable, ...] = ()
    defaults: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def groups(self) -> dict[str, type[Settings] | Choice]:
        """`{group: Settings or Choice}` of the whole."""
        return SHARED_GROUPS | dict(self.own_groups)

    @property
    def origin(self) -> str:
        """Module that it comes from."""
        return Part(self.name, None, self.target).origin  # type: ignore[arg-type]

    def load(self) -> type[Any]:
        """Its class."""
        return Part(self.name, None, self.target).load()  # type: ignore[arg-type, return-value]


def register_model(
    name: str,
    groups: Mapping[str, type[Settings] | Choice] | None = None,
    checks: Sequence[Callable] = (),
    like: str | None = None,
    defaults: Mapping[str, Mapping[str, Any]] | None = None,
) -> Callable[[_Class], _Class]:
    """Register a class of detectors under a name of its own for `model.architecture`; a decorator.

    Args:
        name: for `model.architecture`.
        groups: `{group: Settings or Choice}` of its stages, besides those of every detector.
        checks: called with the settings of all groups; raise a ValueError where they do not fit each other.
        like: another member, whose groups, checks and defaults it has, too: "faster_rcnn" where it has the stages of
            that.
        defaults: `{group: {key: value}}`, what it has otherwise than the groups themselves, under every profile.

    The class decorated derives from `keras_fpn.Detector`, or from `keras_fpn.ClassDetector` where it knows classes. It
    is registered with Keras, too.
    """
    base = Architecture(name, "") if like is None else ARCHITECTURES[like]

    def add(target):
        import keras

        target.architecture = name
        own_groups = {**base.own_groups, **(groups or {})}
        own_defaults = {**base.defaults}
        for group, values in (defaults or {}).items():
            own_defaults[group] = {**own_defaults.get(group, {}), **values}
        ARCHITECTURES.add(name, Architecture(name, target, own_groups, (*base.checks, *checks), own_defaults))
        return keras.saving.register_keras_serializable(target.__module__)(target)

    return add


def _add_own(name, class_name, *stages, checks=(), defaults=None, **groups):
    groups |= {group: kind for stage in stages for group, kind in stage.GROUPS.items()}
    ARCHITECTURES.add(name, Architecture(name, class_name, groups, checks, defaults or {}))


_CLASSIFIES = (
    classify_settings.check_levels,
    classify_settings.check_boxes,
    classify_settings.check_maps,
    classify_settings.check_vector_norms,
)
_TWO_STAGES = (propose_settings, classify_settings)
_add_own("faster_rcnn", "keras_fpn.models.faster_rcnn:FasterRCNN", *_TWO_STAGES, checks=_CLASSIFIES)
_SEGMENTS = (*_CLASSIFIES, mask_settings.check_background)
_add_own("mask_rcnn", "keras_fpn.models.mask_rcnn:MaskRCNN", *_TWO_STAGES, mask_settings, checks=_SEGMENTS)
_add_own(
    "keypoint_rcnn", "keras_fpn.models.keypoint_rcnn:KeypointRCNN", *_TWO_STAGES, keypoint_settings, checks=_CLASSIFIES
)
_add_own(
    "mask_keypoint_rcnn",
    "keras_fpn.models.mask_keypoint_rcnn:MaskKeypointRCNN",
    *_TWO_STAGES,
    mask_settings,
    keypoint_settings,
    checks=_SEGMENTS,
)
_CASCADE = (*_TWO_STAGES, cascade_settings)
_add_own(
    "cascade_rcnn",
    "keras_fpn.models.cascade_rcnn:CascadeRCNN",
    *_CASCADE,
    checks=(*_CLASSIFIES, cascade_settings.check_stages),
    defaults=cascade_settings.DEFAULTS,
)
_add_own(
    "cascade_mask_rcnn",
    "keras_fpn.models.cascade_mask_rcnn:CascadeMaskRCNN",
    *_CASCADE,
    mask_settings,
    checks=(*_SEGMENTS, cascade_settings.check_stages),
    defaults=cascade_settings.DEFAULTS,
)
_add_own("rpn", "keras_fpn.models.rpn:RPN", propose_settings)
_add_own("fast_rcnn", "keras_fpn.models.fast_rcnn:FastRCNN", classify_settings, checks=_CLASSIFIES)
_add_own("segment_proposals", "keras_fpn.models.segment_proposals:SegmentProposals", segment_settings)
_STRIDED = Choice(NECKS, "name", "fpn_strided")
_FROM_P3 = {"pyramid": {"levels": ["P3", "P4", "P5", "P6", "P7"]}}
_add_own(
    "retinanet",
    "keras_fpn.models.retinanet:RetinaNet",
    dense_settings,
    checks=(dense_settings.check_levels,),
    defaults=_FROM_P3,
    pyramid=_STRIDED,
)
_add_own("fcos", "keras_fpn.models.fcos:FCOS", fcos_settings, defaults=_FROM_P3, pyramid=_STRIDED)
