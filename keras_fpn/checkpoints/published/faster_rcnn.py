"""The Faster R-CNNs with a pyramid of torchvision and of detectron2."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from keras_fpn.checkpoints import detectron2, sizes, torchvision
from keras_fpn.checkpoints.classes import Classes, classes_of, predictor_rows
from keras_fpn.checkpoints.published.coco_v1 import epsilon_of_coco_v1
from keras_fpn.checkpoints.published.identity import Identity
from keras_fpn.checkpoints.published.kind import PublishedKind, register_published
from keras_fpn.checkpoints.sizes import last_number, places
from keras_fpn.heads.box_head_names import BOXES, CLASS_SCORES


class BoxHeadKind(PublishedKind):
    """A file whose predictors of the box head have a row for each class, and where the source has it the background.

    `predictors`: names of the two layers, of the scores and of the boxes.
    """

    predictors = (CLASS_SCORES, BOXES)

    @classmethod
    def classes(
        cls,
        source: ModuleType,
        tensors: Mapping[str, np.ndarray],
        class_names: Sequence[str] | None,
        metadata: Mapping[str, str],
        file: Path,
        forced: bool,
    ) -> tuple[Classes, dict[str, Any]]:
        """See `PublishedKind`."""
        rows = predictor_rows(source, tensors, file, forced, cls.predictors)
        classes = cls.classes_of_rows(source, rows, class_names, metadata, file)
        boxes = tensors.get(f"{cls.predictors[1]}.bias")
        # With a single class both kinds of heads have a box.
        is_agnostic = rows is not None and rows > 2 and boxes is not None and len(boxes) == 4
        return classes, {
            "model.box_head.background_logits": classes.background_logits,
            "model.box_head.background_boxes": classes.background_logits if source.BACKGROUND_HAS_A_BOX else 0,
        } | ({"model.box_head.class_agnostic_boxes": True} if is_agnostic else {})

    @classmethod
    def classes_of_rows(
        cls,
        source: ModuleType,
        rows: int | None,
        class_names: Sequence[str] | None,
        metadata: Mapping[str, str],
        file: Path,
    ) -> Classes:
        """The classes of so many rows, see `checkpoints.classes.classes_of`."""
        return classes_of(source, rows, class_names, metadata, file)

    @classmethod
    def class_rows(cls, tensors: Mapping[str, np.ndarray]) -> int:
        """See `PublishedKind`."""
        return len(tensors[f"{cls.predictors[0]}.bias"])


class _FasterRCNN(BoxHeadKind):
    architecture = "faster_rcnn"
    is_default = True
    reached = {
        "faster_rcnn_r50_fpn_torchvision": "box AP 37.0",
        "faster_rcnn_r50_fpn_v2": "box AP 46.7",
        "faster_rcnn_mobilenet_v3_large_fpn": "box AP 32.8",
        "faster_rcnn_mobilenet_v3_large_320_fpn": "box AP 22.8",
        "faster_rcnn_r50_fpn": "box AP 37.9 (1x schedule) or 40.2 (3x)",
        "faster_rcnn_r101_fpn": "box AP 42.0 (3x schedule)",
        "faster_rcnn_x101_fpn": "box AP 43.0 (3x schedule)",
    }

    @classmethod
    def identity(cls, title, config, settings, notes=()):
        return Identity(cls.source, cls.architecture, title, config, settings, notes)


@register_published
class TorchvisionFasterRCNN(_FasterRCNN):
    """fasterrcnn_resnet50_fpn, its v2, and both on MobileNetV3-Large."""

    source = torchvision.NAME
    words = "Faster R-CNN with a pyramid"
    patterns: tuple[str, ...] = (r"^backbone\.body\.", r"^roi_heads\.box_predictor\.cls_score\.")
    coco_v1_r50 = "258fb6c6"  # in the name of the published file: the first digits of its SHA-256

    @classmethod
    def recognise(cls, tensors: Mapping[str, np.ndarray], backbone: str | None, file: Path) -> Identity:
        if backbone == "mobilenet_v3_large":
            return cls._mobilenet(tensors, file)
        backbone, is_v2 = backbone or "resnet50", "backbone.fpn.inner_blocks.0.1.running_mean" in tensors
        title = f"fasterrcnn_{backbone}_fpn{'_v2' if is_v2 else ''}"
        config = f"faster_rcnn_r50_fpn_{'v2' if is_v2 else 'torchvision'}"
        settings = torchvision_sizes(tensors) | {"model.backbone.name": backbone} | torchvision.width(tensors)
        if is_v2 or backbone != "resnet50":
            return cls.identity(title, config, settings)
        rows = sizes.common_size(tensors, [(f"{CLASS_SCORES}.bias", 0)])
        epsilon, notes = epsilon_of_coco_v1(rows == torchvision.COCO_ROWS, cls.coco_v1_r50 in file.name)
        return cls.identity(title, config, settings | epsilon, notes)

    @classmethod
    def _mobilenet(cls, tensors, file):
        name = f"mobilenet_v3_large_{'320_' if '320' in file.name else ''}fpn"
        note = (
            "torchvision has another detector with the same tensors, and nothing in the file's name says 320; if it is "
            "that one, add --config faster_rcnn_mobilenet_v3_large_320_fpn"
        )
        notes = () if "320" in file.name else (note,)
        return cls.identity(f"fasterrcnn_{name}", f"faster_rcnn_{name}", torchvision_sizes(tensors), notes)


@register_published
class Detectron2FasterRCNN(_FasterRCNN):
    """faster_rcnn_R_50_FPN, faster_rcnn_R_101_FPN and faster_rcnn_X_101_32x8d_FPN of the model zoo."""

    source = detectron2.NAME
    words = "Faster R-CNN with a pyramid"
    patterns: tuple[str, ...] = (r"^proposal_generator\.", r"^roi_heads\.box_predictor\.cls_score\.")
    # What it finds objects on, in its titles; the configuration, and those of other backbones.
    suffix, config = "FPN", "faster_rcnn_r50_fpn"
    configs = {"resnet101": "faster_rcnn_r101_fpn", "resnext101_32x8d": "faster_rcnn_x101_fpn"}

    @classmethod
    def recognise(cls, tensors: Mapping[str, np.ndarray], backbone: str | None, file: Path) -> Identity:
        backbone = backbone or "resnet50"
        config = cls.configs.get(backbone, cls.config)
        title = f"faster_rcnn_{detectron2.short_name(backbone)}_{cls.suffix}"
        shared, notes = detectron2.shared_settings(tensors, backbone)
        return cls.identity(title, config, shared | cls.head_sizes(tensors), notes)

    @classmethod
    def head_sizes(cls, tensors: Mapping[str, np.ndarray]) -> dict[str, int]:
        """Settings of the box head that its tensors tell."""
        return detectron2_units(tensors, cls.predictors[0])


def torchvision_sizes(tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Widths and depths that the tensors of torchvision's pyramid, RPN and box head agree on."""
    witnesses = {
        "model.pyramid.channels": places(tensors, r"backbone\.fpn\.\w+_blocks\.\d\.0\.weight"),
        "model.rpn.channels": places(tensors, r"rpn\.head\.conv\.\d\.0\.weight"),
        "model.box_head.units": [
            *places(tensors, r"roi_heads\.box_head\.(fc)?\d\.weight"), (f"{CLASS_SCORES}.weight", 1)
        ],
        "model.box_head.conv_channels": places(tensors, r"roi_heads\.box_head\.\d\.0\.weight"),
    }  # fmt: skip
    settings = sizes.common_sizes(tensors, witnesses)
    last = last_number(tensors, r"rpn\.head\.conv\.(\d)\.0\.weight")
    return settings | ({} if last is None else {"model.rpn.conv_layers": last + 1}) | _box_head_depths(tensors)


def _box_head_depths(tensors):
    """The depths of a box head that is one sequence; that of the first models has names and two layers."""
    last = last_number(tensors, r"roi_heads\.box_head\.(\d)\.weight")
    if last is None:
        return {}
    convolutions = last_number(tensors, r"roi_heads\.box_head\.(\d)\.0\.weight")
    convolutions = 0 if convolutions is None else convolutions + 1
    # A flattening follows the convolutions, a ReLU each linear layer.
    depths = {"model.box_head.conv_layers": convolutions, "model.box_head.fc_layers": (last - convolutions + 1) // 2}
    normed = last_number(tensors, r"roi_heads\.box_head\.(\d)\.1\.running_var") is not None
    return depths if normed or not convolutions else depths | {"model.box_head.norm": None}


def detectron2_units(tensors: Mapping[str, np.ndarray], class_scores: str = CLASS_SCORES) -> dict[str, int]:
    """The width of detectron2's box heads, of the last of which `class_scores` names the layer."""
    linear = places(tensors, r"roi_heads\.box_head\.(\d\.)?fc\d\.weight")
    return sizes.common_sizes(tensors, {"model.box_head.units": [*linear, (f"{class_scores}.weight", 1)]})
