"""The RetinaNets of torchvision and of detectron2."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from keras_fpn.checkpoints import detectron2, sizes, torchvision
from keras_fpn.checkpoints.classes import Classes
from keras_fpn.checkpoints.published.coco_v1 import epsilon_of_coco_v1
from keras_fpn.checkpoints.published.identity import Identity
from keras_fpn.checkpoints.published.kind import PublishedKind, register_published
from keras_fpn.checkpoints.sizes import last_number, places
from keras_fpn.checkpoints.torchvision_writing import written_classes
from keras_fpn.console.errors import UserError
from keras_fpn.data import coco_classes
from keras_fpn.heads import dense_head_names as names

COCO_V1 = "eeacb38b"  # in the name of torchvision's first file: the first digits of its SHA-256
_COCO = len(coco_classes.IDS)
_UNUSED = 1 + len(coco_classes.UNUSED_IDS)  # of torchvision's rows of classes: the id 0, and those that nobody has


class _RetinaNet(PublishedKind):
    architecture = "retinanet"
    words = "RetinaNet"
    scores = deltas = ""  # layers that give them
    towers = ""  # pattern of the names of their convolutions; its group is the number of one
    unused_rows: tuple[int, ...] = ()  # how many rows of classes there may be that stand for none, beside COCO's 80
    reached = {
        "retinanet_r50_fpn_torchvision": "box AP 36.4",
        "retinanet_r50_fpn_v2": "box AP 41.5",
        "retinanet_r50_fpn": "box AP 37.4 (1x schedule) or 38.7 (3x)",
        "retinanet_r101_fpn": "box AP 40.4 (3x schedule)",
    }

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
        rows = cls._rows(tensors, file, forced)
        classes = cls._classes(rows, class_names, metadata, file)
        return classes, {"model.dense_head.unused_logits": classes.background_logits}

    @classmethod
    def class_rows(cls, tensors: Mapping[str, np.ndarray]) -> int:
        return 4 * len(tensors[f"{cls.scores}.bias"]) // len(tensors[f"{cls.deltas}.bias"])

    @classmethod
    def _rows(cls, tensors, file, forced):
        """Rows of the scores of one anchor, None where there are none, or none that say anything."""
        scores, deltas = (tensors.get(f"{name}.bias") for name in (cls.scores, cls.deltas))
        if scores is None or deltas is None or scores.ndim != 1 or deltas.ndim != 1:
            return None
        anchors, rest = divmod(len(deltas), 4)
        if anchors and not rest and len(scores) and len(scores) % anchors == 0:
            return len(scores) // anchors
        if forced:  # the list of what does not fit tells more
            return None
        raise UserError(
            f"{file}: the predictors disagree: {cls.deltas} has {len(deltas)} rows, four an anchor, and {cls.scores} "
            f"{len(scores)}, which are no multiple of the anchors"
        )

    @classmethod
    def _classes(cls, rows, class_names, metadata, file):
        ids, who = None, "--classes names"
        if class_names is None:
            class_names, ids = written_classes(metadata)
            who = "the file names"
        if not class_names:
            if rows not in (None, *(_COCO + unused for unused in cls.unused_rows)):
                raise UserError(
                    f"{file}: its predictor has {rows} rows for an anchor, those of COCO have "
                    f"{_COCO + cls.unused_rows[0]}; name the classes of a detector of your own in the order of their "
                    "labels: --classes a,b,c or a text file, one name a line"
                )
            class_names, ids = list(coco_classes.NAMES), list(coco_classes.IDS)
        class_names, ids = list(class_names), list(ids or range(1, len(class_names) + 1))
        unused = cls.unused_rows[0] if rows is None else rows - len(class_names)
        is_coco = tuple(ids) == coco_classes.IDS
        if unused not in (0, 1, *(cls.unused_rows if is_coco else ())):
            number = len(class_names)
            raise UserError(f"{file}: {who} {number} classes, but its predictor has {rows} rows for an anchor")
        return Classes(class_names, ids, unused)

    @classmethod
    def _head(cls, tensors, step):
        """Width and depth of the towers, in which a convolution comes every `step` numbers."""
        convolutions = [place for place in places(tensors, cls.towers) if tensors[place[0]].ndim == 4]
        settings = sizes.common_sizes(tensors, {"model.dense_head.channels": convolutions})
        last = last_number(dict(convolutions), cls.towers)
        return settings | {"model.dense_head.conv_layers": 0 if last is None else last // step + 1}


def pyramid_channels(tensors: Mapping[str, np.ndarray]) -> dict[str, int]:
    """The setting of the channels of torchvision's pyramid."""
    witnesses = places(tensors, r"backbone\.fpn\.\w+_blocks\.(\d\.0|p\d)\.weight")
    return sizes.common_sizes(tensors, {"model.pyramid.channels": witnesses})


@register_published
class TorchvisionRetinaNet(_RetinaNet):
    """retinanet_resnet50_fpn and its v2."""

    source = torchvision.NAME
    patterns: tuple[str, ...] = (
        r"^backbone\.body\.", r"^head\.classification_head\.", r"^head\.regression_head\.bbox_reg\.",
    )  # fmt: skip
    older_names = names.OLDER_NAMES
    scores, deltas = names.TORCHVISION_SCORES, names.TORCHVISION_DELTAS
    towers = r"head\.\w+_head\.conv\.(\d+)\.0\.weight"
    unused_rows = (_UNUSED,)

    @classmethod
    def recognise(cls, tensors: Mapping[str, np.ndarray], backbone: str | None, file: Path) -> Identity:
        backbone = torchvision.resnet_of(backbone, "a RetinaNet", file)
        is_v2 = f"{names.TORCHVISION_CLASSES}.conv.0.1.weight" in tensors
        settings = pyramid_channels(tensors) | cls._head(tensors, 1)
        settings |= {"model.backbone.name": backbone} | torchvision.width(tensors)
        title = f"retinanet_{backbone}_fpn{'_v2' if is_v2 else ''}"
        config = f"retinanet_r50_fpn_{'v2' if is_v2 else 'torchvision'}"
        if is_v2 or backbone != "resnet50":
            return Identity(cls.source, cls.architecture, title, config, settings)
        is_coco = cls._rows(tensors, file, forced=True) == _COCO + _UNUSED
        epsilon, notes = epsilon_of_coco_v1(is_coco, COCO_V1 in file.name)
        return Identity(cls.source, cls.architecture, title, config, settings | epsilon, notes)


@register_published
class Detectron2RetinaNet(_RetinaNet):
    """retinanet_R_50_FPN and retinanet_R_101_FPN of the model zoo."""

    source = detectron2.NAME
    patterns = (r"^head\.cls_subnet\.", r"^head\.bbox_pred\.")
    scores, deltas = names.DETECTRON2_SCORES, names.DETECTRON2_DELTAS
    towers = r"head\.\w+_subnet\.(\d+)\.weight"
    unused_rows = (0,)

    @classmethod
    def recognise(cls, tensors: Mapping[str, np.ndarray], backbone: str | None, file: Path) -> Identity:
        backbone = backbone or "resnet50"
        shared, notes = detectron2.shared_settings(tensors, backbone)
        norm = tensors.get("head.cls_subnet.1.weight")
        has_norms = norm is not None and norm.ndim == 1
        head = cls._head(tensors, 3 if has_norms else 2)
        if has_norms:
            head["model.dense_head.norm"] = "group_norm"
        top = tensors.get("backbone.top_block.p6.weight")
        lateral = tensors.get("backbone.fpn_lateral5.weight")
        if top is not None and lateral is not None and top.shape[1:2] != lateral.shape[1:2]:
            head["model.pyramid.top_input"] = "pyramid"
        config = "retinanet_r101_fpn" if backbone == "resnet101" else "retinanet_r50_fpn"
        title = f"retinanet_{detectron2.short_name(backbone)}_FPN"
        return Identity(cls.source, cls.architecture, title, config, shared | head, notes)
