"""The heads that `box_head.name` can name."""

from collections.abc import Mapping
from typing import Any

from keras_fpn.backbones.build import build_conv5
from keras_fpn.console.errors import UserError
from keras_fpn.heads.box_head import BoxHead
from keras_fpn.heads.conv5_head import Conv5Head
from keras_fpn.heads.normed_box_head import NormedBoxHead


def build_fc_head(num_classes: int, context: Any, pooling: Mapping[str, Any], *, name: str, **options: Any) -> BoxHead:
    """The paper's two fully connected layers, or torchvision's convolutions and one."""
    return BoxHead(num_classes, name=name, **options)


def build_normed_fc_head(
    num_classes: int, context: Any, pooling: Mapping[str, Any], *, name: str, **options: Any
) -> NormedBoxHead:
    """The same, normalised after each fully connected layer."""
    return NormedBoxHead(num_classes, name=name, **options)


def build_conv5_head(
    num_classes: int, context: Any, pooling: Mapping[str, Any], *, name: str, **options: Any
) -> Conv5Head:
    """The C4 baseline's: the last stage of the backbone on every crop.

    Raises:
        UserError: RoIs are read from elsewhere than C4, or the backbone has no such stage.
    """
    conv5 = build_conv5(context.settings["backbone"])
    levels = pooling["levels"]
    if levels != ["C4"]:
        raise UserError(
            f"box_head.name: conv5 reads C4, not {', '.join(levels)}; set roi_pooling.levels=[C4], pyramid.levels=[C4]"
            " and pyramid.name=single_scale"
        )
    return Conv5Head(num_classes, conv5, name=name, **options)
