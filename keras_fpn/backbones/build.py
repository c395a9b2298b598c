"""The backbone that the settings name, whole or up to the coarsest map that is read."""

from collections.abc import Iterable, Mapping
from typing import Any

import keras

from keras_fpn.backbones.resnet import build_conv5 as build_resnet_conv5
from keras_fpn.backbones.settings import BACKBONES, RESNETS, RESNEXTS
from keras_fpn.console.errors import UserError
from keras_fpn.console.naming import nearest
from keras_fpn.layers.normalization import NORMS
from keras_fpn.ops.octaves import level_number

_WITH_WEIGHTS = ("keras_fpn.backbones.applications", "keras_fpn.backbones.keras_hub")  # that Keras' own loading gives


def build_backbone(settings: Mapping[str, Any]) -> keras.Model:
    """Build the backbone that the settings name.

    Args:
        settings: `{"name": ..., **options}`, those of its part in `BACKBONES`: a network of this package ("resnet50":
            see `build_resnet`, "mobilenet_v3_large": see `build_mobilenet_v3_large`), one of `keras.applications`
            ("MobileNetV2": see `build_application`), or one that an extension registers.

    Returns:
        Functional `keras.Model`, normalised pixels `[B, H, W, 3]` -> `{"C2".."C5"}`. Its `strides`, `{"C2": 4, ...}`,
        are the image's pixels between neighbouring cells of each map.

    Raises:
        UserError: for an unknown name, norm or freeze_at, or weights that cannot be had.
    """
    options = dict(settings)
    part = BACKBONES[options.pop("name")]
    norm, freeze_at = options.get("norm", next(iter(NORMS))), options.get("freeze_at", 0)
    if norm not in NORMS:
        raise UserError(f"backbone.norm: unknown value {norm!r}{nearest(norm, NORMS)}")
    if freeze_at not in range(6):
        raise UserError(f"backbone.freeze_at: {freeze_at!r}; give 0 (everything is trained) to 5 (all stages frozen)")
    if not part.origin.startswith(_WITH_WEIGHTS):
        weights = options.pop("weights", None)
        if weights is not None:
            raise UserError(
                f"backbone.weights: {part.name} takes none; give them to the training: train --weights {part.name}, or "
                "another name that keras-fpn weights lists, or a .keras file that keras-fpn convert made"
            )
    return part.build(**options)


def build_conv5(settings: Mapping[str, Any]) -> keras.Model:
    """Build the last stage of the backbone that the settings name, for the head on C4; see `resnet.build_conv5`.

    Args:
        settings: as for `build_backbone`.

    Raises:
        UserError: the network is none of this package's ResNets, the only ones with a conv5.
    """
    options = {key: value for key, value in settings.items() if key != "weights"}
    known = (*RESNETS, *RESNEXTS)
    if options["name"] not in known:
        raise UserError(
            f"box_head.name: conv5 is a stage of {', '.join(known)}; {options['name']} has none of its own, so"
            " set box_head.name=fc or backbone.name to one of these"
        )
    return build_resnet_conv5(**options)


def cut_backbone(backbone: keras.Model, levels: Iterable[str]) -> keras.Model:
    """The backbone up to the coarsest map that is read: itself where that is its last.

    Args:
        backbone: what `build_backbone` gave.
        levels: names of the maps that are read, such as `["C4"]`.
    """
    last = max(map(level_number, levels))
    taps = {level: feature for level, feature in backbone.output.items() if level_number(level) <= last}
    if len(taps) == len(backbone.output):
        return backbone
    cut = keras.Model(backbone.input, taps, name=backbone.name)
    cut.strides = {level: backbone.strides[level] for level in taps}
    if hasattr(backbone, "checkpoint_names"):
        cut.checkpoint_names = backbone.checkpoint_names
    return cut
