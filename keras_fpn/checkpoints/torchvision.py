"""torchvision's detectors and ImageNet backbones: what their files have in common, and the order of their classes.

Names stand beside the parts, and are those of a model in memory. The files that torchvision publishes for its first
models have older names for the pyramid and the RPN (`current_names`).
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_fpn.checkpoints import sizes
from keras_fpn.checkpoints.entries import Entry
from keras_fpn.checkpoints.entries import entries as named_entries
from keras_fpn.console.errors import UserError
from keras_fpn.data.coco_classes import IDS, UNUSED_IDS

if TYPE_CHECKING:
    import keras

NAME, CLASSIFIER = "torchvision", "torchvision classifier"
COCO_ROWS = 1 + len(IDS) + len(UNUSED_IDS)
BACKGROUND_HAS_A_BOX = True
BODY = "backbone.body."
RESNET_BLOCK = r"layer(?P<stage>\d)\.(?P<block>\d+)\.conv(?P<number>\d)\.weight"
MOBILENET_LAST = ".16.0.weight"  # MobileNetV3-Small ends at 12, MobileNetV2 at 18


def current_names(tensors: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """`tensors` under the names that torchvision's models have in memory today."""
    renamed = {}
    for name, tensor in tensors.items():
        new = re.sub(r"^(backbone\.fpn\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)$", r"\1.0.\2", name)
        new = re.sub(r"^rpn\.head\.conv\.(weight|bias)$", r"rpn.head.conv.0.0.\1", new)
        renamed[name if new in tensors else new] = tensor
    return renamed


def is_ignored(name: str) -> bool:
    """Whether a tensor is of no use here: a counter or an index, or the classifier of an ImageNet file."""
    last = ("norm.weight", "norm.bias", "head.weight", "head.bias")
    counts = name.endswith((".num_batches_tracked", ".relative_position_index"))
    return counts or name in last or name.startswith(("fc.", "classifier."))


# What a file is -----------------------------------------------------------------------------------------------------


def is_source_of(tensors: Mapping[str, np.ndarray]) -> bool:
    """Whether the names are torchvision's."""
    return any(name.startswith(BODY) for name in tensors) or is_classifier(tensors)


def is_classifier(tensors: Mapping[str, np.ndarray]) -> bool:
    """Whether the names are those of an ImageNet classifier, without a detector's prefix."""
    return _classifier(tensors) is not None


def _classifier(tensors):
    """The kind of classifier that a file is, or None."""
    from keras_fpn.checkpoints.published import kinds  # they import this module

    met = (kind for kind in kinds() if kind.source == NAME and kind.architecture is None and kind.is_met(tensors))
    return next(met, None)


def backbone_of(tensors: Mapping[str, np.ndarray]) -> str | None:
    """Name of the network that the blocks in a file make, or None where they make none of ours."""
    if kind := _classifier(tensors):
        return kind.backbone(tensors)
    if BODY.rstrip(".") + MOBILENET_LAST in tensors:
        return "mobilenet_v3_large"
    return sizes.resnet_name(tensors, re.escape(BODY) + RESNET_BLOCK)


def resnet_of(backbone: str | None, kind: str, file: Path) -> str:
    """The backbone of a detector that torchvision has on ResNets alone.

    Args:
        backbone: see `backbone_of`; ResNet-50 where it is None.
        kind: of detector, with its article.

    Raises:
        UserError: it is another network.
    """
    if backbone == "mobilenet_v3_large":
        raise UserError(f"{file}: {kind} on MobileNetV3, which torchvision has none of; ResNets are read")
    return backbone or "resnet50"


def resnet_convolutions(tensors: Mapping[str, np.ndarray]) -> tuple[str, str]:
    """Names of the first convolution of a ResNet, and of the 3x3 one of its first block."""
    prefix = "" if is_classifier(tensors) else BODY
    return f"{prefix}conv1.weight", f"{prefix}layer1.0.conv2.weight"


def width(tensors: Mapping[str, np.ndarray], prefix: str = BODY) -> dict[str, int]:
    """The setting of a ResNet's width."""
    found = sizes.common_size(tensors, [(f"{prefix}conv1.weight", 0), (f"{prefix}layer1.0.conv1.weight", 1)])
    return {"model.backbone.width": found} if found else {}


# Names --------------------------------------------------------------------------------------------------------------


def entries(model: "keras.Model") -> Iterable[Entry]:
    """Entries of a detector."""
    return named_entries(model, NAME, _class_rows)


def backbone_entries(backbone: "keras.Model") -> Iterable[Entry]:
    """Entries of a backbone in an ImageNet classifier's file."""
    return named_entries(backbone, CLASSIFIER)


def _class_rows(model, rows):
    """Where each of our outputs lies: ours are the classes, then the background, then the rows of no class."""
    # Of all predictors of RoIs, there; a head that tells no background has what it says itself.
    box_head = model.settings.get("box_head")
    others = box_head["background_logits"] if box_head else rows.others
    if rows.others > others:
        raise UserError("box_head.background_boxes: above box_head.background_logits; torchvision has as many of both")
    order = _row_order(model, others, "box_head.background_logits" if box_head else "rows that stand for no class")
    ours = order[: model.num_classes + rows.others]
    places = [
        rows.width * (row + len(order) * repeat) + index
        for repeat in range(rows.repeats)
        for row in ours
        for index in range(rows.width)
    ]
    return places, rows.width * len(order) * rows.repeats


def _row_order(model, others, key):
    """Row of the file for each of our outputs."""
    if others == 0:
        return [*range(model.num_classes)]
    if others == 1:
        return [*range(1, model.num_classes + 1), 0]
    if others == 1 + len(UNUSED_IDS) and tuple(model.category_ids) == IDS:
        return [*IDS, 0, *UNUSED_IDS]
    raise UserError(
        f"{key}: {others} with {model.num_classes} classes has no counterpart at "
        "torchvision; 1 has, and 11 with the 80 classes of COCO"
    )
