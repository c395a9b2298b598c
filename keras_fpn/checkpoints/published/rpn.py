"""detectron2's region proposal network on a pyramid."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from keras_fpn.checkpoints import detectron2
from keras_fpn.checkpoints.published.identity import Identity
from keras_fpn.checkpoints.published.kind import PublishedKind, register_published


@register_published
class Detectron2RPN(PublishedKind):
    """rpn_R_50_FPN of the model zoo."""

    source = detectron2.NAME
    architecture = "rpn"
    words = "RPN"
    patterns = (r"^proposal_generator\.",)
    reached = {"rpn_r50_fpn": "AR at 1000 proposals 58.0 (1x schedule)"}

    @classmethod
    def recognise(cls, tensors: Mapping[str, np.ndarray], backbone: str | None, file: Path) -> Identity:
        backbone = backbone or "resnet50"
        settings, notes = detectron2.shared_settings(tensors, backbone)
        title = f"rpn_{detectron2.short_name(backbone)}_FPN"
        return Identity(cls.source, cls.architecture, title, "rpn_r50_fpn", settings, notes)
