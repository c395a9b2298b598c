"""detectron2's Faster R-CNN and RPN on a pyramid: what a file of them is; their names stand beside the parts."""

import re

import numpy as np

from keras_fpn.box_head_names import CLASS_SCORES
from keras_fpn.checkpoints import foreign, layouts
from keras_fpn.checkpoints.coco_classes import IDS
from keras_fpn.checkpoints.entries import entries as named_entries
from keras_fpn.checkpoints.layouts import Recognition
from keras_fpn.errors import UserError

NAME = "detectron2"
COCO_ROWS = len(IDS) + 1
BACKGROUND_HAS_A_BOX = False
BODY = "backbone.bottom_up."
RESNET_BLOCK = re.escape(BODY) + r"res(?P<stage>\d)\.(?P<block>\d+)\.conv(?P<number>\d)\.weight"
HEAD = "proposal_generator.rpn_head."


def current_names(tensors):
    """`tensors`: detectron2's names are the same in memory and on disk."""
    return tensors


def is_ignored(name):
    """Whether a tensor is of no use here: what a model computes anew, or a setting that `recognise` has read."""
    counters = name.endswith(".num_batches_tracked")  # where normalisation was trained
    return counters or "anchor_generator.cell_anchors" in name or name in ("pixel_mean", "pixel_std")


# What a file is -----------------------------------------------------------------------------------------------------


def is_source_of(tensors):
    """Whether the names are detectron2's."""
    return any(name.startswith(BODY) or name.startswith(HEAD) for name in tensors)


def recognise(tensors, file, forced=False):
    """Tell what a file is; see `torchvision.recognise`."""
    stem = f"{BODY}stem.conv1.weight"
    if not forced:
        foreign.refuse_other_heads(tensors, file)
        foreign.refuse_other_blocks(tensors, stem, f"{BODY}res2.0.conv2.weight", file)
    backbone = layouts.resnet_name(tensors, RESNET_BLOCK)
    if not (backbone or forced):
        raise UserError(f"{file}: its backbone has the blocks of no network here; {foreign.READ}")
    backbone = backbone or "resnet50"
    depth = backbone.removeprefix("resnet")
    settings = {"model.backbone.name": backbone} | _sizes(tensors) | _pixels(tensors)
    notes = _pixel_notes(settings)
    proposes = not forced or any(name.startswith(HEAD) for name in tensors)
    if proposes and not any(name.startswith("roi_heads.") for name in tensors):
        return Recognition(NAME, "rpn", f"rpn_R_{depth}_FPN", "rpn_r50_fpn", settings, notes)
    config = "faster_rcnn_r101_fpn" if backbone == "resnet101" else "faster_rcnn_r50_fpn"
    return Recognition(NAME, "faster_rcnn", f"faster_rcnn_R_{depth}_FPN", config, settings, notes)


def _sizes(tensors):
    pyramid = [(name, 0) for name in tensors if re.fullmatch(r"backbone\.fpn_(lateral|output)\d\.weight", name)]
    linear = [name for name in tensors if re.fullmatch(r"roi_heads\.box_head\.fc\d\.weight", name)]
    stem = [(f"{BODY}stem.conv1.weight", 0), (f"{BODY}res2.0.conv1.weight", 0)]
    found = {
        "model.backbone.width": layouts.common_size(tensors, stem),
        "model.pyramid.channels": layouts.common_size(tensors, pyramid),
        "model.rpn.channels": layouts.common_size(tensors, [(f"{HEAD}conv.weight", 0)]),
        "model.box_head.units": layouts.common_size(
            tensors, [(name, 0) for name in linear] + [(f"{CLASS_SCORES}.weight", 1)]
        ),
    }
    return {key: value for key, value in found.items() if value is not None}


def _pixels(tensors):
    """The pixel settings that older files carry."""
    names = {"model.pixels.mean": "pixel_mean", "model.pixels.std": "pixel_std"}
    # As short as the number that was written into the configuration: 103.53, not 103.52999878.
    return {
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


def entries(model):
    """Entries of a model; classes come first there, too, and the background last."""
    return named_entries(model, NAME)
