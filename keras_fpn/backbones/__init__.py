"""Backbones: image -> {"C2".."C5"}, feature maps at strides 4, 8, 16 and 32."""

from keras_fpn.backbones.applications import application_names, application_pixels, build_application
from keras_fpn.backbones.normalization import NORMS
from keras_fpn.backbones.resnet import ARCHITECTURES, build_resnet
from keras_fpn.errors import UserError
from keras_fpn.profiles import nearest

__all__ = ["build_backbone", "default_pixels"]


def build_backbone(settings):
    """Build the backbone that the settings name.

    Args:
        settings: `{"name": ..., **options}`: a network of this package ("resnet50": see `build_resnet`) or one of
            `keras.applications` ("MobileNetV2": see `build_application`).

    Returns:
        Functional `keras.Model`, normalised pixels `[B, H, W, 3]` -> `{"C2".."C5"}`.

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
    if name in ARCHITECTURES:
        if weights is not None:
            raise UserError(
                f"backbone.weights: {name} has none to download; start from null, or name a network of "
                "keras.applications, such as ResNet50, to start from its ImageNet weights"
            )
        return build_resnet(name, **options)
    if name in application_names():
        kept = {key: options[key] for key in ("norm", "freeze_at") if key in options}
        return build_application(name, weights=weights, **kept)
    raise UserError(f"backbone.name: unknown {name!r}{nearest(name, [*ARCHITECTURES, *application_names()])}")


def default_pixels(name):
    """Pixel normalisation that a `keras.applications` network expects, or None for one of this package."""
    return application_pixels(name) if name in application_names() else None
