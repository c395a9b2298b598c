"""detectron2's detectors: what their files have in common; the names stand beside the parts."""

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_fpn.backbones.settings import RESNEXTS
from keras_fpn.checkpoints import sizes
from keras_fpn.checkpoints.entries import Entry
from keras_fpn.checkpoints.entries import entries as named_entries
from keras_fpn.data.coco_classes import IDS

if TYPE_CHECKING:
    import keras

NAME = "detectron2"
COCO_ROWS = len(IDS) + 1
BACKGROUND_HAS_A_BOX = False
BODY, BODY_ALONE = "backbone.bottom_up.", "backbone."  # under a pyramid and without one
RESNET_BLOCK = r"(backbone\.(bottom_up\.)?|roi_heads\.)res(?P<stage>\d)\.(?P<block>\d+)\.conv(?P<number>\d)\.weight"
HEAD = "proposal_generator.rpn_head."
# Its ResNeXt, unlike its other backbones, was trained on colours that are divided by their deviations (BGR).
RESNEXT_STD = [57.375, 57.12, 58.395]


def current_names(tensors: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """`tensors`: detectron2's names are the same in memory and on disk."""
    return tensors


def is_ignored(name: str) -> bool:
    """Whether a tensor is of no use here: what a model computes anew, or a setting that `recognise` has read."""
    counters = name.endswith(".num_batches_tracked")  # where normalisation was trained
    return counters or "anchor_generator.cell_anchors" in name or name in ("pixel_mean", "pixel_std")


# What a file is -----------------------------------------------------------------------------------------------------


def is_source_of(tensors: Mapping[str, np.ndarray]) -> bool:
    """Whether the names are detectron2's."""
    return any(name.startswith(BODY) or name.startswith(HEAD) for name in tensors)


def backbone_of(tensors: Mapping[str, np.ndarray]) -> str | None:
    """Name of the network that the blocks in a file make, or None where they make none of ours."""
    return sizes.resnet_name(tensors, RESNET_BLOCK)


def resnet_convolutions(tensors: Mapping[str, np.ndarray]) -> tuple[str, str]:
    """Names of the first convolution of a ResNet, and of the 3x3 one of its first block."""
    body = _body(tensors)
    return f"{body}stem.conv1.weight", f"{body}res2.0.conv2.weight"


def _body(tensors):
    return BODY if any(name.startswith(BODY) for name in tensors) else BODY_ALONE


def short_name(backbone: str) -> str:
    """Name of a backbone in the titles of its models: "R_50", "X_101_32x8d"."""
    kind, number = re.fullmatch(r"(resnet|resnext)(.+)", backbone).groups()  # type: ignore[union-attr]
    return f"{'X' if kind == 'resnext' else 'R'}_{number}"


def shared_settings(tensors: Mapping[str, np.ndarray], backbone: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Settings that a file of a detector tells: pixels, backbone, pyramid and RPN.

    Returns:
        `({"model.group.key": value}, notes)`.
    """
    body = _body(tensors)
    witnesses = {
        "model.backbone.width": [(f"{body}stem.conv1.weight", 0), (f"{body}res2.0.conv1.weight", 1)],
        "model.pyramid.channels": sizes.places(tensors, r"backbone\.fpn_(lateral|output)\d\.weight"),
        "model.rpn.channels": [(f"{HEAD}conv.weight", 0)],
    }
    settings = {"model.backbone.name": backbone} | sizes.common_sizes(tensors, witnesses) | _pixels(tensors, backbone)
    return settings, _pixel_notes(settings)


def _pixels(tensors, backbone):
    """The pixel settings that older files carry, and those of a backbone otherwise than all others'."""
    names = {"model.pixels.mean": "pixel_mean", "model.pixels.std": "pixel_std"}
    own = {"model.pixels.std": RESNEXT_STD} if backbone in RESNEXTS else {}
    # As short as the number that was written into the configuration: 103.53, not 103.52999878.
    return own | {
        key: [float(str(value)) for value in np.ravel(tensors[name]).astype(np.float32)]
        for key, name in names.items()
        if name in tensors
    }


def _pixel_notes(settings):
    mean = settings.get("model.pixels.mean")
    if mean and mean[0] > mean[-1]:
        return ("pixel_mean falls from first to last, as of RGB; if so, add --set model.pixels.channel_order=RGB",)
    return ()


# Names --------------------------------------------------------------------------------------------------------------


def entries(model: "keras.Model") -> Iterable[Entry]:
    """Entries of a model; classes come first there, too, and the background last."""
    return named_entries(model, NAME)
