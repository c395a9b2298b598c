"""Our weights as torchvision's state dict, where torchvision can run the same network, and what is said beside them."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_fpn.backbones.resnet import ARCHITECTURES as RESNETS
from keras_fpn.checkpoints import torchvision, variables
from keras_fpn.console.errors import UserError
from keras_fpn.models.architectures import ARCHITECTURES
from keras_fpn.models.settings import chosen_settings
from keras_fpn.parts.choice import Choice

if TYPE_CHECKING:
    from keras_fpn.models.detector import Detector

EPSILON = "model.backbone.norm_epsilon"  # a state dict does not carry it: recognition knows it of published files


def tensors(model: "Detector") -> dict[str, np.ndarray]:
    """`{name: array}` of a `FasterRCNN` under torchvision's names.

    The names are those that a model has in memory, without the counters of batch normalisation, which
    `load_state_dict` of plain names does not ask for.

    Raises:
        UserError: torchvision cannot run the same network; everything that is in the way is named.
    """
    _check_network(model)
    return variables.written(torchvision.entries(model))


def metadata(model: "Detector") -> dict[str, str]:
    """Facts that a state dict does not hold, as texts: classes and settings, which reading takes up again."""
    groups = [group for group, kind in _settings_of(model) if kind.is_written]
    settings = {f"model.{group}.{key}": value for group in groups for key, value in model.settings[group].items()}
    if "norm_epsilon" in model.settings["backbone"]:
        settings[EPSILON] = model.settings["backbone"]["norm_epsilon"]
    said = {"class_names": list(model.class_names), "category_ids": list(model.category_ids), "settings": settings}
    return {key: json.dumps(value) for key, value in said.items()}


def written_classes(metadata: Mapping[str, str]) -> tuple[list[str], list[int]]:
    """Names and ids that `metadata` left in a file, or two empty lists."""
    try:
        names, ids = (json.loads(metadata[key]) for key in ("class_names", "category_ids"))
    except (KeyError, TypeError, ValueError):  # somebody else's metadata
        return [], []
    is_ours = isinstance(names, list) and isinstance(ids, list) and len(names) == len(ids)
    is_ours = is_ours and all(isinstance(name, str) and name.isprintable() for name in names)
    is_ours = is_ours and all(type(number) is int for number in ids) and len(set(ids)) == len(ids)
    return (names, ids) if is_ours else ([], [])


def written_settings(metadata: Mapping[str, str]) -> dict[str, Any]:
    """`{"model.group.key": value}` that `metadata` left in a file, or an empty dict."""
    try:
        settings = json.loads(metadata["settings"])
    except (KeyError, TypeError, ValueError):
        return {}
    told = {*(f"model.{group}" for group in _written_groups()), EPSILON}
    is_ours = isinstance(settings, dict) and all({key, key.rpartition(".")[0]} & told for key in settings)
    return settings if is_ours else {}


def _settings_of(model):
    """`((group, Settings), ...)` of a model."""
    return chosen_settings(ARCHITECTURES[model.architecture], model.settings)


def _written_groups():
    """Groups of any member whose settings a file may carry."""
    for member in ARCHITECTURES:
        for group, kind in member.groups.items():
            parts = [part.settings for part in kind.parts] if isinstance(kind, Choice) else [kind]
            if any(settings.is_written for settings in parts):
                yield group


def _check_network(model):
    settings = model.settings
    name = settings["backbone"]["name"]
    if torchvision.NAME not in getattr(model.backbone, "checkpoint_names", {}):
        raise UserError(f"backbone {name}: not among torchvision's; its weights have no names there")
    wanted = {group: dict(kind.elsewhere.get(torchvision.NAME, {})) for group, kind in _settings_of(model)}
    is_bottleneck = name in RESNETS and RESNETS[name].bottleneck
    if is_bottleneck:
        wanted["backbone"]["stride_in"] = "3x3"
    anchors = settings.get("anchors")
    if anchors and len(anchors["ratios"]) > 1 and any(len(sizes) > 1 for sizes in anchors["sizes"].values()):
        wanted["anchors"]["order"] = "ratio_major"
    differing = [
        f"{group}.{key}={settings[group][key]} (torchvision: {value})"
        for group, values in wanted.items()
        for key, value in values.items()
        if settings.get(group, {}).get(key, value) != value
    ]
    last = max(int(level[1:]) for level in model.backbone.output) + _levels_above(model)
    levels = [int(level[1:]) for level in settings["pyramid"]["levels"]]
    if levels[-1] != last:
        differing.append(f"pyramid.levels={','.join(settings['pyramid']['levels'])} (torchvision: up to P{last})")
    if differing:
        raise UserError(
            f"torchvision cannot run this network: {'; '.join(differing)}. Its weights would give other answers there"
        )


def _levels_above(model):
    """How many levels a pyramid has at torchvision above the coarsest of the backbone."""
    return dict(_settings_of(model))["pyramid"].levels_above[torchvision.NAME]
