"""The pyramids that a configuration can name, and the settings of each; nothing here imports TensorFlow."""

from collections.abc import Callable
from typing import ClassVar, Literal, TypeVar

from pydantic import NonNegativeFloat, field_validator

from keras_fpn.parts.registry import Part, Registry
from keras_fpn.parts.settings import Channels, Levels, Norm, Settings

NECKS = Registry("pyramid", "pyramid.name")
_Build = TypeVar("_Build", bound=Callable)


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
    strided = "keras_fpn.necks.fpn_strided:build_fpn_strided"
    NECKS.add("fpn_strided", Part("fpn_strided", StridedPyramidSettings, strided))
    single_scale = "keras_fpn.necks.single_scale:build_single_scale"
    NECKS.add("single_scale", Part("single_scale", NeckSettings, single_scale))


_register_own()
