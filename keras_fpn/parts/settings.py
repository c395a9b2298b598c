"""Base of the settings of every part, and the kinds of values that they are made of.

A part states its settings once, in a `Settings` of its own beside it: names, types, defaults, and in `profiles` what
the profiles have otherwise. The configuration's schema, the defaults, the models' `get_config` and the errors come from
there. Nothing here imports TensorFlow.
"""

import copy
from fractions import Fraction
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveFloat, ValidationError, field_validator

# The conventions in which implementations differ: detectron2's and torchvision's ResNet-50-FPN Faster R-CNN, and those
# of Lin et al. (CVPR 2017), where the paper is silent of its authors' own release (Detectron). Defaults: detectron2's.
PROFILES = ("detectron2", "torchvision", "paper")

Level = Literal["P2", "P3", "P4", "P5", "P6", "P7", "P8", "C2", "C3", "C4", "C5"]
Levels = Annotated[list[Level], Field(min_length=1)]
Norm = Literal["frozen_batch_norm", "batch_norm", "sync_batch_norm", "group_norm", "layer_norm"]
Probability = Annotated[float, Field(ge=0, le=1)]
# Bounds that no model reaches: a file from anybody may ask for what no machine has, or for more than 32 bits hold.
Count = Annotated[int, Field(gt=0, le=1_000_000)]
Channels = Annotated[int, Field(gt=0, le=65_536)]
Side = Annotated[int, Field(gt=0, le=65_536)]  # pixels
Triple = Annotated[list[float], Field(min_length=3, max_length=3)]
BoxWeights = Annotated[list[PositiveFloat], Field(min_length=4, max_length=4)]
Positives = Annotated[list[PositiveFloat], Field(min_length=1)]


def _share(value):
    # "60/90" reads as the papers write it: the 60 000th of 90 000 steps.
    try:
        return float(Fraction(value)) if isinstance(value, str) and "/" in value else value
    except ZeroDivisionError:
        raise ValueError("the run that a share is taken of has no length") from None


Share = Annotated[float, BeforeValidator(_share), Field(gt=0, lt=1)]


class Settings(BaseModel):
    """Frozen settings that refuse unknown keys; a part derives its own.

    `profiles`: `{profile: {key: value}}`, what a profile has otherwise than the defaults. `conventions`: settings under
    which weights work only as they were trained; others change what is done with the outputs. `elsewhere`:
    `{source: {key: value}}`, the one value that the models of a source have. `is_written`: whether these settings go
    into a file of weights beside the tensors, whose shapes do not tell them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)
    profiles: ClassVar[dict[str, dict[str, Any]]] = {}
    conventions: ClassVar[tuple[str, ...]] = ()
    elsewhere: ClassVar[dict[str, dict[str, Any]]] = {}
    is_written: ClassVar[bool] = False

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value, info):
        if isinstance(value, bool) and cls.model_fields[info.field_name].annotation is not bool:
            raise ValueError("input should not be true or false")
        return value

    @classmethod
    def defaults(cls, profile: str = "detectron2") -> dict:
        """`{key: value}` of every setting under a profile; a setting that must be given is left out."""
        required = [name for name, field in cls.model_fields.items() if field.is_required()]
        own = {name: field.get_default(call_default_factory=True) for name, field in cls.model_fields.items()}
        own |= copy.deepcopy(cls.profiles.get(profile, {}))
        return {name: value for name, value in own.items() if name not in required}


def first_problem(error: ValidationError) -> tuple[list[str], str]:
    """`(path of the setting, what is wrong with it)` of the first mistake that pydantic found."""
    first = error.errors(include_url=False)[0]
    found = "" if isinstance(first["input"], dict) else f" (found {first['input']!r})"
    message = first["msg"].removeprefix("Value error, ")
    return [str(part) for part in first["loc"]], f"{message[:1].lower()}{message[1:]}{found}"
