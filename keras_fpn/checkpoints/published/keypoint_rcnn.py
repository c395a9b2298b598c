"""The Keypoint R-CNNs with a pyramid of torchvision and of detectron2."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from keras_fpn.checkpoints import detectron2, sizes, torchvision
from keras_fpn.checkpoints.classes import Classes
from keras_fpn.checkpoints.published.coco_v1 import epsilon_of_coco_v1
from keras_fpn.checkpoints.published.faster_rcnn import BoxHeadKind, detectron2_units, torchvision_sizes
from keras_fpn.checkpoints.published.identity import Identity
from keras_fpn.checkpoints.published.kind import register_published
from keras_fpn.checkpoints.sizes import last_number, places
from keras_fpn.checkpoints.torchvision_writing import written_classes
from keras_fpn.data import coco_keypoints
from keras_fpn.heads.box_head_names import CLASS_SCORES
from keras_fpn.heads.keypoint_head_names import DETECTRON2_SCORES, TORCHVISION_SCORES

# In the names of torchvision's two files, which have the same tensors: the first digits of their SHA-256.
COCO_V1, COCO_LEGACY = "fc266e95", "9f466800"
_PERSON = (["person"], [1])
_PERSON_ROWS = 2  # and the background
_HEAD = r"roi_heads\.keypoint_head\."


class _KeypointRCNN(BoxHeadKind):
    architecture = "keypoint_rcnn"
    words = "Keypoint R-CNN"
    scores = ""  # layer that gives the heat maps
    reached = {
        "keypoint_rcnn_r50_fpn_torchvision": "box AP 54.6 and keypoint AP 65.0 (COCO_V1), or 50.6 and 61.1 (legacy)",
        "keypoint_rcnn_r50_fpn": "box AP 53.6 and keypoint AP 64.0 (1x schedule), or 55.4 and 65.5 (3x)",
    }

    @classmethod
    def classes(cls, source, tensors, *others):
        classes, settings = super().classes(source, tensors, *others)
        return classes, settings | cls._number(tensors)

    @classmethod
    def classes_of_rows(cls, source, rows, class_names, metadata, file):
        if class_names is None and rows in (None, _PERSON_ROWS) and not written_classes(metadata)[0]:
            return Classes(*_PERSON)
        return super().classes_of_rows(source, rows, class_names, metadata, file)

    @classmethod
    def are_its_own(cls, classes):
        return (classes.class_names, classes.category_ids) == _PERSON

    @classmethod
    def _number(cls, tensors):
        """How many keypoints there are: of the data, not of the network."""
        number = sizes.common_size(tensors, [(f"{cls.scores}.bias", 0)])
        return {} if number is None else {"model.keypoint_head.num_keypoints": number}

    @classmethod
    def _head(cls, tensors, last):
        """Widths and depth of the head, of which `last` is the number of convolutions."""
        witnesses = [*places(tensors, _HEAD + r"(conv_fcn)?\d+\.weight"), (f"{cls.scores}.weight", 0)]
        channels = sizes.common_sizes(tensors, {"model.keypoint_head.channels": witnesses})
        return channels | ({} if last is None else {"model.keypoint_head.conv_layers": last})


@register_published
class TorchvisionKeypointRCNN(_KeypointRCNN):
    """keypointrcnn_resnet50_fpn, its legacy weights and those of today."""

    source = torchvision.NAME
    patterns = (r"^backbone\.body\.", r"^roi_heads\.box_predictor\.cls_score\.", r"^roi_heads\.keypoint_")
    scores = TORCHVISION_SCORES

    @classmethod
    def recognise(cls, tensors: Mapping[str, np.ndarray], backbone: str | None, file: Path) -> Identity:
        backbone = torchvision.resnet_of(backbone, "a Keypoint R-CNN", file)
        last = last_number(tensors, _HEAD + r"(\d+)\.weight")  # a ReLU behind each convolution
        head = cls._head(tensors, None if last is None else last // 2 + 1)
        settings = torchvision_sizes(tensors) | {"model.backbone.name": backbone} | torchvision.width(tensors) | head
        title, config = f"keypointrcnn_{backbone}_fpn", "keypoint_rcnn_r50_fpn_torchvision"
        if backbone != "resnet50":
            return Identity(cls.source, cls.architecture, title, config, settings)
        epsilon, notes = cls._epsilon(tensors, file)
        return Identity(cls.source, cls.architecture, title, config, settings | epsilon, notes)

    @classmethod
    def _epsilon(cls, tensors, file):
        """The batch-norm epsilon that the weights run with, and what to tell about it."""
        rows, number = (sizes.common_size(tensors, [(f"{name}.bias", 0)]) for name in (CLASS_SCORES, cls.scores))
        if COCO_LEGACY in file.name:
            return {}, ()
        is_coco = (rows, number) == (_PERSON_ROWS, len(coco_keypoints.NAMES))
        others = (
            f"its COCO_LEGACY, whose tensors have the same names ({COCO_LEGACY} in that of the file), and weights of "
            "another training"
        )
        return epsilon_of_coco_v1(is_coco, COCO_V1 in file.name, others)


@register_published
class Detectron2KeypointRCNN(_KeypointRCNN):
    """keypoint_rcnn_R_50_FPN of the model zoo, 1x and 3x."""

    source = detectron2.NAME
    patterns = (r"^proposal_generator\.", r"^roi_heads\.box_predictor\.cls_score\.", r"^roi_heads\.keypoint_")
    scores = DETECTRON2_SCORES

    @classmethod
    def recognise(cls, tensors: Mapping[str, np.ndarray], backbone: str | None, file: Path) -> Identity:
        backbone = backbone or "resnet50"
        shared, notes = detectron2.shared_settings(tensors, backbone)
        head = cls._head(tensors, last_number(tensors, _HEAD + r"conv_fcn(\d+)\.weight"))
        settings = shared | detectron2_units(tensors) | head
        title = f"keypoint_rcnn_{detectron2.short_name(backbone)}_FPN"
        return Identity(cls.source, cls.architecture, title, "keypoint_rcnn_r50_fpn", settings, notes)
