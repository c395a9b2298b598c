"""The backbones that a configuration can name, and the settings of each; nothing here imports TensorFlow."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import Field, NonNegativeFloat, PositiveInt

from keras_fpn.backbones.layer_groups import of_convnext, of_vit
from keras_fpn.console import extras
from keras_fpn.parts.registry import Part, Registry
from keras_fpn.parts.settings import Channels, Norm, Settings

BACKBONES = Registry("backbone", "backbone.name")
_Build = TypeVar("_Build", bound=Callable)
# Pixels of the image between neighbouring cells. MobileNetV3 has two maps of 32: its last convolution is a level, too.
STRIDES = {"C2": 4, "C3": 8, "C4": 16, "C5": 32}
MOBILENET_V3_STRIDES = STRIDES | {"C6": 32}
RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
# Number of blocks, groups of the 3x3 convolutions, channels of a group.
RESNEXTS = ("resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d")
SWINS = dict.fromkeys(("swin_t", "swin_s", "swin_b"), ())
# With the layers that learn at one rate, see `layer_groups`.
VITS = {"vit_b": of_vit(12), "vit_l": of_vit(24), "vit_h": of_vit(32)}
CONVNEXTS = {
    "convnext_tiny": of_convnext(9),
    **dict.fromkeys(("convnext_small", "convnext_base", "convnext_large"), of_convnext(27)),
}
# What each family's own `preprocess_input` does, in our terms; families not listed rescale inside the network.
_CAFFE = {"channel_order": "BGR", "mean": [103.939, 116.779, 123.68], "std": [1.0, 1.0, 1.0]}
_TENSORFLOW = {"channel_order": "RGB", "mean": [127.5, 127.5, 127.5], "std": [127.5, 127.5, 127.5]}
_TORCH = {"channel_order": "RGB", "mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}
_INSIDE = {"channel_order": "RGB", "mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]}
_CAFFE_NAMES = ("ResNet50", "ResNet101", "ResNet152", "VGG16", "VGG19")
_TENSORFLOW_NAMES = (
    "ResNet50V2", "ResNet101V2", "ResNet152V2", "MobileNet", "MobileNetV2", "InceptionV3", "InceptionResNetV2",
    "Xception", "NASNetMobile", "NASNetLarge",
)  # fmt: skip
_TORCH_NAMES = ("DenseNet121", "DenseNet169", "DenseNet201")
_INSIDE_NAMES = (
    *(f"ConvNeXt{size}" for size in ("Tiny", "Small", "Base", "Large", "XLarge")),
    *(f"EfficientNetB{number}" for number in range(8)),
    *(f"EfficientNetV2{size}" for size in ("B0", "B1", "B2", "B3", "S", "M", "L")),
    "MobileNetV3Large", "MobileNetV3Small",
)  # fmt: skip
# The networks of `keras.applications`, by name: the pixel normalisation that their ImageNet weights expect.
APPLICATION_PIXELS = {
    **dict.fromkeys(_CAFFE_NAMES, _CAFFE),
    **dict.fromkeys(_TENSORFLOW_NAMES, _TENSORFLOW),
    **dict.fromkeys(_TORCH_NAMES, _TORCH),
    **dict.fromkeys(_INSIDE_NAMES, _INSIDE),
}


class BackboneSettings(Settings):
    """Settings of every backbone: image -> C2..C5.

    `norm`: of the whole network: batch normalisation that is frozen, live, or live over the batches of all devices
    ("sync_batch_norm"), of 32 groups of channels, or of the channels of each cell ("layer_norm"). `freeze_at`: stages
    that are not trained, counted from the stem: 0 none, 1 the stem, 2 the stem and C2 ... `weights`: of a network of
    `keras.applications`, "imagenet" or a file; null for random ones.
    """

    name: str = "resnet50"
    norm: Norm = "frozen_batch_norm"
    freeze_at: Annotated[int, Field(ge=0, le=5)] = 2
    weights: str | None = None


class MobileNetV3Settings(BackboneSettings):
    """Of MobileNetV3-Large: also the epsilon of its normalisation."""

    norm_epsilon: NonNegativeFloat = 1e-5


class ResNetSettings(MobileNetV3Settings):
    """Of the ResNets: also the convolution that carries a stage's stride, and the channels of the stem.

    `res5_dilation`: 2 leaves C5 at the stride of C4, and spreads the 3x3 convolutions of all its blocks instead, those
    of the first, too (detectron2's DC5).
    """

    stride_in: Literal["3x3", "first_1x1"] = "first_1x1"
    width: Channels = 64
    res5_dilation: Literal[1, 2] = 1
    conventions = ("stride_in", "res5_dilation")  # the epsilon is taken over with the statistics
    elsewhere = {"torchvision": {"res5_dilation": 1}}
    profiles = {"torchvision": {"stride_in": "3x3"}}


class ResNeXtSettings(ResNetSettings):
    """Of the ResNeXts: those of the ResNets, but that the stride of a stage is in its 3x3 at every source."""

    stride_in: Literal["3x3", "first_1x1"] = "3x3"
    profiles: ClassVar[dict[str, dict[str, Any]]] = {}


class TransformerSettings(Settings):
    """Of Swin: it has layer normalisations throughout, whose statistics are each image's own.

    `freeze_at`: see `BackboneSettings`. `drop_path`: rate at which the branches of the last block are left out of an
    image in training (stochastic depth), of those before it less.
    """

    name: str = "swin_t"
    freeze_at: Annotated[int, Field(ge=0, le=5)] = 0
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.0


class VisionTransformerSettings(Settings):
    """Of a plain ViT, which gives C4 alone, for `pyramid.name=simple_pyramid`. `drop_path`: as of Swin.

    `position_side`: cells of a side of the maps that its places were learnt of, 14 of 224 pixels. `map_side`: of those
    that the relative positions of whole maps are of, 64 of 1024 pixels. For pictures of other sizes both are resized.
    """

    name: str = "vit_b"
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.0
    position_side: PositiveInt = 14
    map_side: PositiveInt = 64


class GivenSettings(Settings):
    """Of a Keras model that Python gives: its configuration, see `backbones.given`."""

    name: str = "given"
    network: dict[str, Any] = {}


class KerasHubSettings(BackboneSettings):
    """Of a backbone of KerasHub, `keras_hub:PRESET`: as of `keras.applications`, with `weights` null or "preset"."""

    weights: Literal["preset"] | None = None


class ConvNeXtSettings(TransformerSettings):
    """Of ConvNeXt, like Swin. `layer_scale`: factors of its blocks' branches before any weights are loaded."""

    name: str = "convnext_tiny"
    layer_scale: NonNegativeFloat = 1.0


def register_backbone(
    name: str, settings: type[BackboneSettings] = BackboneSettings, *, pixels: Mapping[str, Any] | None = None
) -> Callable[[_Build], _Build]:
    """Register what builds a backbone under a name of its own; a decorator.

    Args:
        name: for `backbone.name`.
        settings: a `BackboneSettings` with the options that it reads.
        pixels: `{"channel_order", "mean", "std"}` that it expects; without, the profile's.

    The function decorated is called with the settings but the name, and returns a functional `keras.Model` from
    normalised pixels `[B, H, W, 3]` to `{"C2": [B, h, w, C], ...}`, with an attribute `strides`, `{"C2": 4, ...}`.
    """

    def add(build):
        facts = {} if pixels is None else {"pixels": dict(pixels)}
        BACKBONES.add(name, Part(name, settings, build, facts=facts))
        return build

    return add


def default_pixels(name: str) -> dict[str, Any] | None:
    """Pixel normalisation that a backbone expects whatever the profile says, or None where the profile says it."""
    pixels = BACKBONES[name].facts.get("pixels") if name in BACKBONES else None
    return pixels() if callable(pixels) else pixels


def strides_of(settings: Mapping[str, Any]) -> dict[str, int] | None:
    """`{"C2": 4, ...}` of the backbone that settings name, or None where only the built network says them."""
    strides = BACKBONES[settings["name"]].facts.get("strides")
    return strides(settings) if callable(strides) else strides


def layer_groups_of(name: str) -> tuple[str, ...]:
    """Patterns of the layers of a backbone that learn at one rate, from the image on; empty where nobody says them."""
    return BACKBONES[name].facts.get("layer_groups", ())


def check_layer_decay(decay: float, name: str) -> None:
    """Check that the layers of a backbone are grouped where their rates are to differ.

    Raises:
        ValueError: they are not.
    """
    if decay < 1 and not layer_groups_of(name):
        known = ", ".join(part.name for part in BACKBONES if part.facts.get("layer_groups"))
        raise ValueError(f"training.layer_decay: the layers of {name} are in no groups; those of {known} are")


def resnet_strides(settings: Mapping[str, Any]) -> dict[str, int]:
    """`{"C2": 4, ...}` of a ResNet: with a dilated res5, C5's is C4's."""
    return STRIDES | ({"C5": STRIDES["C4"]} if settings["res5_dilation"] > 1 else {})


def _of_keras_hub(name):
    """The part "keras_hub:PRESET"; its pixels are read when asked for, as that imports KerasHub."""

    def pixels():
        extras.check("keras_hub", extra="hub")
        from keras_fpn.backbones.keras_hub import preset_pixels

        return preset_pixels(name)

    target = "keras_fpn.backbones.keras_hub:build_keras_hub"
    return Part(name, KerasHubSettings, target, {"name": name}, {"pixels": pixels})


def _register_own():
    target = "keras_fpn.backbones.resnet:build_resnet"
    for names, settings in ((RESNETS, ResNetSettings), (RESNEXTS, ResNeXtSettings)):
        for name in names:
            BACKBONES.add(name, Part(name, settings, target, {"name": name}, {"strides": resnet_strides}))
    mobilenet = "mobilenet_v3_large"
    target = "keras_fpn.backbones.mobilenet_v3:build_mobilenet_v3_large"
    facts = {"strides": MOBILENET_V3_STRIDES}
    BACKBONES.add(mobilenet, Part(mobilenet, MobileNetV3Settings, target, facts=facts))
    for family, names, settings, strides in (
        ("swin", SWINS, TransformerSettings, STRIDES),
        ("convnext", CONVNEXTS, ConvNeXtSettings, STRIDES),
        ("vit", VITS, VisionTransformerSettings, {"C4": STRIDES["C4"]}),
    ):
        for name, groups in names.items():
            target = f"keras_fpn.backbones.{family}:build_{family}"
            facts = {"pixels": _TORCH, "strides": strides, "layer_groups": groups}
            BACKBONES.add(name, Part(name, settings, target, {"name": name}, facts))
    BACKBONES.add("given", Part("given", GivenSettings, "keras_fpn.backbones.given:build_given"))
    BACKBONES.add_family("keras_hub", _of_keras_hub)
    for name, pixels in APPLICATION_PIXELS.items():
        target = "keras_fpn.backbones.applications:build_application"
        facts = {"pixels": pixels, "strides": STRIDES}
        BACKBONES.add(name, Part(name, BackboneSettings, target, {"name": name}, facts))


_register_own()
