"""Files that are none of ours: what they are, told from a name or two, so that the error is short."""

import os
import re
from collections.abc import Mapping

import numpy as np

from keras_fpn.backbones.resnet import ARCHITECTURES, PUBLISHED_WIDTH
from keras_fpn.checkpoints.published.kind import PublishedKind, kinds
from keras_fpn.console.errors import UserError

# Pattern of a tensor's name, and what a file with such a tensor is. The first that is found counts.
REFUSED = (
    (r"^(state|optimizer)\.|(^|\.)(momentum_buffer|exp_avg|exp_avg_sq)$", "the state of an optimizer"),
    (r"^roi_heads\.mask_", "a Mask R-CNN"),
    (r"^roi_heads\.keypoint_", "a Keypoint R-CNN"),
    (r"^roi_heads\.box_(head|predictor)\.\d\.(fc|conv|cls_score|bbox_pred)", "a Cascade R-CNN"),
    (r"^roi_heads\.res5\.", "a Faster R-CNN on C4, without a pyramid"),
    (r"^backbone\.res\d\.", "a detector without a pyramid (C4 or DC5)"),
    (r"^sem_seg_head\.", "a Panoptic FPN"),
    (r"bbox_ctrness", "an FCOS"),
    (r"^head\.classification_head\.module_list\.", "an SSD"),
    (r"^head\.(classification_head|cls_subnet)\.", "a RetinaNet"),
    (r"^(neck|rpn_head|bbox_head)\.", "an MMDetection model"),
    (r"^(transformer|class_embed|query_embed)\b", "a DETR"),
    (r"^(conv1_w|res2_0_branch2a_w)$", "a Detectron or Caffe2 file with other names"),
    (r"^(conv_proj|class_token|encoder\.layers)\b", "a vision transformer"),
    (r"^model\.\d+\.", "a YOLO model"),
    (r"^(features|classifier|fc|head)\.", "a classifier of another kind"),
)


def readable() -> str:
    """List of what `convert` reads, in words."""
    words: dict[str, list[str]] = {}
    for kind in kinds():
        words.setdefault(kind.source, []).append(kind.words)
    return f"convert reads {'; '.join(f'of {source} ' + ', '.join(those) for source, those in words.items())}"


def refusal(tensors: Mapping[str, np.ndarray], file: str | os.PathLike) -> UserError:
    """The `UserError` for a file that is not recognised."""
    for pattern, what in REFUSED:
        name = next((name for name in tensors if re.search(pattern, name)), None)
        if name:
            return UserError(f"{file}: is {what} ({name}); {readable()}")
    some = ", ".join(list(tensors)[:3])
    return UserError(f"{file}: none of its {len(tensors)} tensors tells what it is ({some} ...); {readable()}")


def refuse_other_heads(tensors: Mapping[str, np.ndarray], file: str | os.PathLike, kind: type[PublishedKind]) -> None:
    """Refuse a file that has a part which is not of its kind, nor of any of ours.

    Args:
        kind: the `PublishedKind` that the rest of the file is.
    """
    for pattern, what in REFUSED:
        name = next((name for name in tensors if re.search(pattern, name)), None)
        if name and not kind.reads(name) and not what.startswith("a classifier"):
            raise UserError(f"{file}: is {what} ({name}); {readable()}")


def refuse_other_blocks(
    tensors: Mapping[str, np.ndarray], stem: str, convolution: str, file: str | os.PathLike
) -> None:
    """Refuse ResNeXts of other groups, wide ResNets and group normalisation: the names are those of our networks.

    Args:
        stem: name of the first convolution's kernel.
        convolution: name of the first block's 3x3 kernel.
    """
    if any(name not in tensors or tensors[name].ndim != 4 for name in (stem, convolution)):
        return
    width, (filters, inputs, *_) = tensors[stem].shape[0], tensors[convolution].shape
    if (filters, inputs) not in _middles(width):
        kind = "a ResNeXt (grouped convolutions)" if inputs < filters else "a wide ResNet"
        shape = list(tensors[convolution].shape)
        raise UserError(f"{file}: the backbone is {kind}: {convolution} is {shape}; {readable()}")
    if not any(name.endswith(".running_var") for name in tensors):
        what = "has no batch-norm statistics, so its normalisation is another (group norm?)"
        raise UserError(f"{file}: {what}; {readable()}")


def _middles(width):
    """`{(channels, channels of a group)}` of the first 3x3 convolutions of our networks with a stem so wide."""
    groups = {(of.groups, of.group_width * width // PUBLISHED_WIDTH) for of in ARCHITECTURES.values()}
    return {(number * channels, channels) for number, channels in groups}
