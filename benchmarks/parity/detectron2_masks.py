"""detectron2's mask head on torchvision's operators: what it learns from, its loss, how masks go into a picture."""

import drawn_checkpoints
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from pycocotools import mask as coco
from torch import nn
from torchvision.ops import roi_align

SIDE = 28
LEAST = 0.1  # side of a box that polygons are scaled by


class MaskHead(nn.Module):
    """Logits of all classes of `[N, 256, 14, 14]`.

    Attributes:
        rule: "polygon" or "bitmask": what it learns from.
    """

    name, part, pooled = "masks", "mask_head", 14
    loss_name, rules = "mask_loss", ("polygon", "bitmask")

    def __init__(self, classes):
        super().__init__()
        self.rule = self.rules[0]
        for index in range(1, 5):
            setattr(self, f"mask_fcn{index}", nn.Conv2d(256, 256, 3, padding=1))
        self.deconv = nn.ConvTranspose2d(256, 256, 2, 2)
        self.predictor = nn.Conv2d(256, classes, 1)

    def forward(self, pooled):
        for index in range(1, 5):
            pooled = F.relu(getattr(self, f"mask_fcn{index}")(pooled))
        return self.predictor(F.relu(self.deconv(pooled)))

    def truth(self, boxes, old, new):
        """Masks of the objects of a picture on the network's input: polygons, or `[N, H, W]` of 0 and 1."""
        if self.rule == "polygon":
            return [_outlines(points, old, new) for points in drawn_checkpoints.polygons(boxes)]
        masks = drawn_checkpoints.masks(boxes, *old)
        resized = [Image.fromarray(mask).resize(new[::-1], Image.Resampling.NEAREST) for mask in masks]
        return torch.from_numpy(np.stack([np.asarray(mask) for mask in resized]).astype(np.float32))

    def targets(self, truth, rois, objects):
        """`[N, 28, 28]` of RoIs, each of an object; and which of the RoIs it learns from: all."""
        everything = torch.arange(len(rois))
        if self.rule == "polygon":
            drawn = [_drawn(truth[index], roi.numpy()) for roi, index in zip(rois, objects.tolist(), strict=True)]
            return torch.from_numpy(np.stack(drawn).astype(np.float32)), everything
        regions = torch.cat([objects[:, None].float(), rois], 1)
        cut = roi_align(truth[:, None], regions, SIDE, 1.0, sampling_ratio=-1, aligned=True)[:, 0]
        return (cut >= 0.5).float(), everything

    def loss(self, logits, targets, classes):
        own = logits[torch.arange(len(logits)), classes]
        return F.binary_cross_entropy_with_logits(own, torch.cat(targets))

    def values(self, logits, boxes, classes):
        """Probabilities of the class of each detection; `boxes` are of the network's input."""
        return logits[torch.arange(len(logits)), classes].sigmoid()

    def in_picture(self, values, boxes, size, ratio):
        """`[N, H, W]` bool of detections with boxes in the picture."""
        pasted = torch.zeros(len(boxes), *size, dtype=torch.bool)
        for mask, value, box in zip(pasted, values, boxes, strict=True):
            _paste(mask, value, box)
        return pasted


def _outlines(points, old, new):
    """The parts of an object, each `[2 V]` x, y on the network's input."""
    scaled = points[:, :2].astype(np.float64) * [new[1] / old[1], new[0] / old[0]]
    return [scaled[points[:, 2] == part].reshape(-1) for part in np.unique(points[:, 2])]


def _drawn(parts, box):
    """`[28, 28]` of polygons cut and scaled to a box."""
    scales = [SIDE / max(box[axis + 2] - box[axis], LEAST) for axis in (0, 1)]
    moved = [((part.reshape(-1, 2) - box[:2]) * scales).reshape(-1) for part in parts]
    return coco.decode(coco.merge(coco.frPyObjects(moved, SIDE, SIDE)))


def _paste(image, value, box):
    """Set the pixels of `[H, W]` bool whose centres find a half or more, looked up one cell around the box."""
    height, width = image.shape
    first = (box[:2].floor() - 1).clamp(min=0).int().tolist()
    last = [min(int(end.ceil()) + 1, side) for end, side in zip(box[2:], (width, height), strict=True)]
    x, y = (
        (torch.arange(first[axis], last[axis]) + 0.5 - box[axis]) / (box[axis + 2] - box[axis]) * 2 - 1
        for axis in (0, 1)
    )
    grid = torch.stack([x[None].expand(len(y), -1), y[:, None].expand(-1, len(x))], dim=-1)
    found = F.grid_sample(value[None, None], grid[None], align_corners=False)[0, 0]
    image[first[1] : last[1], first[0] : last[0]] = found >= 0.5
