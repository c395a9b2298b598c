"""Behind the pyramid of torchvision's RetinaNet and FCOS: one head, on every level."""

import contextlib

import dense_record
import hooks
import torchvision_heads


class Dense:
    """See `reference_torchvision.KINDS`, and `torchvision_regions.Regions` for its attributes and methods."""

    losses = {"classification": "class_loss", "bbox_regression": "box_loss", "bbox_ctrness": "centerness_loss"}
    levels = {5: dense_record.LEVELS}
    taps = {3: ("C3", "C4", "C5")}

    def __init__(self, module):
        self.module = module
        self.rows = torchvision_heads.ROWS[module.head.classification_head.num_classes]
        # In FCOS distances to the sides.
        is_fcos = hasattr(module.head.regression_head, "bbox_ctrness")
        boxes = "distances" if is_fcos else "box_deltas"
        self._names = {"cls_logits": "class_logits", "bbox_regression": boxes, "bbox_ctrness": "centerness"}

    @staticmethod
    def is_in(module):
        return hasattr(module, "head")

    def watched(self, seen):
        return hooks.watched(seen, (("head", self.module.head), ("anchors", self.module.anchor_generator)))

    def keep(self, recording, batch, levels, seen, found):
        numbers = [maps.shape[2] * maps.shape[3] for maps in seen["pyramid"].values()]
        of_cell = len(seen["anchors"][0]) // sum(numbers)
        numbers = [of_cell * number for number in numbers]
        outputs = {self._names[name]: tensor.split(numbers, dim=1) for name, tensor in seen["head"].items()}
        outputs["class_logits"] = [level[..., self.rows] for level in outputs["class_logits"]]
        dense_record.keep(recording, batch, outputs, seen["anchors"][0].split(numbers))

    def sampled(self, step, recording):
        """Nothing is."""
        return contextlib.nullcontext()

    def pools(self):
        return []

    def truth(self, boxes, height, width):
        return {}
