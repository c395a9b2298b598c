"""Our weights as torchvision's state dict, where torchvision can run the same network, and what is said beside them."""

import json

from keras_fpn.backbones.resnet import ARCHITECTURES
from keras_fpn.checkpoints import layouts, torchvision
from keras_fpn.errors import UserError

# What torchvision's detectors have no argument for: {group: {key: its value}}.
FIXED = {
    "pixels": {"channel_order": "RGB"},
    "resize": {"rounding": "floor", "interpolation": "bilinear"},
    "pyramid": {"name": "fpn"},
    "anchors": {"rounding": "torchvision", "offset": 0.0, "stride_source": "floor"},
    "box_head": {"name": "fc"},
    "roi_pooling": {"method": "align", "aligned": False},
}
# Groups of settings that no tensor tells: a 320 px detector has the tensors of an 800 px one.
UNTOLD = ("pixels", "resize", "anchors", "proposals", "roi_pooling", "detections")


def tensors(model):
    """`{name: array}` of a `FasterRCNN` under torchvision's names.

    The names are those that a model has in memory, without the counters of batch normalisation, which
    `load_state_dict` of plain names does not ask for.

    Raises:
        UserError: torchvision cannot run the same network; everything that is in the way is named.
    """
    _check_network(model)
    return layouts.written(torchvision.entries(model))


def metadata(model):
    """What a state dict does not say, as texts: classes and settings, which reading takes up again."""
    ours = {group: model.settings[group] for group in UNTOLD if group in model.settings}
    settings = {f"model.{group}.{key}": value for group, values in ours.items() for key, value in values.items()}
    if "norm_epsilon" in model.settings["backbone"]:
        settings["model.backbone.norm_epsilon"] = model.settings["backbone"]["norm_epsilon"]
    said = {"class_names": list(model.class_names), "category_ids": list(model.category_ids), "settings": settings}
    return {key: json.dumps(value) for key, value in said.items()}


def written_classes(metadata):
    """Names and ids that `metadata` left in a file, or two empty lists."""
    try:
        names, ids = (json.loads(metadata[key]) for key in ("class_names", "category_ids"))
    except (KeyError, TypeError, ValueError):  # somebody else's metadata
        return [], []
    is_ours = isinstance(names, list) and isinstance(ids, list) and len(names) == len(ids)
    is_ours = is_ours and all(isinstance(name, str) and name.isprintable() for name in names)
    is_ours = is_ours and all(type(number) is int for number in ids) and len(set(ids)) == len(ids)
    return (names, ids) if is_ours else ([], [])


def written_settings(metadata):
    """`{"model.group.key": value}` that `metadata` left in a file, or an empty dict."""
    try:
        settings = json.loads(metadata["settings"])
    except (KeyError, TypeError, ValueError):
        return {}
    told = {*(f"model.{group}" for group in UNTOLD), "model.backbone.norm_epsilon"}
    is_ours = isinstance(settings, dict) and all({key, key.rpartition(".")[0]} & told for key in settings)
    return settings if is_ours else {}


def _check_network(model):
    settings = model.settings
    name = settings["backbone"]["name"]
    if torchvision.NAME not in getattr(model.backbone, "checkpoint_names", {}):
        raise UserError(f"backbone {name}: not among torchvision's; its weights have no names there")
    wanted = {group: dict(values) for group, values in FIXED.items()}
    is_bottleneck = name in ARCHITECTURES and ARCHITECTURES[name][0]
    if is_bottleneck:
        wanted["backbone"] = {"stride_in": "3x3"}
    anchors = settings["anchors"]
    if len(anchors["ratios"]) > 1 and any(len(sizes) > 1 for sizes in anchors["sizes"].values()):
        wanted["anchors"]["order"] = "ratio_major"
    differing = [
        f"{group}.{key}={settings[group][key]} (torchvision: {value})"
        for group, values in wanted.items()
        for key, value in values.items()
        if settings.get(group, {}).get(key, value) != value
    ]
    top = max(int(level[1:]) for level in model.backbone.output)
    levels = [int(level[1:]) for level in settings["pyramid"]["levels"]]
    if levels[-1] != top + 1:
        differing.append(f"pyramid.levels={','.join(settings['pyramid']['levels'])} (torchvision: up to P{top + 1})")
    if differing:
        raise UserError(
            f"torchvision cannot run this network: {'; '.join(differing)}. Its weights would give other answers there"
        )
