"""The weights of one model as the start of another: what fits is taken, the rest is told.

A tensor has its place by stage (of `detector.PARTS`), layer and variable: "box_head/class_logits/kernel". It fits where
the model has the same place with the same shape; conv5 of a ResNet has its place in the backbone or, in the C4
baseline, in the head (`stages`).
"""

import collections
import dataclasses
import json
import re
from pathlib import Path

import numpy as np

from keras_fpn import profiles
from keras_fpn.backbones import default_pixels
from keras_fpn.checkpoints.stages import head_name, laid_out, stages
from keras_fpn.detector import Detector, is_backbone, read_keras_file
from keras_fpn.errors import UserError

# Settings under which weights work only as they were trained; other settings change what is done with the outputs.
CONVENTIONS = {
    "pixels": ("channel_order", "mean", "std"),
    "backbone": ("stride_in", "norm_epsilon"),
    "pyramid": ("norm", "norm_epsilon"),
    "anchors": ("sizes", "ratios", "rounding", "offset", "stride_source", "order"),
    "proposals": ("box_weights",),
    "roi_pooling": ("method", "sampling_ratio", "aligned", "levels", "canonical_size", "canonical_level"),
    "detections": ("box_weights",),
    "segments": ("canonical_size",),
}
# Those of them that another kind of pyramid answers anew, and its head with it.
_OF_THE_PYRAMID = ("pyramid", "anchors", "roi_pooling")
_SHOWN = 12  # names in a line; of more, each stage's number is told


@dataclasses.dataclass(frozen=True)
class Transfer:
    """What became of the tensors of a file and of those of the model.

    Attributes:
        file: where they came from.
        taken: `{stage: (tensors taken, tensors of the model)}`, stages of the model that the file has, too.
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

    def resized_lines(self):
        """`["box_head/class_logits/bias 81 -> 4", ...]`."""
        return [f"{name} {_shape(theirs)} -> {_shape(ours)}" for name, theirs, ours in self.resized]

    def lines(self):
        """The report, a list of lines of text."""
        counts = ", ".join(f"{stage} {took} of {number}" for stage, (took, number) in self.taken.items())
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
    return ", ".join(f"{number} tensors of {stage}" for stage, number in numbers.items())


def weights_file(path):
    """The absolute path of the `.keras` file that `path` names: itself, or `model.keras` of a run folder.

    Raises:
        UserError: there is none.
    """
    path = Path(path).absolute()
    file = path / "model.keras" if path.is_dir() else path
    if not file.is_file():
        raise UserError(f"{file}: no such weights; give a .keras file, or the folder of a run with a checkpoint")
    return file


def start_from(model, path) -> Transfer:
    """Give `model` the weights of a file wherever they fit, by place and shape.

    Rows of the predictors are those of the classes: of a file with the same classes in another order, or with other
    rows beside them (`box_head.background_logits`), those that mean the same are taken.

    Args:
        model: a `Detector`.
        path: a `.keras` file with a detector or a backbone, or a run folder.

    Returns:
        What was taken and what was not.

    Raises:
        UserError: no such file, no model in it, weights that are not finite, or a backbone of another
            network; the model is then as it was.
    """
    file = weights_file(path)
    source = _open(file)
    theirs, left = laid_out(source, model, file)
    ours = stages(model)
    tensors = {stage: _paired(theirs[stage], ours[stage]) for stage in ours if stage in theirs}
    if "box_head" in tensors and head_name(source) == head_name(model):
        match = _match_rows if model.num_classes == source.num_classes else _leave_other_rows
        match(tensors["box_head"], source, model)
    transfer = _plan(file, tensors, theirs, ours, _notes(source, model))
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
    unused = [f"{stage}/{name}" for stage, layers in left.items() for name in _names(layers)]
    return dataclasses.replace(transfer, unused=transfer.unused + unused, notes=transfer.notes + _ends(left, model))


def _ends(left, model):
    end = max(model.backbone.output)
    return [f"the model's backbone ends at {end}: what the file has beyond is not used"] if "backbone" in left else []


def _open(file):
    source = read_keras_file(file, compile=False)
    if isinstance(source, Detector) or is_backbone(source):
        return source
    raise UserError(f"{file}: a {type(source).__name__}, neither a detector nor a backbone of this package")


def _names(layers):
    return {f"{layer.name}/{variable.name}": variable for layer in layers for variable in layer.weights}


def _paired(theirs, ours):
    """`{our name: array of the file}` of one stage.

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


def _match_rows(tensors, source, model):
    """Put the rows of the predictors where the model has the same class, the background or the same box."""
    if set(source.class_names) == set(model.class_names) and len(set(model.class_names)) == model.num_classes:
        order = [source.class_names.index(name) for name in model.class_names]
    else:
        order = list(range(model.num_classes))
    for layer, extra, width in (("class_logits", "background_logits", 1), ("box_deltas", "background_boxes", 4)):
        for name, variable in _names([getattr(model.box_head, layer)]).items():
            rows = tensors[name].reshape(*tensors[name].shape[:-1], -1, width)
            if rows.shape[:-2] != variable.shape[:-1]:
                continue
            wanted = variable.numpy().copy().reshape(*variable.shape[:-1], -1, width)
            common = model.num_classes + min(getattr(each.box_head, extra) for each in (source, model))
            wanted[..., :common, :] = rows[..., [*order, *range(model.num_classes, common)], :]
            tensors[name] = wanted.reshape(variable.shape)


def _leave_other_rows(tensors, source, model):
    """Keep predictors of other classes from fitting by chance: 80 classes and 11 other rows are as many as 90 and 1."""
    for layer, width in (("class_logits", 1), ("box_deltas", 4)):
        for name, variable in _names([getattr(model.box_head, layer)]).items():
            if tensors[name].shape == tuple(variable.shape):
                tensors[name] = tensors[name][..., : width * min(source.num_classes, model.num_classes)]


def _plan(file, tensors, theirs, ours, notes):
    taken, resized, absent, unused = {}, [], [], []
    for stage, layers in ours.items():
        variables, given = _names(layers), tensors.get(stage, {})
        for name, variable in variables.items():
            if name not in given:
                absent.append(f"{stage}/{name}")
            elif given[name].shape != tuple(variable.shape):
                resized.append((f"{stage}/{name}", given[name].shape, tuple(variable.shape)))
        fits = sum(given[name].shape == tuple(variables[name].shape) for name in given)
        if stage in theirs:
            taken[stage] = (fits, len(variables))
    for stage, layers in theirs.items():
        paired = len(tensors.get(stage, {})) == len(_names(layers))
        unused += [f"{stage}/{name}" for name in _names(layers) if not paired and name not in tensors.get(stage, {})]
    return Transfer(file, taken, resized, absent, unused, notes)


def _assign(file, tensors, ours):
    variables = {stage: _names(layers) for stage, layers in ours.items()}
    pairs = [
        (f"{stage}/{name}", variables[stage][name], tensor)
        for stage, given in tensors.items()
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
        differing = _differing_settings(source.settings, model.settings)
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


def _differing_settings(theirs, ours):
    """`{"group.key": the file's value}` of the conventions that both have and that differ."""
    differing = {}
    idle = () if theirs["pyramid"]["name"] == ours["pyramid"]["name"] else _OF_THE_PYRAMID
    for group, keys in CONVENTIONS.items():
        if group not in theirs or group not in ours or group in idle:
            continue
        for key in keys:
            value = theirs[group].get(key)
            is_idle = group == "pyramid" and key == "norm_epsilon" and theirs[group]["norm"] is None
            if _listed(value) != _listed(ours[group].get(key)) and not is_idle:
                differing[f"{group}.{key}"] = value
    return differing


def _differing_layers(source, model):
    """The same of a backbone, read off its layers: it has no settings."""
    differing = {}
    theirs = {layer.name: layer for layer in stages(source)["backbone"]}
    for layer in stages(model)["backbone"]:
        other = theirs.get(layer.name, layer)
        if getattr(other, "strides", None) != getattr(layer, "strides", None):
            is_first = model.settings["backbone"]["stride_in"] == "first_1x1"
            differing["backbone.stride_in"] = "3x3" if is_first else "first_1x1"
        if getattr(other, "epsilon", None) != getattr(layer, "epsilon", None):
            differing["backbone.norm_epsilon"] = other.epsilon
    return differing


def _differing_pixels(model):
    """Backbones that `keras-fpn convert` writes are torchvision's and read its pixels."""
    if default_pixels(_backbone_name(model)) is not None:
        return {}  # of keras.applications, which is never converted
    wanted = profiles.TORCHVISION["pixels"]
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
