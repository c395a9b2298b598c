"""Backbones: image -> {"C2".."C5"}, feature maps at strides 4, 8, 16 and 32 (MobileNetV3's C6: 32 too)."""

import keras

from keras_fpn.backbones.applications import application_names, application_pixels, build_application
from keras_fpn.backbones.mobilenet_v3 import NAME as MOBILENET_V3_LARGE
from keras_fpn.backbones.mobilenet_v3 import build_mobilenet_v3_large
from keras_fpn.backbones.resnet import ARCHITECTURES, build_resnet
from keras_fpn.backbones.resnet import build_conv5 as build_resnet_conv5
from keras_fpn.errors import UserError
from keras_fpn.levels import level_number
from keras_fpn.naming import nearest
from keras_fpn.normalization import NORMS

__all__ = ["build_backbone", "build_conv5", "cut_backbone", "default_pixels"]

OWN = (*ARCHITECTURES, MOBILENET_V3_LARGE)


def build_backbone(settings):
    """Build the backbone that the settings name.

    Args:
        settings: `{"name": ..., **options}`: a network of this package ("resnet50": see `build_resnet`,
            "mobilenet_v3_large": see `build_mobilenet_v3_large`) or one of `keras.applications` ("MobileNetV2": see
            `build_application`).

    Returns:
        Functional `keras.Model`, normalised pixels `[B, H, W, 3]` -> `{"C2".."C5"}`. Its `strides`, `{"C2": 4, ...}`,
        are the image's pixels between neighbouring cells of each map.

    Raises:
        UserError: for an unknown name, norm or freeze_at, or weights that cannot be had.
    """
    options = dict(settings)
    norm, freeze_at = options.get("norm", NORMS[0]), options.get("freeze_at", 0)
    if norm not in NORMS:
        raise UserError(f"backbone.norm: unknown value {norm!r}{nearest(norm, NORMS)}")
    if freeze_at not in range(6):
        raise UserError(f"backbone.freeze_at: {freeze_at!r}; give 0 (everything is trained) to 5 (all stages frozen)")
    name, weights = options.pop("name"), options.pop("weights", None)
    if name in application_names():
        return build_application(name, weights=weights, **_only(options, "norm", "freeze_at"))
    if name not in OWN:
        raise UserError(f"backbone.name: unknown {name!r}{nearest(name, [*OWN, *application_names()])}")
    if weights is not None:
        raise UserError(
            f"backbone.weights: {name} has none to download; convert a published file with keras-fpn convert "
            f"{name}.pth --out {name}.keras and start with train --weights {name}.keras"
        )
    if name == MOBILENET_V3_LARGE:
        return build_mobilenet_v3_large(**_only(options, "norm", "norm_epsilon", "freeze_at"))
    return build_resnet(name, **options)


def _only(options, *names):
    """Those of the options that this kind of network has."""
    return {name: options[name] for name in names if name in options}


def build_conv5(settings):
    """Build the last stage of the backbone that the settings name, for the head on C4; see `resnet.build_conv5`.

    Args:
        settings: as for `build_backbone`.

    Raises:
        UserError: the network is none of this package's ResNets, the only ones with a conv5.
    """
    options = {key: value for key, value in settings.items() if key != "weights"}
    if options["name"] not in ARCHITECTURES:
        raise UserError(
            f"box_head.name: conv5 is a stage of {', '.join(ARCHITECTURES)}; {options['name']} has none of its own, so"
            " set box_head.name=fc or backbone.name to one of these"
        )
    return build_resnet_conv5(**options)


def cut_backbone(backbone, levels):
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
    return cut


def default_pixels(name):
    """Pixel normalisation that a `keras.applications` network expects, or None for one of this package."""
    return application_pixels(name) if name in application_names() else None
