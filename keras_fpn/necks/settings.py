"""The pyramids that a configuration can name, and the settings of each; nothing here imports TensorFlow."""

from collections.abc import Callable
from typing import Annotated, ClassVar, Literal, TypeVar

from pydantic import Field, NonNegativeFloat, field_validator

from keras_fpn.parts.registry import Part, Registry
from keras_fpn.parts.settings import Channels, Levels, Norm, Settings

NECKS = Registry("pyramid", "pyramid.name")
_Build = TypeVar("_Build", bound=Callable)
Repeats = Annotated[int, Field(gt=0, le=100)]


class NeckSettings(Settings):
    """Settings of every pyramid.

    `levels`: outputs wanted, finest first: a run without gaps such as P2..P6 or P3..P5, or the one level of a pyramid
    that has no more.
    """

    name: str = "fpn"
    levels: Levels = ["P2", "P3", "P4", "P5", "P6"]
    elsewhere = {"torchvision": {"name": "fpn"}}
    # {source: number}, how many levels the models of a source have above the coarsest of their backbone.
    levels_above: ClassVar[dict[str, int]] = {"torchvision": 1}

    @field_validator("levels")
    @classmethod
    def _neighbours(cls, levels):
        if ",".join(levels) not in "P2,P3,P4,P5,P6,P7,P8" and levels[0] not in ("C2", "C3", "C4", "C5"):
            raise ValueError(f"must be neighbours, finest first, not {', '.join(levels)}")
        return levels


class PyramidSettings(NeckSettings):
    """Of a pyramid with convolutions: also the channels of every output, and their normalisation (null: none)."""

    channels: Channels = 256
    norm: Norm | None = None
    norm_epsilon: NonNegativeFloat = 1e-5
    conventions: ClassVar[tuple[str, ...]] = ("norm", "norm_epsilon")


class StridedPyramidSettings(PyramidSettings):
    """Of the pyramid with convolutions of stride 2 above the backbone's coarsest map.

    `top_input`: what the first of them reads, that map ("backbone") or the pyramid's level of it ("pyramid").
    """

    levels: Levels = ["P3", "P4", "P5", "P6", "P7"]
    top_input: Literal["backbone", "pyramid"] = "backbone"
    profiles = {"torchvision": {"top_input": "pyramid"}}
    conventions = (*PyramidSettings.conventions, "top_input")
    elsewhere = {"torchvision": {"name": "fpn_strided"}}
    levels_above: ClassVar[dict[str, int]] = {"torchvision": 2}


class AggregatedPyramidSettings(PyramidSettings):
    """Of a pyramid with a bottom-up path after the top-down one.

    `top_input`: null where levels above the backbone's coarsest map are every second cell of the one below; else they
    are convolutions of stride 2, the first of that map ("backbone") or of the pyramid's level of it ("pyramid").
    """

    top_input: Literal["backbone", "pyramid"] | None = None
    conventions = (*PyramidSettings.conventions, "top_input")


class BiFPNSettings(PyramidSettings):
    """Of the bidirectional pyramid; EfficientDet-D0 has 3 cells of 64 channels, D7 8 of 384 and unweighted sums.

    `repeats`: cells, one after the other. `fusion`: how the maps of a sum are weighed: by learnt weights over their sum
    ("fast"), by the softmax of such weights, or not at all ("sum").
    """

    norm: Norm | None = "batch_norm"
    norm_epsilon: NonNegativeFloat = 1e-3
    repeats: Repeats = 3
    fusion: Literal["fast", "softmax", "sum"] = "fast"
    conventions = (*PyramidSettings.conventions, "fusion")


class NASFPNSettings(PyramidSettings):
    """Of the searched pyramid, on five levels. `repeats`: stacks of seven cells, 7 in the paper."""

    norm: Norm | None = "batch_norm"
    norm_epsilon: NonNegativeFloat = 1e-4
    repeats: Repeats = 7


class SimplePyramidSettings(PyramidSettings):
    """Of the pyramid of a single map, C4, each level of it by itself."""

    norm: Norm | None = "layer_norm"
    norm_epsilon: NonNegativeFloat = 1e-6


def register_neck(name: str, settings: type[NeckSettings] = PyramidSettings) -> Callable[[_Build], _Build]:
    """Register what builds a pyramid under a name of its own; a decorator.

    Args:
        name: for `pyramid.name`.
        settings: a `NeckSettings` or `PyramidSettings` with the options that it reads.

    The function decorated is called with `channels_per_level`, `{"C2": 256, ...}` of the backbone's maps, and the
    settings but the name; it returns a functional `keras.Model` from `{"Ck": [B, h, w, C_k]}`, the maps that it reads,
    to `{"Pk": [B, h, w, channels]}`. `keras_fpn.necks.stretches.build_run` makes one of a way to merge the maps.
    """

    def add(build):
        NECKS.add(name, Part(name, settings, build))
        return build

    return add


def _register_own():
    for name in ("fpn", "bottom_up", "top_down", "finest_level", "fusion", "ssd"):
        NECKS.add(name, Part(name, PyramidSettings, f"keras_fpn.necks.{name}:build_{name}"))
    for name, settings in {
        "fpn_strided": StridedPyramidSettings,
        "panet": AggregatedPyramidSettings,
        "pafpn": AggregatedPyramidSettings,
        "bifpn": BiFPNSettings,
        "nas_fpn": NASFPNSettings,
        "simple_pyramid": SimplePyramidSettings,
        "single_scale": NeckSettings,
    }.items():
        NECKS.add(name, Part(name, settings, f"keras_fpn.necks.{name}:build_{name}"))


_register_own()
