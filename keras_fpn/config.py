"""Configuration: a frozen tree of settings, read from YAML as a difference from the defaults.

    defaults of the profile  <-  YAML file  <-  `--set a.b=value`  ->  validated `Config`

The defaults are detectron2's 1x recipe for ResNet-50-FPN Faster R-CNN. A key that does not exist is refused
with its path and the nearest one that does. Only commands read a `Config`; the stages take plain arguments.
"""

import copy
import difflib
import importlib.resources
import re
from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

from keras_fpn.errors import UserError
from keras_fpn.naming import nearest
from keras_fpn.profiles import resolve

Level = Literal["P2", "P3", "P4", "P5", "P6", "P7", "P8", "C2", "C3", "C4", "C5"]
Probability = Annotated[float, Field(ge=0, le=1)]
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


class Section(BaseModel):
    """Frozen settings that refuse unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value, info):
        if isinstance(value, bool) and cls.model_fields[info.field_name].annotation is not bool:
            raise ValueError("input should not be true or false")
        return value


class Pixels(Section):
    channel_order: Literal["RGB", "BGR"]
    mean: Triple
    std: Annotated[list[PositiveFloat], Field(min_length=3, max_length=3)]


class Resize(Section):
    min_side: PositiveInt
    max_side: PositiveInt
    rounding: Literal["half_up", "floor"]
    interpolation: Literal["pillow", "bilinear"]
    size_divisor: PositiveInt


class Backbone(Section):
    name: str
    stride_in: Literal["3x3", "first_1x1"]
    norm: Literal["frozen_batch_norm", "batch_norm"]
    norm_epsilon: NonNegativeFloat
    freeze_at: Annotated[int, Field(ge=0, le=5)]
    width: PositiveInt
    weights: str | None


class Pyramid(Section):
    name: str
    channels: PositiveInt
    levels: Annotated[list[Level], Field(min_length=1)]
    norm: Literal["frozen_batch_norm", "batch_norm"] | None
    norm_epsilon: NonNegativeFloat


class Anchors(Section):
    sizes: dict[Level, Positives]
    ratios: Positives
    rounding: Literal["none", "torchvision", "detectron"]
    offset: float
    stride_source: Literal["nominal", "floor"]
    order: Literal["size_major", "ratio_major"]


class RPN(Section):
    channels: PositiveInt
    conv_layers: PositiveInt


class Proposals(Section):
    pre_nms_top_k_train: PositiveInt
    pre_nms_top_k_test: PositiveInt
    post_nms_top_k_train: PositiveInt
    post_nms_top_k_test: PositiveInt
    nms_threshold: Probability
    score_threshold: Probability
    min_size: NonNegativeFloat
    box_weights: BoxWeights


class AnchorTargets(Section):
    positive_iou: Probability
    negative_iou: Probability
    low_quality_matches: bool
    samples_per_image: PositiveInt
    positive_fraction: Probability
    crowd_ioa: Probability

    @model_validator(mode="after")
    def _in_order(self):
        if self.negative_iou > self.positive_iou:
            raise ValueError("negative_iou must not be above positive_iou")
        return self


class RoITargets(Section):
    positive_iou: Probability
    samples_per_image: PositiveInt
    positive_fraction: Probability
    add_ground_truth: bool
    crowd_ioa: Probability


class RoIPooling(Section):
    method: Literal["align", "max"]
    output_size: PositiveInt
    sampling_ratio: NonNegativeInt
    aligned: bool
    levels: Annotated[list[Level], Field(min_length=1)]
    canonical_size: PositiveFloat
    canonical_level: PositiveInt
    implementation: Literal["crop_and_resize", "gather"]


class BoxHead(Section):
    name: Literal["fc", "conv5"]
    units: PositiveInt
    initializer: Literal["xavier", "torch_linear"]
    conv_layers: NonNegativeInt
    conv_channels: PositiveInt
    fc_layers: Literal[1, 2]
    norm: Literal["frozen_batch_norm", "batch_norm"] | None
    norm_epsilon: NonNegativeFloat
    background_logits: PositiveInt
    background_boxes: NonNegativeInt


class Losses(Section):
    rpn_box_beta: NonNegativeFloat
    roi_box_beta: NonNegativeFloat
    rpn_normalizer: Literal["samples_per_image", "sampled", "sampled_per_image"]


class Detections(Section):
    score_threshold: Probability
    nms_threshold: Probability
    max_detections: PositiveInt
    min_size: NonNegativeFloat
    box_weights: BoxWeights


class Segments(Section):
    units: PositiveInt
    mask_size: PositiveInt
    kernel_sizes: Annotated[list[Literal[5, 7]], Field(min_length=1, max_length=2)]
    canonical_size: PositiveFloat
    samples_per_image: PositiveInt
    positive_fraction: Probability
    crowd_ioa: Probability
    mask_loss_weight: NonNegativeFloat
    max_detections: PositiveInt

    @field_validator("kernel_sizes")
    @classmethod
    def _rising(cls, sizes):
        if sizes not in ([5], [7], [5, 7]):
            raise ValueError("kernel_sizes must be [5], [7] or [5, 7]")
        return sizes


class Model(Section):
    """The detector: a profile (`keras_fpn/profiles.py` documents the groups) and the differences from it.

    `num_classes` may stay empty for training: the annotations say it. `architecture`: the whole detector, one of its
    two stages alone (the region proposal network knows no classes), or segment proposals. Each reads the groups that it
    has stages for.
    """

    architecture: Literal["faster_rcnn", "rpn", "fast_rcnn", "segment_proposals"] = "faster_rcnn"
    profile: Literal["detectron2", "torchvision", "paper"] = "detectron2"
    num_classes: PositiveInt | None = None
    pixels: Pixels
    resize: Resize
    backbone: Backbone
    pyramid: Pyramid
    anchors: Anchors
    rpn: RPN
    proposals: Proposals
    anchor_targets: AnchorTargets
    roi_targets: RoITargets
    roi_pooling: RoIPooling
    box_head: BoxHead
    losses: Losses
    detections: Detections
    segments: Segments

    @model_validator(mode="after")
    def _levels_fit(self):
        levels = self.pyramid.levels
        if ",".join(levels) not in "P2,P3,P4,P5,P6,P7,P8" and levels[0] not in ("C2", "C3", "C4", "C5"):
            raise ValueError(f"pyramid.levels must be neighbours, finest first, not {', '.join(levels)}")
        has_rois = self.architecture in ("faster_rcnn", "fast_rcnn")
        for level in self.roi_pooling.levels if has_rois else ():
            if level not in levels:
                raise ValueError(f"roi_pooling.levels: {level} is not among pyramid.levels {', '.join(levels)}")
        return self

    def differences(self) -> dict[str, dict]:
        """Return what differs from the profile, `{group: {key: value}}`, as a `Detector` takes it."""
        groups = self.model_dump(exclude={"architecture", "profile", "num_classes"})
        return {
            name: {key: value for key, value in groups[name].items() if value != default[key]}
            for name, default in resolve(self.profile).items()
        }


class Split(Section):
    """Where one half of the data lies; `--data DIR` fills it in for a COCO layout.

    `proposals`: a folder that `keras-fpn propose` wrote for these images; only Fast R-CNN reads it.
    """

    annotations: str | None = None
    images: str | None = None
    proposals: str | None = None


class Data(Section):
    """What is read, and how it is varied for training. Evaluation follows `model.resize` alone.

    `min_sides`: one of these is drawn for each training image (longer side at most `model.resize.max_side`).
    `canvas`: [height, width] of every training batch, or null: the batch's own largest.
    `scale_jitter`: [low, high] resizes by a factor drawn from it and crops or pads to the canvas.
    `keep_empty`: train on images without objects, too. `invalid_boxes`: refuse a file with some, or drop
    them. `cache`: keep the decoded images in memory. `train_proposals`, `test_proposals`: how many of the best given
    proposals of an image are used, in training and in evaluation.
    """

    train: Split = Split()
    val: Split = Split()
    batch_size: PositiveInt = 16
    evaluation_batch_size: PositiveInt = 1
    min_sides: Annotated[list[PositiveInt], Field(min_length=1)] = [640, 672, 704, 736, 768, 800]
    canvas: Annotated[list[PositiveInt], Field(min_length=2, max_length=2)] | None = None
    horizontal_flip: bool = True
    scale_jitter: Annotated[list[PositiveFloat], Field(min_length=2, max_length=2)] | None = None
    group_by_aspect_ratio: bool = True
    keep_empty: bool = True
    invalid_boxes: Literal["refuse", "drop"] = "refuse"
    cache: bool = False
    train_proposals: PositiveInt = 2000
    test_proposals: PositiveInt = 1000

    @model_validator(mode="after")
    def _jitter_needs_a_canvas(self):
        if self.scale_jitter and not self.canvas:
            raise ValueError("scale_jitter needs a canvas: set data.canvas=[height, width]")
        return self


class Training(Section):
    """The length and the optimizer of a run. Its length is given in `steps` or in `epochs`, not in both.

    `milestones` are shares of the run ("60/90": after 60k of 90k steps) at which the learning rate is
    multiplied by `gamma`; `warmup_steps` rise linearly from `warmup_factor` times it. `steps_per_epoch`: how
    often progress is written and a checkpoint kept (null: one pass over the data). `evaluate_every`: epochs
    between COCO evaluations, 0 for the end only, and `evaluation_images` bounds their size. `clip_norm`:
    global gradient norm, null for none. `deterministic`: TensorFlow adds up in one order, so that two runs,
    or a run and its resumed twin, agree to the last bit and not just up to rounding; slower. `weights`: a .keras
    file whose weights the run starts from where they fit, null for fresh ones. `freeze`: parts that stay as they
    start, statistics included: of backbone, pyramid and the heads.
    """

    steps: PositiveInt | None = 90_000
    epochs: PositiveInt | None = None
    steps_per_epoch: PositiveInt | None = None
    learning_rate: PositiveFloat = 0.02
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: NonNegativeFloat = 1e-4
    clip_norm: PositiveFloat | None = None
    warmup_steps: NonNegativeInt = 1000
    warmup_factor: Probability = 1e-3
    milestones: list[Share] = [60 / 90, 80 / 90]
    gamma: PositiveFloat = 0.1
    evaluate_every: NonNegativeInt = 1
    evaluation_images: PositiveInt | None = None
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    deterministic: bool = False
    weights: str | None = None
    freeze: list[str] = []

    @model_validator(mode="after")
    def _one_length(self):
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give the length of the run in steps or in epochs, and leave the other null")
        if self.milestones != sorted(self.milestones):
            raise ValueError("milestones must rise")
        return self


class FourStep(Section):
    """Where the region proposal network's steps of `train --four-step` differ from `training`; null: nowhere."""

    rpn_steps: PositiveInt | None = None
    rpn_milestones: list[Share] | None = None

    @model_validator(mode="after")
    def _in_order(self):
        if self.rpn_milestones and self.rpn_milestones != sorted(self.rpn_milestones):
            raise ValueError("rpn_milestones must rise")
        return self


class Config(Section):
    """Everything a command needs to know: `model`, `data`, `training`, `four_step`."""

    model: Model
    data: Data = Data()
    training: Training = Training()
    four_step: FourStep = FourStep()

    def to_yaml(self) -> str:
        """Return every setting, resolved, as YAML that `load_config` reads back to an equal `Config`."""
        return yaml.safe_dump(self.model_dump(), sort_keys=False, default_flow_style=None, width=110)


Overrides = Mapping[str, Any] | Iterable[str]


def load_config(name_or_path="faster_rcnn_r50_fpn", overrides: Overrides = ()) -> Config:
    """Read a configuration.

    Args:
        name_or_path: name of a shipped configuration (`shipped_configs()`) or path of a YAML file.
        overrides: `["training.steps=1000", ...]` or `{"training.steps": 1000, ...}`; they win over the file.

    Returns:
        A validated, frozen `Config`.

    Raises:
        UserError: file absent or not YAML, unknown key, value of the wrong kind; one line.
    """
    source, raw = _read(name_or_path)
    pairs = [_parse_override(item) for item in _items(overrides)]
    settings = _defaults(_profile(source, raw, pairs))
    _merge(settings, raw, source)
    for path, value in pairs:
        _assign(settings, path, value)
    return _validate(settings, source, pairs)


def shipped_configs() -> list[str]:
    """Return the names of the configurations that come with the package; one in a folder is "paper/table1_c"."""
    return sorted(_names(_folder()))


def _names(folder, prefix=""):
    for item in folder.iterdir():
        if item.is_dir():
            yield from _names(item, f"{prefix}{item.name}/")
        elif item.name.endswith(".yaml"):
            yield prefix + item.name.removesuffix(".yaml")


def _folder():
    try:
        return importlib.resources.files("keras_fpn.configs")
    except ModuleNotFoundError:  # a bare checkout: the folder lies beside the package until it is installed
        return Path(__file__).resolve().parent.parent / "configs"


def _read(name_or_path):
    name, path = str(name_or_path), Path(name_or_path)
    if path.is_file():
        text = _read_text(path)
    elif name in shipped_configs():
        text = _folder().joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    else:
        raise UserError(f"{name}: no such configuration{_hint(name, path)}")
    raw = _parse_yaml(text, name)
    if raw is not None and not isinstance(raw, dict):
        raise UserError(f"{name}: expected sections model, data, training, four_step; found {type(raw).__name__}")
    return name, raw or {}


def _hint(name, path):
    is_file = path.suffix in (".yaml", ".yml") or len(path.parts) > 1
    near = difflib.get_close_matches(name.removesuffix(".yaml"), shipped_configs(), n=1)
    if near:
        return f"{' file' if is_file else ''}; did you mean {near[0]!r}?"
    if is_file:
        return " file"
    # Those of the paper's rows are many: their folder stands for them.
    return f"; valid are {', '.join(dict.fromkeys(re.sub('/.*', '/...', each) for each in shipped_configs()))}"


def _read_text(path):
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from None


def _parse_yaml(text, source):
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"{source}{where}: not YAML: {getattr(error, 'problem', error)}") from None


def _items(overrides):
    return overrides.items() if isinstance(overrides, Mapping) else overrides


def _parse_override(item):
    if isinstance(item, tuple):
        return item[0].split("."), item[1]
    path, equals, value = item.partition("=")
    if not equals or not path.strip():
        raise UserError(f"--set {item}: write it as key=value, for example --set training.steps=1000")
    return path.strip().split("."), _parse_yaml(value, f"--set {item}")


def _profile(source, raw, pairs):
    """The profile gives the defaults that all else differs from, so it is looked up first."""
    section = raw.get("model")
    profile = section.get("profile", "detectron2") if isinstance(section, dict) else "detectron2"
    for path, value in pairs:
        if path == ["model", "profile"]:
            source, profile = "--set", value
    try:
        resolve(str(profile))
    except UserError as error:
        raise UserError(f"{source}: model.{error}") from None
    return profile


def _defaults(profile):
    model = {"architecture": "faster_rcnn", "profile": profile, "num_classes": None, **resolve(profile)}
    others = {"data": Data(), "training": Training(), "four_step": FourStep()}
    return {"model": model} | {name: section.model_dump() for name, section in others.items()}


def _merge(settings, difference, source, path=()):
    for key, value in difference.items():
        here = (*path, str(key))
        if key not in settings:
            raise UserError(f"{source}: {'.'.join(here)}: unknown key{nearest(key, settings)}")
        if _is_section(here, settings[key]):
            if value is not None and not isinstance(value, dict):
                raise UserError(f"{source}: {'.'.join(here)}: expected keys below it, found {value!r}")
            _merge(settings[key], value or {}, source, here)
        else:
            settings[key] = copy.deepcopy(value)
    _choose_length(settings, difference, path)


def _is_section(path, value):
    # `model.anchors.sizes` is a dict too, but a value: a file that names levels names all of them.
    return isinstance(value, dict) and len(path) <= 2


def _choose_length(settings, difference, path):
    """`epochs` in a later layer replaces `steps` of an earlier one, and the other way round."""
    if path == ("training",):
        for given, other in (("steps", "epochs"), ("epochs", "steps")):
            if difference.get(given) is not None and other not in difference:
                settings[other] = None


def _assign(settings, path, value):
    here, label = settings, "--set " + ".".join(path)
    for depth, key in enumerate(path):
        if not isinstance(here, dict):
            raise UserError(f"{label}: {'.'.join(path[:depth])} is a value and has no keys below it")
        if key not in here:
            raise UserError(f"{label}: unknown key {key!r}{nearest(key, here)}")
        if depth < len(path) - 1:
            here = here[key]
    if _is_section(path, here[path[-1]]):
        raise UserError(f"{label}: a section; set one of {', '.join(here[path[-1]])} below it")
    here[path[-1]] = copy.deepcopy(value)
    _choose_length(here, {path[-1]: value}, tuple(path[:-1]))


def _validate(settings, source, pairs):
    try:
        return Config.model_validate(settings)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    path = [str(part) for part in first["loc"]]
    if any(path[: len(overridden)] == overridden for overridden, _ in pairs):
        source = "--set"
    found = "" if isinstance(first["input"], dict) else f" (found {first['input']!r})"
    message = first["msg"].removeprefix("Value error, ")
    raise UserError(f"{source}: {'.'.join(path)}: {message[:1].lower()}{message[1:]}{found}")
