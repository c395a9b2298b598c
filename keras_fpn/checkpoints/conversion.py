"""A published checkpoint becomes a Keras model, and a model a file of torchvision's: what `keras-fpn convert` does.

    file -> tensors -> what it is -> configuration -> model -> every tensor into its variable

The configuration named after the source's model is the one place of its settings; a file adds what its shapes tell.
"""

import dataclasses
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np

from keras_fpn.backbones.build import build_backbone
from keras_fpn.backbones.settings import default_pixels
from keras_fpn.checkpoints import torchvision, torchvision_writing, variables
from keras_fpn.checkpoints.classes import Classes
from keras_fpn.checkpoints.files import read_checkpoint, write_safetensors
from keras_fpn.checkpoints.published import current_names, kinds
from keras_fpn.checkpoints.published.identity import Identity
from keras_fpn.checkpoints.recognition import recognise, source_of
from keras_fpn.checkpoints.torchvision_writing import EPSILON
from keras_fpn.checkpoints.weights_file import checkpoint_file
from keras_fpn.config.building import build_model
from keras_fpn.config.loading import Overrides, load_config
from keras_fpn.console.errors import UserError
from keras_fpn.models import writing
from keras_fpn.models.architectures import ARCHITECTURES


@dataclasses.dataclass(frozen=True)
class Conversion:
    """A converted model and where it came from.

    Attributes:
        model: `FasterRCNN`, `RPN`, or a backbone as a functional `keras.Model`.
        identity: what the file was taken for.
        num_tensors: tensors that went into the model; its batch-norm statistics are among them.
        published: what the source's own weights reach, None for a model of which it has none.
        config: name or path of the configuration.
        settings: `{"model.group.key": value}`, what the model differs in from that configuration.
    """

    model: keras.Model
    identity: Identity
    num_tensors: int
    published: str | None
    config: str
    settings: dict


def convert_checkpoint(
    path: str | os.PathLike,
    source: str | None = None,
    config: str | os.PathLike | None = None,
    class_names: Sequence[str] | None = None,
    overrides: Overrides = (),
) -> keras.Model:
    """Convert a published checkpoint, or one of a model of the same kind.

    Args:
        path: a file that `keras_fpn.checkpoints.files.read_checkpoint` reads, or the name of a published file, which
            is downloaded if it is not here.
        source: "torchvision" or "detectron2" overrules what the names of the tensors tell.
        config: shipped configuration or YAML file to build instead of the recognised one.
        class_names: names of a detector's own classes, in the order of its labels; COCO's without.
        overrides: settings on top, as `load_config` takes them.

    Returns:
        `FasterRCNN`, `RPN`, or for an ImageNet classifier its backbone: a functional `keras.Model` with taps "Ck".

    Raises:
        UserError: the file cannot be downloaded, is damaged or of another architecture, tensors are left over,
            missing or of another shape, or the classes do not fit.
    """
    return convert(path, source, config, class_names, overrides).model


def convert(
    path: str | os.PathLike,
    source: str | None = None,
    config: str | os.PathLike | None = None,
    class_names: Sequence[str] | None = None,
    overrides: Overrides = (),
    tell: Callable[[str], None] = lambda line: None,
) -> Conversion:
    """`convert_checkpoint` that tells what it does, line by line, and returns what was found out."""
    path = checkpoint_file(path)
    tell(f"reading {path}")
    checkpoint = read_checkpoint(path)
    module, forced = source_of(checkpoint.tensors, path, source), source is not None
    tensors = current_names(module.NAME, module.current_names(checkpoint.tensors))
    kind, identity = recognise(module, tensors, path, forced)
    tell(f"recognised {module.NAME} {identity.title}: configuration {config or identity.config}")
    written = torchvision_writing.written_settings(checkpoint.metadata)
    for note in identity.notes if config is None and not written else ():
        tell(f"note: {note}")
    classes, of_classes = kind.classes(module, tensors, class_names, checkpoint.metadata, path, forced)
    if classes is None and class_names is not None:
        raise UserError(f"{path}: {identity.title} knows no classes; leave --classes out")
    settings = _settings(identity, config) | of_classes | (written if config is None else {})
    if config is None:
        _check_sizes(identity, settings, path)
    overrides = [*_items(overrides)]
    settings = _read_by(load_config(config or identity.config, overrides), settings)
    resolved = load_config(config or identity.config, [*settings.items(), *overrides])
    _check_suits(resolved, config or identity.config, module, identity, classes, path, forced)
    tell("building the model")
    model = _build(identity, resolved, classes)
    entries = list(_entries(module, identity, model))
    variables.load(entries, tensors, file=path, is_ignored=module.is_ignored)
    config = str(config or identity.config)
    settings = _differing(resolved, config, identity, of_classes)
    is_published = not settings and (classes is None or kind.are_its_own(classes))
    published = kind.reached.get(config) if is_published else None
    return Conversion(model, identity, len(entries), published, config, settings)


def to_torchvision(model: keras.Model) -> dict[str, np.ndarray]:
    """`{name: array}`: the weights of a detector under the names that torchvision's model has in memory.

    Raises:
        UserError: torchvision cannot run the same network.
    """
    _torchvision_kind(model)
    return torchvision_writing.tensors(model)


def _torchvision_kind(model):
    """The `PublishedKind` of torchvision that a model is."""
    ours = [kind for kind in kinds() if kind.source == torchvision.NAME and kind.architecture]
    kind = next((kind for kind in ours if kind.architecture == getattr(model, "architecture", None)), None)
    if kind is None:
        names = ", ".join(ARCHITECTURES[kind.architecture].load().__name__ for kind in ours)
        raise UserError(f"{model.name}: torchvision has no counterpart for a part of a detector; only for {names}")
    return kind


def save(model: keras.Model, path: str | os.PathLike) -> None:
    """Write a `.keras` file whole or not at all; its folder is made if absent."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    writing.save_model(model, path)


def write_torchvision(model: keras.Model, path: str | os.PathLike) -> str:
    """Write `to_torchvision(model)` with its class names as a safetensors file; returns lines that tell how to load it.

    Raises:
        UserError: torchvision cannot run the same network.
    """
    tensors = to_torchvision(model)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_safetensors(path, tensors, torchvision_writing.metadata(model))
    rows = _torchvision_kind(model).class_rows(tensors)
    lines = [f"{len(tensors)} tensors of a torchvision model with num_classes={rows}"]
    epsilon = model.settings["backbone"].get("norm_epsilon", 1e-5)
    if epsilon != 1e-5:  # what torchvision builds with; a state dict does not carry it
        lines.append(f"note: its batch-norm epsilon is {epsilon:g}; there, set `eps` of every norm of the backbone")
    return "\n".join(lines)


def summary(converted: Conversion) -> str:
    """Lines that tell what a conversion made."""
    model = converted.model
    lines = [f"{converted.num_tensors} tensors, {model.count_params():,} weights"]
    if hasattr(model, "num_classes"):
        names = ", ".join(model.class_names[:4]) + (" ..." if model.num_classes > 4 else "")
        lines[0] += f"; {model.num_classes} classes: {names}"
    if converted.published:
        source = converted.identity.source
        lines.append(
            f"the file that {source} publishes reaches {converted.published} on COCO val2017;"
            " not yet measured with this package"
        )
    return "\n".join(lines)


def next_commands(converted: Conversion, path: str | os.PathLike) -> str:
    """Lines with the commands that make use of a converted model."""
    path = shlex.quote(str(path))
    settings = " ".join(shlex.quote(f"{key}={_yaml(value)}") for key, value in converted.settings.items())
    train = f"  keras-fpn train {shlex.quote(converted.config)} --weights {path} --data FOLDER"
    train += f" --set {settings}" if settings else ""
    if converted.identity.architecture is None:
        return train
    return f"  keras-fpn detect {path} IMAGE_OR_FOLDER\n{train}"


def _yaml(value):
    return str(value).replace(" ", "") if isinstance(value, list) else "null" if value is None else value


def _settings(identity, config):
    """Settings that a file tells: all, or beside the user's configuration those that it cannot know."""
    settings = dict(identity.settings)
    if config is not None:
        told = ("model.pixels.", EPSILON)
        settings = {key: value for key, value in settings.items() if key.startswith(told)}
    return settings


def _read_by(config, settings):
    """Those of the settings whose groups a configuration has: the user may ask for another architecture."""
    groups = config.model.groups()
    return {key: value for key, value in settings.items() if key.split(".")[1] in groups}


def _check_sizes(identity, settings, file):
    try:
        load_config(identity.config, settings.items())
    except UserError as error:
        reason = str(error).removeprefix("--set: ")
        raise UserError(f"{file}: no {identity.title} has its sizes: {reason}; download it again") from None


def _check_suits(resolved, config, source, identity, classes, file, forced):
    """Refuse what the shapes of the tensors cannot tell: other conventions, no detector, another number of classes.

    `forced`: the user says whose file it is, so that it may be of an architecture that nobody recognises.
    """
    model = resolved.model
    if identity.architecture is None and default_pixels(model.backbone.name) is not None:
        return  # a network whose conventions are its own, whatever the detector's
    if model.profile != source.NAME:
        raise UserError(
            f"{file}: {source.NAME}'s weights give other answers under the profile {model.profile!r}, which {config} "
            f"has; leave --config out, or name one with model.profile={source.NAME}"
        )
    if identity.architecture is None:
        return
    if model.architecture != identity.architecture and not forced:
        raise UserError(
            f"{file}: is {identity.title}, and {config} builds model.architecture={model.architecture}; leave "
            f"--config out, or name one of {identity.architecture}"
        )
    if classes is not None and model.num_classes not in (None, len(classes.class_names)):
        raise UserError(
            f"{file}: has {len(classes.class_names)} classes, not model.num_classes={model.num_classes}; leave the "
            "setting out here, and give it to train --weights, which makes new predictors"
        )


def _differing(config, name, identity, of_classes):
    """`{"model.group.key": value}` that a configuration has otherwise than the shipped or written one of that name.

    What belongs to the weights is left out: the settings `of_classes`, since a training run has those of its own
    classes, and the file's epsilon, which it takes over.
    """
    base = load_config(name, {key: value for key, value in identity.settings.items() if key == EPSILON})
    ours, base = (each.model.groups() for each in (config, base))
    differing = {
        f"model.{group}.{key}": value
        for group, values in ours.items()
        for key, value in values.items()
        if key not in base.get(group, {}) or base[group][key] != value
    }
    return {key: value for key, value in differing.items() if key not in of_classes}


def _items(overrides):
    return overrides.items() if isinstance(overrides, Mapping) else overrides


def _build(identity, config, classes):
    if identity.architecture is None:
        return build_backbone(config.model.backbone.model_dump())
    return build_model(config, classes or Classes([], []))


def _entries(source, identity, model):
    if identity.architecture is None:
        return source.backbone_entries(model)
    return source.entries(model)
