"""Configuration: a frozen tree of settings, read from YAML as a difference from the defaults.

    defaults of the parts  <-  profile  <-  YAML file  <-  `--set a.b=value`  ->  validated `Config`

Every part states its own settings beside it (`model_settings` brings those of a model together); the defaults are
detectron2's 1x recipe for ResNet-50-FPN Faster R-CNN. A key that nothing reads is refused with its path and the nearest
one that there is. Only commands read a `Config`; the stages take plain arguments.
"""

import copy
import difflib
import importlib.resources
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BeforeValidator, Field, SerializeAsAny, ValidationError

from keras_fpn.backbones.settings import check_layer_decay
from keras_fpn.config.size import check_sizes, scale_to, take_size
from keras_fpn.config.training_settings import FourStepSettings, TrainingSettings
from keras_fpn.console.errors import UserError
from keras_fpn.console.naming import nearest
from keras_fpn.data.settings import DataSettings, with_field_settings
from keras_fpn.models.architectures import ARCHITECTURES
from keras_fpn.models.settings import ModelSettings, check_profile, complete, no_such_group, unread, validated
from keras_fpn.parts import extensions
from keras_fpn.parts.choice import Choice
from keras_fpn.parts.settings import Settings, first_problem


def _model(value):
    return validated(value) if isinstance(value, Mapping) else value


def _data(value):
    return with_field_settings().model_validate(value) if isinstance(value, Mapping) else value


class Config(Settings):
    """Everything a command needs to know: `model`, `data`, `training`, `four_step`.

    `extensions`: modules or `.py` files that bring parts of their own, see `keras_fpn.extensions`. `size`, in a file or
    by `--set size=400`, stands for all settings of sizes at once, see `config.size`.
    """

    extensions: list[str] = []
    model: Annotated[SerializeAsAny[ModelSettings], BeforeValidator(_model)]
    data: Annotated[SerializeAsAny[DataSettings], BeforeValidator(_data)] = Field(
        default_factory=lambda: with_field_settings()()
    )
    training: TrainingSettings = Field(default_factory=TrainingSettings)
    four_step: FourStepSettings = Field(default_factory=FourStepSettings)

    def to_yaml(self) -> str:
        """Return every setting, resolved, as YAML that `load_config` reads back to an equal `Config`."""
        return yaml.safe_dump(self.model_dump(), sort_keys=False, default_flow_style=None, width=110)


Overrides = Mapping[str, Any] | Iterable[str | tuple[str, Any]]


def load_config(name_or_path: str | os.PathLike = "faster_rcnn_r50_fpn", overrides: Overrides = ()) -> Config:
    """Read a configuration, and import the extensions that it names.

    Args:
        name_or_path: name of a shipped configuration (`shipped_configs()`) or path of a YAML file.
        overrides: `["training.steps=1000", ...]` or `{"training.steps": 1000, ...}`; they win over the file.

    Returns:
        A validated, frozen `Config`.

    Raises:
        UserError: file absent or not YAML, unknown key, value of the wrong kind, an extension that cannot be
            imported; one line.
    """
    source, raw = _read(name_or_path)
    pairs = [_parse_override(item) for item in _items(overrides)]
    loaded = []
    for label, folder, given in _extensions_named(name_or_path, source, raw, pairs):
        try:
            loaded += extensions.load(_checked_extensions(given, label), folder)
        except UserError as error:
            raise UserError(str(error) if str(error).startswith(label) else f"{label}: {error}") from error
    raw["extensions"] = list(dict.fromkeys(loaded))
    return _settled(source, raw, [pair for pair in pairs if pair[0] != ["extensions"]])


def load_run_config(path: str | os.PathLike) -> Config:
    """Read the configuration that a run left in its folder: the extensions that it names must be there already.

    A run may come from anybody: nothing is imported because its file says so.

    Raises:
        UserError: see `load_config`; an extension is not loaded.
    """
    return _run_config(*_read(path))


def load_whole_run_config(path: str | os.PathLike) -> Config:
    """The same to go on with the run, which keeps every setting in its file.

    Raises:
        UserError: see `load_run_config`; a setting is missing.
    """
    source, raw = _read(path)
    config = _run_config(source, raw)
    missing = _first_missing(config.model_dump(), raw)
    if missing:
        raise UserError(
            f"{source}: has no {missing}, and a run keeps every setting in it; it is cut short or of another version"
        )
    return config


def _run_config(source, raw):
    extensions.check_loaded(_checked_extensions(raw.get("extensions"), source), source)
    return _settled(source, raw, [])


def _first_missing(settings, raw, path=()):
    """The first setting that a file leaves out, "a.b.c"; None where it has all."""
    for key, value in settings.items():
        here = (*path, key)
        if not isinstance(raw, Mapping) or key not in raw:
            return ".".join(here)
        deeper = _first_missing(value, raw[key], here) if _is_section(here, value) else None
        if deeper:
            return deeper
    return None


def _extensions_named(name_or_path, source, raw, pairs):
    if "extensions" in raw:
        path = Path(name_or_path)
        yield source, path.parent if path.is_file() else None, raw["extensions"]
    for path, value in pairs:
        if path == ["extensions"]:
            yield "--set", None, value


def _checked_extensions(given, source):
    if given is None:
        return []
    if not isinstance(given, list) or not all(isinstance(item, str) and item for item in given):
        raise UserError(f"{source}: extensions: give a list of modules or .py files, not {given!r}")
    return given


def _settled(source, raw, pairs) -> Config:
    raw, pairs, size = take_size(source, raw, pairs)
    settings = _merged_model(source, raw, pairs)
    _merge(settings, {key: value for key, value in raw.items() if key != "model"}, source)
    if size is not None:
        scale_to(settings, size)
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
    except RecursionError:
        raise UserError(f"{source}: not a configuration: hundreds of levels deep; look at what was written") from None
    except ValueError as error:  # of a number of thousands of digits, a date that there is not
        problem = str(error).splitlines()[0]
        raise UserError(f"{source}: not YAML that can be read ({problem}); mend that value") from None
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


def _merged_model(source, raw, pairs):
    """All sections with their defaults, and in that of the model what the file says on top of those of its parts.

    Which parts there are decides which keys there are, so what `--set` says of it comes first.
    """
    section = _model_section(source, raw)
    chosen = [(path[1:], value) for path, value in pairs if path[0] == "model"]
    top = {path[0]: value for path, value in chosen if len(path) == 1}
    architecture = _one_of("architecture", source, section, top)
    profile = _one_of("profile", source, section, top)
    groups = {key: value for key, value in section.items() if key not in ModelSettings.model_fields}
    if "architecture" in top:
        known = ARCHITECTURES[architecture].groups
        of_another = ARCHITECTURES[section.get("architecture", "faster_rcnn")].groups
        groups = {key: value for key, value in groups.items() if key in known or key not in of_another}
    parts = {}
    for group, kind in ARCHITECTURES[architecture].groups.items():
        for path, value in chosen if isinstance(kind, Choice) else ():
            if path == [group, kind.key]:
                parts[group] = {kind.key: value}
    layers = [(f"{source}: model.", groups), ("--set model.", parts)]
    model = {"architecture": architecture, "profile": profile, "num_classes": section.get("num_classes")}
    others = {"data": with_field_settings()(), "training": TrainingSettings(), "four_step": FourStepSettings()}
    settings = {"extensions": [], "model": model | complete(architecture, profile, layers)}
    return settings | {name: each.model_dump() for name, each in others.items()}


def _model_section(source, raw):
    section = raw.get("model")
    if section is not None and not isinstance(section, dict):
        raise UserError(f"{source}: model: expected keys below it, found {section!r}")
    return {str(key): value for key, value in (section or {}).items()}


def _one_of(key, source, section, top):
    """The architecture or the profile: what `--set` says, or the file, or the default."""
    label, value = ("--set", top[key]) if key in top else (source, section.get(key))
    value = ModelSettings.model_fields[key].default if value is None else value
    try:
        check_profile(value) if key == "profile" else ARCHITECTURES[value]
    except (UserError, TypeError) as error:
        raise UserError(f"{label}: model.{error}") from None
    return value


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
    depth = 3 if tuple(path[:2]) == ("data", "augment") else 2
    return isinstance(value, dict) and len(path) <= depth and tuple(path) != ("data", "classes")


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
            raise UserError(f"{label}: {_unknown(path[:depth], key, here, settings)}")
        if depth < len(path) - 1:
            here = here[key]
    if _is_section(path, here[path[-1]]):
        raise UserError(f"{label}: a section; set one of {', '.join(here[path[-1]])} below it")
    here[path[-1]] = copy.deepcopy(value)
    _choose_length(here, {path[-1]: value}, tuple(path[:-1]))


def _unknown(parents, key, here, settings):
    """Why a section has no such key: nothing does, or another part would."""
    if parents == ["model"]:
        return f"{key}: {no_such_group(key, ARCHITECTURES[here['architecture']])}"
    if len(parents) == 2 and parents[0] == "model":
        kind = ARCHITECTURES[settings["model"]["architecture"]].groups.get(parents[1])
        if isinstance(kind, Choice) and kind.readers_of(key):
            return unread(key, kind, kind.parts[here[kind.key]], here)
    return f"unknown key {key!r}{nearest(key, here)}"


def _validate(settings, source, pairs):
    section = "model."
    try:
        model = validated(settings["model"])
        section = ""
        config = Config.model_validate(settings | {"model": model})
        resize, data = config.model.resize, config.data
        check_sizes(resize.min_side, resize.max_side, data.min_sides, data.canvas, data.scale_jitter)
        check_layer_decay(config.training.layer_decay, config.model.groups().get("backbone", {}).get("name"))
        return config
    except ValidationError as error:
        path, problem = first_problem(error)
    except ValueError as error:  # groups that do not fit each other
        key, _, problem = str(error).partition(": ")
        path = key.split(".")
    path = [*section.split(".")[:-1], *path]
    if any(path[: len(overridden)] == overridden for overridden, _ in pairs):
        source = "--set"
    raise UserError(f"{source}: {'.'.join(path)}: {problem}")
