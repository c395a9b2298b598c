"""detectron2's own heads of detections beside the box head: where each is, what it gives, what it learns from.

Another head is another class in `HEADS`.
"""

import contextlib

import drawn_checkpoints
import numpy as np
import torch
from detectron2.structures import PolygonMasks
from pycocotools import mask as coco

OFFSET = 0.5  # that detectron2 adds to keypoints as it reads COCO's files


class Head:
    """A head that answers about each detection.

    Attributes:
        name: of what it gives, with us.
        pooler: of the RoI heads.
        loss, our_loss: what detectron2 and this package call its loss.
        rules: names of further training steps beside the first, see `annotate`.
    """

    name = pooler = loss = our_loss = ""
    rules = ()

    def watch(self, roi_heads, seen):
        """Hooks that leave in `seen` what the results do not say: the boxes that it gets."""

        def see_boxes(_, inputs):
            # Copied, since postprocessing scales boxes where they are.
            seen[f"{self.name} boxes"] = [boxes.tensor.clone() for boxes in inputs[1]]

        yield getattr(roi_heads, self.pooler).register_forward_pre_hook(see_boxes)

    def keep(self, recording, batch, seen, found):
        values, boxes = [self.values(result["instances"]) for result in found], seen[f"{self.name} boxes"]
        assert list(map(len, values)) == list(map(len, boxes)), "a detection without extent was dropped"
        recording.keep_instances(batch, self.name, boxes, self.logits(seen, found), values)

    def logits(self, seen, found):
        raise NotImplementedError

    def values(self, instances):
        """`[N, ...]` of the detections of a picture, in its own pixels."""
        raise NotImplementedError

    def annotate(self, boxes, size, step):
        """`[{key: value}]` of the annotations of boxes in a picture; see `detection_utils`."""
        raise NotImplementedError

    @contextlib.contextmanager
    def learning(self, step, recording):
        """Keep what it learns from in a training step, where that hangs on the last digits of a box."""
        yield


class Masks(Head):
    name, pooler, loss, our_loss = "masks", "mask_pooler", "loss_mask", "mask_loss"
    rules = ("bitmask",)

    def watch(self, roi_heads, seen):
        yield from super().watch(roi_heads, seen)

        def see_logits(_, inputs, output):
            seen[f"{self.name} logits"] = output

        yield roi_heads.mask_head.predictor.register_forward_hook(see_logits)

    def logits(self, seen, found):
        return seen[f"{self.name} logits"]

    def values(self, instances):
        return instances.pred_masks

    def annotate(self, boxes, size, step):
        if step in self.rules:
            masks = drawn_checkpoints.masks(boxes, *size)
            return [{"segmentation": coco.encode(np.asfortranarray(mask))} for mask in masks]
        return [{"segmentation": _parts(points)} for points in drawn_checkpoints.polygons(boxes)]

    @contextlib.contextmanager
    def learning(self, step, recording):
        cut, images = PolygonMasks.crop_and_resize, iter(range(recording.most))

        def cut_and_keep(polygons, *arguments):
            targets = cut(polygons, *arguments)
            recording.keep_values(f"{step}/mask_targets/{next(images)}", targets.numpy())
            return targets

        PolygonMasks.crop_and_resize = cut_and_keep
        try:
            yield
        finally:
            PolygonMasks.crop_and_resize = cut


class Keypoints(Head):
    name, pooler, loss, our_loss = "keypoints", "keypoint_pooler", "loss_keypoint", "keypoint_loss"

    def logits(self, seen, found):
        return torch.cat([result["instances"].pred_keypoint_heatmaps for result in found])

    def values(self, instances):
        return instances.pred_keypoints

    def annotate(self, boxes, size, step):
        keypoints = drawn_checkpoints.keypoints(boxes, *size).astype(np.float64)
        keypoints[..., :2] += OFFSET
        return [{"keypoints": each.reshape(-1).tolist()} for each in keypoints]


def _parts(points):
    return [points[points[:, 2] == part, :2].reshape(-1).astype(np.float64) for part in np.unique(points[:, 2])]


HEADS = (Masks(), Keypoints())


def of(module):
    """The heads that a model has."""
    return [head for head in HEADS if hasattr(getattr(module, "roi_heads", None), head.pooler)]
