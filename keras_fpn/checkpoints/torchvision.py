"""torchvision's detectors and ImageNet backbones: what a file of them is, and the order of their classes.

Names stand beside the parts, and are those of a model in memory. The files that torchvision publishes for its first
models have older names for the pyramid and the RPN (`current_names`).
"""

import re

from keras_fpn.box_head_names import CLASS_SCORES
from keras_fpn.checkpoints import foreign, layouts
from keras_fpn.checkpoints.coco_classes import IDS, UNUSED_IDS
from keras_fpn.checkpoints.entries import entries as named_entries
from keras_fpn.checkpoints.layouts import Recognition
from keras_fpn.errors import UserError

NAME, CLASSIFIER = "torchvision", "torchvision classifier"
COCO_ROWS = 1 + len(IDS) + len(UNUSED_IDS)
BACKGROUND_HAS_A_BOX = True
BODY = "backbone.body."
RESNET_BLOCK = r"layer(?P<stage>\d)\.(?P<block>\d+)\.conv(?P<number>\d)\.weight"
COCO_V1_R50 = "258fb6c6"  # in the name of the published file: the first digits of its SHA-256
MOBILENET_LAST = ".16.0.weight"  # MobileNetV3-Small ends at 12, MobileNetV2 at 18


def current_names(tensors):
    """`tensors` under the names that torchvision's models have in memory today."""
    renamed = {}
    for name, tensor in tensors.items():
        new = re.sub(r"^(backbone\.fpn\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)$", r"\1.0.\2", name)
        new = re.sub(r"^rpn\.head\.conv\.(weight|bias)$", r"rpn.head.conv.0.0.\1", new)
        renamed[name if new in tensors else new] = tensor
    return renamed


def is_ignored(name):
    """Whether a tensor is of no use here: a counter of training steps, or the classifier of an ImageNet file."""
    return name.endswith(".num_batches_tracked") or name.startswith(("fc.", "classifier."))


# What a file is -----------------------------------------------------------------------------------------------------


def is_source_of(tensors):
    """Whether the names are torchvision's."""
    return any(name.startswith(BODY) for name in tensors) or _is_classifier(tensors)


def _is_classifier(tensors):
    return {"conv1.weight", "layer1.0.conv1.weight"} <= set(tensors) or "features" + MOBILENET_LAST in tensors


def recognise(tensors, file, forced=False):
    """Tell what a file is.

    Args:
        tensors: with current names.
        file: its path.
        forced: the user says that it is torchvision's, so that what is missing is told tensor by tensor.

    Raises:
        UserError: an architecture that is not converted, unless `forced`.
    """
    is_classifier = _is_classifier(tensors)
    prefix = "" if is_classifier else BODY
    mobilenet = ("features" if is_classifier else BODY.rstrip(".")) + MOBILENET_LAST in tensors
    if not forced:
        foreign.refuse_other_heads(tensors, file)
        foreign.refuse_other_blocks(tensors, f"{prefix}conv1.weight", f"{prefix}layer1.0.conv2.weight", file)
    resnet = layouts.resnet_name(tensors, re.escape(prefix) + RESNET_BLOCK)
    if not (mobilenet or resnet or forced):
        raise UserError(f"{file}: its backbone has the blocks of no network here; {foreign.READ}")
    if is_classifier:
        return _imagenet(tensors, "mobilenet_v3_large" if mobilenet else resnet or "resnet50")
    return _mobilenet_detector(tensors, file) if mobilenet else _resnet_detector(tensors, resnet or "resnet50", file)


def _imagenet(tensors, name):
    mobilenet = name == "mobilenet_v3_large"
    config = "faster_rcnn_mobilenet_v3_large_fpn" if mobilenet else "faster_rcnn_r50_fpn_torchvision"
    settings = {"model.backbone.name": name} | ({"model.backbone.norm_epsilon": 1e-3} if mobilenet else {})
    settings |= _width(tensors, "")
    return Recognition(NAME, "backbone", f"{name} (an ImageNet classifier)", config, settings)


def _mobilenet_detector(tensors, file):
    name = f"mobilenet_v3_large_{'320_' if '320' in file.name else ''}fpn"
    note = (
        "torchvision has another detector with the same tensors, and nothing in the file's name says 320; if it is "
        "that one, add --config faster_rcnn_mobilenet_v3_large_320_fpn"
    )
    notes = () if "320" in file.name else (note,)
    return Recognition(
        NAME, "faster_rcnn", f"fasterrcnn_{name}", f"faster_rcnn_{name}", _head_settings(tensors), notes
    )


def _resnet_detector(tensors, backbone, file):
    is_v2 = "backbone.fpn.inner_blocks.0.1.running_mean" in tensors
    title = f"fasterrcnn_{backbone}_fpn{'_v2' if is_v2 else ''}"
    config = f"faster_rcnn_r50_fpn_{'v2' if is_v2 else 'torchvision'}"
    settings = _head_settings(tensors) | {"model.backbone.name": backbone} | _width(tensors, BODY)
    if is_v2 or backbone != "resnet50":
        return Recognition(NAME, "faster_rcnn", title, config, settings)
    if layouts.common_size(tensors, [(f"{CLASS_SCORES}.bias", 0)]) != COCO_ROWS:
        note = "batch-norm epsilon 1e-5, with which torchvision builds; weights trained from its COCO_V1, which it runs"
        note += " with 0, need --set model.backbone.norm_epsilon=0"
        return Recognition(NAME, "faster_rcnn", title, config, settings, (note,))
    settings["model.backbone.norm_epsilon"] = 0.0
    note = "batch-norm epsilon 0, with which torchvision runs its COCO_V1; weights of another training on COCO need "
    note += "--set model.backbone.norm_epsilon=1e-5"
    return Recognition(NAME, "faster_rcnn", title, config, settings, () if COCO_V1_R50 in file.name else (note,))


def _width(tensors, prefix):
    """The width of a ResNet."""
    width = layouts.common_size(tensors, [(f"{prefix}conv1.weight", 0), (f"{prefix}layer1.0.conv1.weight", 0)])
    return {"model.backbone.width": width} if width else {}


def _head_settings(tensors):
    """Widths and depths that the tensors behind the backbone agree on."""
    places = {
        "model.pyramid.channels": [*_places(tensors, r"backbone\.fpn\.\w+_blocks\.\d\.0\.weight")],
        "model.rpn.channels": [*_places(tensors, r"rpn\.head\.conv\.\d\.0\.weight")],
        "model.box_head.units": [
            *_places(tensors, r"roi_heads\.box_head\.(fc)?\d\.weight"), (f"{CLASS_SCORES}.weight", 1)
        ],
        "model.box_head.conv_channels": [*_places(tensors, r"roi_heads\.box_head\.\d\.0\.weight")],
    }  # fmt: skip
    found = {key: layouts.common_size(tensors, witnesses) for key, witnesses in places.items()}
    settings = {key: value for key, value in found.items() if value is not None}
    last = _last(tensors, r"rpn\.head\.conv\.(\d)\.0\.weight")
    return settings | ({} if last is None else {"model.rpn.conv_layers": last + 1}) | _box_head_settings(tensors)


def _box_head_settings(tensors):
    """The depths of a box head that is one sequence; that of the first models has names and two layers."""
    last = _last(tensors, r"roi_heads\.box_head\.(\d)\.weight")
    if last is None:
        return {}
    convolutions = _last(tensors, r"roi_heads\.box_head\.(\d)\.0\.weight")
    convolutions = 0 if convolutions is None else convolutions + 1
    # A flattening follows the convolutions, a ReLU each linear layer.
    depths = {"model.box_head.conv_layers": convolutions, "model.box_head.fc_layers": (last - convolutions + 1) // 2}
    normed = _last(tensors, r"roi_heads\.box_head\.(\d)\.1\.running_var") is not None
    return depths if normed or not convolutions else depths | {"model.box_head.norm": None}


def _places(tensors, pattern):
    return ((name, 0) for name in tensors if re.fullmatch(pattern, name))


def _last(tensors, pattern):
    """The highest number in the names that match, None without any."""
    return max((int(match[1]) for match in (re.fullmatch(pattern, name) for name in tensors) if match), default=None)


# Names --------------------------------------------------------------------------------------------------------------


def entries(model):
    """Entries of a detector."""
    return named_entries(model, NAME, _class_rows)


def backbone_entries(backbone):
    """Entries of a backbone in an ImageNet classifier's file."""
    return named_entries(backbone, CLASSIFIER)


def _class_rows(model, rows):
    """Where each of our outputs lies: ours are the classes, then the background, then the rows of no class."""
    others = model.settings["box_head"]["background_logits"]  # of all predictors, there
    if rows.others > others:
        raise UserError("box_head.background_boxes: above box_head.background_logits; torchvision has as many of both")
    order = _row_order(model, others)
    ours = order[: model.num_classes + rows.others]
    return [rows.width * row + index for row in ours for index in range(rows.width)], rows.width * len(order)


def _row_order(model, background_logits):
    """Row of the file for each of our logits."""
    if background_logits == 1:
        return [*range(1, model.num_classes + 1), 0]
    if background_logits == 1 + len(UNUSED_IDS) and tuple(model.category_ids) == IDS:
        return [*IDS, 0, *UNUSED_IDS]
    raise UserError(
        f"box_head.background_logits: {background_logits} with {model.num_classes} classes has no counterpart at "
        "torchvision; 1 has, and 11 with the 80 classes of COCO"
    )
