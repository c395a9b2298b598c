"""torchvision's heads of detections beside the box head: where each is, what it gives, what it learns from.

Another head is another class in `HEADS`.
"""

import catalogue
import drawn_checkpoints
import torch

# Rows of a predictor in this package's order, by their number: classes, background, ids that COCO never used.
ROWS = {
    91: (*catalogue.USED_IDS, 0, *catalogue.UNUSED_IDS),
    2: (1, 0),  # a person
}


def rows(box_predictor):
    """The rows of a model's predictors in our order."""
    return ROWS[box_predictor.cls_score.out_features]


class Head:
    """A head that answers about each detection.

    Attributes:
        name: of what it gives, in results and targets.
        pool, predictor: its parts in `RoIHeads`.
        loss, our_loss: what torchvision and this package call its loss.
    """

    name = pool = predictor = loss = our_loss = ""

    def watch(self, roi_heads, seen):
        """Hooks that leave the boxes that it gets, and its logits, in `seen`."""

        def see_boxes(_, inputs):
            seen[f"{self.name} boxes"] = inputs[1]

        def see_logits(_, inputs, output):
            seen[f"{self.name} logits"] = self.in_our_order(output, roi_heads)

        yield getattr(roi_heads, self.pool).register_forward_pre_hook(see_boxes)
        yield getattr(roi_heads, self.predictor).register_forward_hook(see_logits)

    def keep(self, recording, batch, seen, found):
        values = [self.values(detections) for detections in found]
        recording.keep_instances(batch, self.name, seen[f"{self.name} boxes"], seen[f"{self.name} logits"], values)

    def in_our_order(self, logits, roi_heads):
        return logits

    def values(self, detections):
        """`[N, ...]` of the detections of a picture, in its own pixels."""
        raise NotImplementedError

    def truth(self, boxes, height, width):
        """The target of boxes in a picture."""
        raise NotImplementedError


class Masks(Head):
    name, pool, predictor, loss, our_loss = "masks", "mask_roi_pool", "mask_predictor", "loss_mask", "mask_loss"

    def in_our_order(self, logits, roi_heads):
        return logits[:, rows(roi_heads.box_predictor)]

    def values(self, detections):
        return detections["masks"][:, 0] > 0.5

    def truth(self, boxes, height, width):
        return torch.from_numpy(drawn_checkpoints.masks(boxes, height, width))


class Keypoints(Head):
    name, pool, predictor = "keypoints", "keypoint_roi_pool", "keypoint_predictor"
    loss, our_loss = "loss_keypoint", "keypoint_loss"

    def values(self, detections):
        scores = detections["keypoints_scores"][..., None]
        return torch.cat([detections["keypoints"][..., :2], scores], dim=-1)

    def truth(self, boxes, height, width):
        return torch.from_numpy(drawn_checkpoints.keypoints(boxes, height, width))


HEADS = (Masks(), Keypoints())


def of(roi_heads):
    """The heads that a model has."""
    return [head for head in HEADS if getattr(roi_heads, head.pool) is not None]
