"""A published checkpoint becomes a Keras model, and a model a file of torchvision's: what `keras-fpn convert` does.

    file -> tensors -> what it is -> configuration -> model -> every tensor into its variable

The configuration named after the source's model is the one place of its settings; a file adds what its shapes tell.
"""

import dataclasses
import json
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import keras

from keras_fpn import runs
from keras_fpn.backbones import build_backbone
from keras_fpn.checkpoints import coco_classes, detectron2, foreign, layouts, torchvision, torchvision_writing
from keras_fpn.checkpoints.files import read_checkpoint, write_safetensors
from keras_fpn.config import load_config
from keras_fpn.errors import UserError
from keras_fpn.profiles import nearest
from keras_fpn.training import build_model

SOURCES = {"torchvision": torchvision, "detectron2": detectron2}
# What the sources' own weights reach on COCO val2017, by the configuration that they belong to.
PUBLISHED = {
    "faster_rcnn_r50_fpn_torchvision": "box AP 37.0",
    "faster_rcnn_r50_fpn_v2": "box AP 46.7",
    "faster_rcnn_mobilenet_v3_large_fpn": "box AP 32.8",
    "faster_rcnn_mobilenet_v3_large_320_fpn": "box AP 22.8",
    "faster_rcnn_r50_fpn": "box AP 37.9 (1x schedule) or 40.2 (3x)",
    "faster_rcnn_r101_fpn": "box AP 42.0 (3x schedule)",
    "rpn_r50_fpn": "AR at 1000 proposals 58.0 (1x schedule)",
}


class Classes(NamedTuple):
    """What the rows of a file's predictors stand for."""

    class_names: list[str]
    category_ids: list[int]
    background_logits: int = 1


@dataclasses.dataclass(frozen=True)
class Conversion:
    """A converted model and where it came from.

    Attributes:
        model: `FasterRCNN`, `RPN`, or a backbone as a functional `keras.Model`.
        recognition: what the file was taken for.
        num_tensors: tensors that went into the model; its batch-norm statistics are among them.
        published: what the source's own weights reach, None for a model of which it has none.
        config: name or path of the configuration.
        settings: `{"model.group.key": value}`, what the model differs in from that configuration.
    """

    model: keras.Model
    recognition: layouts.Recognition
    num_tensors: int
    published: str | None
    config: str
    settings: dict


def convert_checkpoint(path, source=None, config=None, class_names=None, overrides=()):
    """Convert a published checkpoint, or one of a model of the same kind.

    Args:
        path: a file that `keras_fpn.checkpoints.read_checkpoint` reads.
        source: "torchvision" or "detectron2" overrules what the names of the tensors tell.
        config: shipped configuration or YAML file to build instead of the recognised one.
        class_names: names of a detector's own classes, in the order of its labels; COCO's without.
        overrides: settings on top, as `load_config` takes them.

    Returns:
        `FasterRCNN`, `RPN`, or for an ImageNet classifier its backbone: a functional `keras.Model` with taps "Ck".

    Raises:
        UserError: the file is damaged or of another architecture, tensors are left over, missing or of another
            shape, or the classes do not fit.
    """
    return convert(path, source, config, class_names, overrides).model


def convert(path, source=None, config=None, class_names=None, overrides=(), tell=lambda line: None) -> Conversion:
    """`convert_checkpoint` that tells what it does, line by line, and returns what was found out."""
    path = Path(path)
    tell(f"reading {path}")
    checkpoint = read_checkpoint(path)
    layout = _source(checkpoint.tensors, path, source)
    tensors = layout.current_names(checkpoint.tensors)
    recognition = layout.recognise(tensors, path, forced=source is not None)
    tell(f"recognised {layout.NAME} {recognition.title}: configuration {config or recognition.config}")
    written = _written_settings(checkpoint.metadata)
    for note in recognition.notes if config is None and not written else ():
        tell(f"note: {note}")
    classes = None
    if recognition.kind == "faster_rcnn":
        rows = _rows(layout, tensors, path, forced=source is not None)
        classes = _classes(layout, rows, class_names, checkpoint.metadata, path)
    elif class_names is not None:
        raise UserError(f"{path}: {recognition.title} knows no classes; leave --classes out")
    settings = _settings(layout, recognition, classes, config) | (written if config is None else {})
    if config is None:
        _check_sizes(recognition, settings, path)
    resolved = load_config(config or recognition.config, [*settings.items(), *_items(overrides)])
    _check_suits(resolved, config or recognition.config, layout, recognition, classes, path)
    tell("building the model")
    model = _build(recognition, resolved, classes)
    entries = list(_entries(layout, recognition, model))
    layouts.load(entries, tensors, file=path, is_ignored=layout.is_ignored)
    config = str(config or recognition.config)
    settings = _differing(resolved, config)
    is_as_published = not settings and recognition.kind != "backbone" and not _has_own_classes(classes)
    published = PUBLISHED.get(config) if is_as_published else None
    return Conversion(model, recognition, len(entries), published, config, settings)


def to_torchvision(model):
    """`{name: array}`: the weights of a `FasterRCNN` under the names that torchvision's model has in memory.

    Raises:
        UserError: torchvision cannot run the same network.
    """
    if not hasattr(model, "box_head"):
        raise UserError(f"{model.name}: torchvision has no counterpart for an RPN or a backbone alone; only FasterRCNN")
    return torchvision_writing.tensors(model)


def save(model, path):
    """Write a `.keras` file whole or not at all; its folder is made if absent."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    runs.save_model(model, path)


def write_torchvision(model, path):
    """Write `to_torchvision(model)` with its class names as a safetensors file; returns lines that tell how to load it.

    Raises:
        UserError: torchvision cannot run the same network.
    """
    tensors = to_torchvision(model)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_safetensors(path, tensors, torchvision_writing.metadata(model))
    rows = len(tensors[f"{torchvision.CLASS_SCORES}.bias"])
    lines = [f"{len(tensors)} tensors of a torchvision model with num_classes={rows}"]
    epsilon = model.settings["backbone"]["norm_epsilon"]
    if epsilon != 1e-5:  # what torchvision builds with; a state dict does not carry it
        lines.append(f"note: its batch-norm epsilon is {epsilon:g}; there, set `eps` of every norm of the backbone")
    return "\n".join(lines)


def summary(converted):
    """Lines that tell what a conversion made."""
    model = converted.model
    lines = [f"{converted.num_tensors} tensors, {model.count_params():,} weights"]
    if hasattr(model, "num_classes"):
        names = ", ".join(model.class_names[:4]) + (" ..." if model.num_classes > 4 else "")
        lines[0] += f"; {model.num_classes} classes: {names}"
    if converted.published:
        source = converted.recognition.source
        lines.append(
            f"the file that {source} publishes reaches {converted.published} on COCO val2017;"
            " not yet measured with this package"
        )
    return "\n".join(lines)


def next_commands(converted, path):
    """Lines with the commands that make use of a converted model."""
    path = shlex.quote(str(path))
    settings = " ".join(shlex.quote(f"{key}={_yaml(value)}") for key, value in converted.settings.items())
    train = f"  keras-fpn train {shlex.quote(converted.config)} --weights {path} --data FOLDER"
    train += f" --set {settings}" if settings else ""
    if converted.recognition.kind == "backbone":
        return train
    return f"  keras-fpn detect {path} IMAGE_OR_FOLDER\n{train}"


def _yaml(value):
    return str(value).replace(" ", "") if isinstance(value, list) else "null" if value is None else value


def read_class_names(text):
    """Class names of a `--classes` argument: a comma-separated list, or a text file with one name a line.

    Raises:
        UserError: no names, or one of them twice.
    """
    path = Path(text)
    if os.path.isfile(text):  # Path.is_file refuses a text that is too long for a name, as that of 80 classes is
        try:
            names = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            raise UserError(f"--classes {text}: not a text file; give one name a line in UTF-8, or a,b,c") from None
    elif "," not in text and path.suffix:
        raise UserError(f"--classes {text}: no such file")
    else:
        names = text.split(",")
    names = [name.strip() for name in names if name.strip()]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not names:
        raise UserError(f"--classes {text}: {f'{twice[0]} stands there twice' if twice else 'names nothing'}")
    return names


def _source(tensors, path, source):
    if source is not None:
        if source not in SOURCES:
            raise UserError(f"--source {source}: unknown{nearest(source, SOURCES)}")
        return SOURCES[source]
    for layout in SOURCES.values():
        if layout.is_source_of(tensors):
            return layout
    raise foreign.refusal(tensors, path)


def _classes(layout, rows, class_names, metadata, file):
    if class_names is not None:
        return _own_classes(list(class_names), list(range(1, len(class_names) + 1)), rows, file, "--classes names")
    names, ids = _written_classes(metadata)
    if names:
        if rows != layout.COCO_ROWS or tuple(ids) != coco_classes.IDS:
            return _own_classes(names, ids, rows, file, "the file names")
        return Classes(names, ids, rows - len(names))
    if rows in (None, layout.COCO_ROWS):
        names, ids = list(coco_classes.NAMES), list(coco_classes.IDS)
        return Classes(names, ids, layout.COCO_ROWS - len(names))
    raise UserError(
        f"{file}: its predictor has {rows} rows, those of COCO have {layout.COCO_ROWS}; name the {rows - 1} classes of "
        "a detector of your own in the order of their labels: --classes a,b,c or a text file, one name a line"
    )


def _written_classes(metadata):
    """Names and ids that `write_torchvision` left in a file, or two empty lists."""
    try:
        names, ids = (json.loads(metadata[key]) for key in ("class_names", "category_ids"))
    except (KeyError, TypeError, ValueError):  # somebody else's metadata
        return [], []
    is_ours = isinstance(names, list) and isinstance(ids, list) and len(names) == len(ids)
    is_ours = is_ours and all(isinstance(name, str) and name.isprintable() for name in names)
    is_ours = is_ours and all(type(number) is int for number in ids) and len(set(ids)) == len(ids)
    return (names, ids) if is_ours else ([], [])


def _written_settings(metadata):
    """`{"model.group.key": value}` that `write_torchvision` left in a file, or an empty dict."""
    try:
        settings = json.loads(metadata["settings"])
    except (KeyError, TypeError, ValueError):
        return {}
    told = {*(f"model.{group}" for group in torchvision_writing.UNTOLD), "model.backbone.norm_epsilon"}
    is_ours = isinstance(settings, dict) and all({key, key.rpartition(".")[0]} & told for key in settings)
    return settings if is_ours else {}


def _own_classes(names, ids, rows, file, who):
    if rows is not None and len(names) != rows - 1:
        raise UserError(
            f"{file}: {who} {len(names)} classes, but its predictor has {rows} rows: {rows - 1} and the background"
        )
    return Classes(names, ids)


def _has_own_classes(classes):
    return classes is not None and tuple(classes.category_ids) != coco_classes.IDS


def _rows(layout, tensors, file, forced):
    """Rows of the class scores, None where there are none, or none that say anything."""
    scores, boxes = (tensors.get(f"{name}.bias") for name in (layout.CLASS_SCORES, layout.BOXES))
    if scores is None or boxes is None or scores.ndim != 1 or boxes.ndim != 1:
        return None
    if len(scores) < 2:
        raise UserError(f"{file}: {layout.CLASS_SCORES} has no rows for a class and the background; download it again")
    with_box = len(scores) - (0 if layout.BACKGROUND_HAS_A_BOX else 1)
    if len(boxes) == 4 * with_box:
        return len(scores)
    if forced:  # the list of what does not fit tells more
        return None
    if len(boxes) == 4:
        raise UserError(f"{file}: its boxes are the same for all classes (class-agnostic), which no model here has")
    raise UserError(
        f"{file}: the predictors disagree: cls_score has {len(scores)} rows, so bbox_pred needs {4 * with_box}, "
        f"not {len(boxes)}"
    )


def _settings(layout, recognition, classes, config):
    """What the file says about its model: all of it, or beside a configuration of the user's what that cannot know."""
    settings = dict(recognition.settings)
    if config is not None:
        settings = {key: value for key, value in settings.items() if key.startswith("model.pixels.")}
    if classes is not None:
        settings["model.box_head.background_logits"] = classes.background_logits
        boxes = classes.background_logits if layout.BACKGROUND_HAS_A_BOX else 0
        settings["model.box_head.background_boxes"] = boxes
    return settings


def _check_sizes(recognition, settings, file):
    try:
        load_config(recognition.config, settings.items())
    except UserError as error:
        reason = str(error).removeprefix("--set: ")
        raise UserError(f"{file}: no {recognition.title} has its sizes: {reason}; download it again") from None


def _check_suits(resolved, config, layout, recognition, classes, file):
    """Refuse what the shapes of the tensors cannot tell: other conventions, no detector, another number of classes."""
    model = resolved.model
    if model.profile != layout.NAME:
        raise UserError(
            f"{file}: {layout.NAME}'s weights give other answers under the profile {model.profile!r}, which {config} "
            f"has; leave --config out, or name one with model.profile={layout.NAME}"
        )
    if recognition.kind == "backbone":
        return
    if model.architecture != recognition.kind:
        raise UserError(
            f"{file}: is {recognition.title}, and {config} builds model.architecture={model.architecture}; leave "
            f"--config out, or name one of {recognition.kind}"
        )
    if classes is not None and model.num_classes not in (None, len(classes.class_names)):
        raise UserError(
            f"{file}: has {len(classes.class_names)} classes, not model.num_classes={model.num_classes}; leave the "
            "setting out here, and give it to train --weights, which makes new predictors"
        )


def _differing(config, name):
    """`{"model.group.key": value}` that a configuration has otherwise than the shipped or written one of that name.

    The rows of the predictors are left out: a training run has those of its own classes.
    """
    ours, base = (each.model.model_dump(exclude={"box_head": {"background_logits", "background_boxes"}}) for each in (
        config, load_config(name)
    ))  # fmt: skip
    return {
        f"model.{group}.{key}": value
        for group, values in ours.items()
        if isinstance(values, dict)
        for key, value in values.items()
        if base[group][key] != value
    }


def _items(overrides):
    return overrides.items() if isinstance(overrides, Mapping) else overrides


def _build(recognition, config, classes):
    if recognition.kind == "backbone":
        return build_backbone(config.model.backbone.model_dump())
    return build_model(config, classes or Classes([], []))


def _entries(layout, recognition, model):
    if recognition.kind == "backbone":
        return layout.backbone_entries(model)
    return layout.entries(model)
