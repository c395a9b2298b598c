"""The weights of one model as the start of another: what fits is taken, the rest is told.

A tensor has its place by part (of `Detector.parts`), layer and variable: "box_head/class_logits/kernel". It fits where
the model has the same place with the same shape; conv5 of a ResNet has its place in the backbone or, in the C4
baseline, in the head (`weighted_layers`).
"""

import collections
import dataclasses
import json
import os
import re
from pathlib import Path

import keras
import numpy as np

from keras_fpn.backbones.settings import default_pixels
from keras_fpn.checkpoints import conversion
from keras_fpn.checkpoints.weighted_layers import (
    backbone_norms,
    head_name,
    laid_out,
    layers_by_part,
    own_weights,
    parts,
)
from keras_fpn.checkpoints.weights_file import weights_file
from keras_fpn.console.errors import UserError
from keras_fpn.data.image_settings import PixelSettings
from keras_fpn.models.architectures import ARCHITECTURES
from keras_fpn.models.detector import Detector
from keras_fpn.models.files import is_backbone, read_keras_file
from keras_fpn.models.settings import chosen_settings
from keras_fpn.parts.read_only import plain, read_only

# Groups whose conventions another kind of pyramid answers anew, and its head with it.
_OF_THE_PYRAMID = ("pyramid", "anchors", "roi_pooling")
_SHOWN = 12  # names in a line; of more, each part's number is told


@dataclasses.dataclass(frozen=True)
class Transfer:
    """Fate of the tensors of a file and of those of the model.

    Attributes:
        file: where they came from.
        taken: `{part: (tensors taken, tensors of the model)}`, parts of the model that the file has, too.
        resized: `[(name, shape in the file, shape in the model)]`, left as the model was initialised.
        absent: names of the model's other tensors that were left as they were: the file has none for them.
        unused: names of the file's tensors that the model has no place for.
        notes: sentences about what fits by shape and may still not suit.
    """

    file: Path
    taken: dict
    resized: list
    absent: list
    unused: list
    notes: list

    def resized_lines(self) -> list[str]:
        """`["box_head/class_logits/bias 81 -> 4", ...]`."""
        return [f"{name} {_shape(theirs)} -> {_shape(ours)}" for name, theirs, ours in self.resized]

    def lines(self) -> list[str]:
        """The report, a list of lines of text."""
        counts = ", ".join(f"{part} {took} of {number}" for part, (took, number) in self.taken.items())
        lines = [f"weights of {self.file}", f"  taken: {counts} tensors"]
        for title, names in (
            ("re-initialised, another size", self.resized_lines()),
            ("not in the file, left as initialised", self.absent),
            ("in the file and not used", self.unused),
        ):
            if names:
                lines.append(f"  {title}: {_told(names)}")
        return lines + [f"  note: {note}" for note in self.notes]


def _told(names):
    if len(names) <= _SHOWN:
        return ", ".join(names)
    numbers = collections.Counter(name.partition("/")[0] for name in names)
    return ", ".join(f"{number} tensors of {part}" for part, number in numbers.items())


def start_from(model: Detector, weights: str | os.PathLike) -> Transfer:
    """Give `model` the weights of a file wherever they fit, by place and shape.

    Rows of the predictors are those of the classes: of a file with the same classes in another order, or with other
    rows beside them (`box_head.background_logits`), those that mean the same are taken. So are rows that have names of
    their own (`Detector.row_names`) of those names that both have. The batch-norm epsilon of the
    file's backbone belongs to its statistics: the model's becomes the same, in its layers and its settings.

    Args:
        model: a `Detector`.
        weights: a `.keras` file with a detector or a backbone, a run folder, or the name of a published file, which is
            downloaded if it is not here.

    Returns:
        What was taken and what was not.

    Raises:
        UserError: no such file, it cannot be downloaded, no model is in it, weights that are not finite, or a backbone
            of another network; the model is then as it was.
    """
    file = weights_file(weights)
    return start_from_source(model, read_source(file), file)


def start_from_source(model: Detector, source: keras.Model, file: Path) -> Transfer:
    """`start_from` of weights that were read already.

    Args:
        source: a detector or a backbone.
        file: where it came from.
    """
    theirs, left = laid_out(source, model, file)
    ours = layers_by_part(model)
    tensors = {part: _paired(theirs[part], ours[part]) for part in ours if part in theirs}
    notes = _notes(source, model)
    for part, given in tensors.items():
        _fit_class_rows(part, given, source, model)
        notes += _fit_named_rows(part, given, source, model)
    transfer = _plan(file, tensors, theirs, ours, notes)
    # Much of ResNet-101 has the names and shapes of ResNet-50, and means nothing there: a backbone fits whole.
    misfits = [*transfer.resized_lines(), *transfer.absent, *transfer.unused]
    misfits = [line for line in misfits if line.startswith("backbone/")]
    if misfits or not transfer.taken["backbone"][0]:
        raise UserError(
            f"{file}: its backbone is {_backbone_name(source)}, the model's is {_backbone_name(model)}, and"
            f" {f'{misfits[0]} does not fit' if misfits else 'nothing fits'}; give weights of this backbone, or set"
            " model.backbone to the file's"
        )
    _assign(file, tensors, ours)
    unused = [f"{part}/{name}" for part, layers in left.items() for name in _names(layers)]
    notes = transfer.notes + _take_epsilon(source, model) + _ends(left, model)
    return dataclasses.replace(transfer, unused=transfer.unused + unused, notes=notes)


def _ends(left, model):
    end = max(model.backbone.output)
    return [f"the model's backbone ends at {end}: what the file has beyond is not used"] if "backbone" in left else []


def _take_epsilon(source, model):
    """Give the model's backbone the epsilon of the file's; returns what there is to tell of it."""
    theirs, ours = ({layer.epsilon for layer in backbone_norms(each)} for each in (source, model))
    if len(theirs) != 1 or len(ours) != 1 or theirs == ours:  # networks of keras.applications have several
        return []
    (epsilon,), (before,) = theirs, ours
    is_learnt = any(isinstance(layer, keras.layers.BatchNormalization) for layer in backbone_norms(model))
    if epsilon == 0 and is_learnt:
        return [f"the file's batch-norm epsilon of 0 suits frozen statistics only; the backbone's stays {before:g}"]
    _set_backbone_epsilon(model, epsilon)
    return [f"the backbone's batch-norm epsilon is now {epsilon:g}, that of the file, and was {before:g}"]


def _set_backbone_epsilon(model, epsilon):
    for layer in backbone_norms(model):
        layer.epsilon = epsilon
    settings = plain(model.settings)
    settings["backbone"]["norm_epsilon"] = epsilon
    # What it is saved, exported and written down with; past Keras' tracking, as the model itself sets it.
    object.__setattr__(model, "settings", read_only(settings))
    model.train_function = model.test_function = model.predict_function = None  # graphs with the epsilon that was


def read_source(file: Path) -> keras.Model:
    """The detector or backbone of a file, converted where it is a published one.

    Raises:
        UserError: neither is in it.
    """
    if file.suffix != ".keras":  # a published one
        return conversion.convert_checkpoint(file)
    source = read_keras_file(file, compile=False)
    if isinstance(source, Detector) or is_backbone(source):
        return source
    raise UserError(f"{file}: a {type(source).__name__}, neither a detector nor a backbone of this package")


def _names(layers):
    return {f"{layer.name}/{variable.name}": variable for layer in layers for variable in own_weights(layer)}


def _paired(theirs, ours):
    """`{our name: array of the file}` of one part.

    Stages of the same structure pair layer by layer: Keras numbers layers without a name of their own through the
    whole process. Others pair by name, those numbered ones left out, since a number means nothing elsewhere.
    """
    ours, theirs = _names(ours), _names(theirs)
    if [_kind(name, variable) for name, variable in ours.items()] == [
        _kind(name, variable) for name, variable in theirs.items()
    ]:
        return {name: variable.numpy() for name, variable in zip(ours, theirs.values(), strict=True)}
    return {name: theirs[name].numpy() for name in ours if name in theirs and not _is_numbered(name)}


def _kind(name, variable):
    layer, kind = name.rsplit("/", 1)
    return None if _is_numbered(name) else layer, kind, tuple(variable.shape)


def _is_numbered(name):
    return re.match(r"(conv2d|depthwise_conv2d|separable_conv2d|batch_normalization|dense)(_\d+)?/", name) is not None


def _fit_class_rows(part, tensors, source, model):
    """Put the rows of classes where the model has the same class, or keep those of other classes out."""
    theirs, ours = (getattr(parts(each).get(part), "class_rows", {}) for each in (source, model))
    variables = _names(layers_by_part(model)[part])
    for name, tensor in tensors.items():
        layer = name.partition("/")[0]
        if layer not in ours or layer not in theirs:
            continue
        if model.num_classes == source.num_classes:
            others = min(ours[layer].others, theirs[layer].others)
            rows = ours[layer]._replace(others=others)
            tensors[name] = _matched(tensor, variables[name], rows, theirs[layer].repeats, source, model)
        elif tensor.shape == tuple(variables[name].shape):
            # 80 classes and 11 other rows are as many as 90 and 1: predictors must not fit by chance.
            tensors[name] = tensor[..., : ours[layer].width * min(source.num_classes, model.num_classes)]


def _fit_named_rows(part, tensors, source, model) -> list[str]:
    """Put the rows that have names where the model has the same name; returns what there is to tell of the others.

    Rows that nobody named, here or there, pair by their number.
    """
    theirs, ours = (getattr(each, "row_names", {}).get(part) for each in (source, model))
    rows = getattr(parts(model)[part], "named_rows", {})
    if theirs is None or ours is None or theirs == ours:
        return []
    pairs = [(place, theirs.index(name)) for place, name in enumerate(ours) if name in theirs]
    variables = _names(layers_by_part(model)[part])
    for layer, axes in rows.items():
        for name in [f"{layer}/{variable}" for variable in axes if f"{layer}/{variable}" in tensors]:
            fitted = _with_rows(tensors.pop(name), variables[name].numpy(), axes[name.rpartition("/")[2]], pairs)
            tensors |= {} if fitted is None else {name: fitted}
    others = [name for name in ours if name not in theirs]
    if not others:
        return []
    return [f"{part}: the file has no {_told(others)} among its {len(theirs)} names; their rows begin anew"]


def _with_rows(tensor, value, axis, pairs):
    """A variable's value with rows of a tensor, `(our number, theirs)`; None without any, or where the rest differs."""
    tensor, value = np.moveaxis(tensor, axis, 0), np.moveaxis(value.copy(), axis, 0)
    if not pairs or tensor.shape[1:] != value.shape[1:]:
        return None
    here, there = map(list, zip(*pairs, strict=True))
    value[here] = tensor[there]
    return np.moveaxis(value, 0, axis)


def _matched(tensor, variable, common, their_repeats, source, model):
    """The rows of the same classes, in the model's order; rows that stand for no class, as many as both have."""
    rows = tensor.reshape(*tensor.shape[:-1], their_repeats, -1, common.width)
    if rows.shape[:-3] != variable.shape[:-1] or their_repeats != common.repeats:
        return tensor
    order = list(range(model.num_classes))
    if set(source.class_names) == set(model.class_names) and len(set(model.class_names)) == model.num_classes:
        order = [source.class_names.index(name) for name in model.class_names]
    wanted = variable.numpy().copy().reshape(*variable.shape[:-1], common.repeats, -1, common.width)
    number = model.num_classes + common.others
    wanted[..., :number, :] = rows[..., [*order, *range(model.num_classes, number)], :]
    return wanted.reshape(variable.shape)


def _plan(file, tensors, theirs, ours, notes):
    taken, resized, absent, unused = {}, [], [], []
    for part, layers in ours.items():
        variables, given = _names(layers), tensors.get(part, {})
        for name, variable in variables.items():
            if name not in given:
                absent.append(f"{part}/{name}")
            elif given[name].shape != tuple(variable.shape):
                resized.append((f"{part}/{name}", given[name].shape, tuple(variable.shape)))
        fits = sum(given[name].shape == tuple(variables[name].shape) for name in given)
        if part in theirs:
            taken[part] = (fits, len(variables))
    for part, layers in theirs.items():
        paired = len(tensors.get(part, {})) == len(_names(layers))
        unused += [f"{part}/{name}" for name in _names(layers) if not paired and name not in tensors.get(part, {})]
    return Transfer(file, taken, resized, absent, unused, notes)


def _assign(file, tensors, ours):
    variables = {part: _names(layers) for part, layers in ours.items()}
    pairs = [
        (f"{part}/{name}", variables[part][name], tensor)
        for part, given in tensors.items()
        for name, tensor in given.items()
    ]
    for name, _, tensor in pairs:
        if not np.isfinite(tensor).all():
            raise UserError(f"{file}: {name} holds values that are not finite; take weights of an earlier checkpoint")
    for _, variable, tensor in pairs:
        if tensor.shape == tuple(variable.shape):
            variable.assign(tensor)


# What fits by shape and may still not suit ---------------------------------------------------------------------


def _notes(source, model):
    if not isinstance(source, Detector):
        differing = _differing_layers(source, model) | _differing_pixels(model)
    else:
        differing = _differing_settings(source.settings, model)
    notes = []
    if differing:
        words = " ".join(f"model.{key}={_word(value)}" for key, value in differing.items())
        notes.append(
            f"these weights were trained under other conventions{_profile_words(source, model)} and will do badly under"
            f" this model's; train a configuration of theirs, or add --set {words}"
        )
    both = head_name(model) is not None and head_name(source) == head_name(model)
    if both and source.num_classes == model.num_classes and set(source.class_names) != set(model.class_names):
        pairs = zip(model.class_names, source.class_names, strict=True)
        here, there = next((ours, theirs) for ours, theirs in pairs if ours != theirs)
        notes.append(f"the predictors start from those of other classes, in their order: {here!r} from {there!r} ...")
    return notes


def _differing_settings(theirs, model):
    """`{"group.key": the file's value}` of the conventions that both have and that differ."""
    differing, ours = {}, model.settings
    one, other = (settings.get("pyramid", {}).get("name") for settings in (theirs, ours))
    idle = () if one == other else _OF_THE_PYRAMID
    for group, settings in chosen_settings(ARCHITECTURES[model.architecture], ours):
        if group not in theirs or group in idle:
            continue
        for key in settings.conventions:
            value = theirs[group].get(key)
            is_idle = group == "pyramid" and key == "norm_epsilon" and theirs[group]["norm"] is None
            if _listed(value) != _listed(ours[group].get(key)) and not is_idle:
                differing[f"{group}.{key}"] = value
    return differing


def _differing_layers(source, model):
    """The same of a backbone, read off its layers: it has no settings."""
    differing = {}
    theirs = {layer.name: layer for layer in layers_by_part(source)["backbone"]}
    for layer in layers_by_part(model)["backbone"]:
        other = theirs.get(layer.name, layer)
        if getattr(other, "strides", None) != getattr(layer, "strides", None):
            is_first = model.settings["backbone"]["stride_in"] == "first_1x1"
            differing["backbone.stride_in"] = "3x3" if is_first else "first_1x1"
    return differing


def _differing_pixels(model):
    """Backbones that `keras-fpn convert` writes are torchvision's and read its pixels."""
    if default_pixels(_backbone_name(model)) is not None:
        return {}  # its pixels are its own, converted or not
    wanted = PixelSettings.defaults("torchvision")
    return {f"pixels.{key}": value for key, value in wanted.items() if model.settings["pixels"][key] != value}


def _profile_words(source, model):
    theirs = getattr(source, "profile", None)
    return f" (the file's profile is {theirs!r})" if theirs not in (None, model.profile) else ""


def _backbone_name(model):
    return model.settings["backbone"]["name"] if isinstance(model, Detector) else model.name


def _listed(value):
    """Tuples as lists: a YAML file has only these."""
    if isinstance(value, dict):
        return {key: _listed(item) for key, item in value.items()}
    return [_listed(item) for item in value] if isinstance(value, list | tuple) else value


def _word(value):
    """A value as a shell passes it to `--set` in one word."""
    text = json.dumps(value, separators=(",", ":"))
    return value if isinstance(value, str) else f"'{text}'" if isinstance(value, list | dict) else text


def _shape(shape):
    return "x".join(map(str, shape))
