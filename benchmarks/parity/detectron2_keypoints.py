"""detectron2's keypoint head on torchvision's operators: what it learns from, its loss, where keypoints are."""

import drawn_checkpoints
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models.detection.roi_heads import heatmaps_to_keypoints, keypoints_to_heatmap

SIDE = 56
OFFSET = 0.5  # from the number of a pixel to its centre


class KeypointHead(nn.Module):
    """Heat maps of `[N, 256, 14, 14]`."""

    name, part, pooled = "keypoints", "keypoint_head", 14
    loss_name, rules = "keypoint_loss", ("",)

    def __init__(self, classes):
        super().__init__()
        for index in range(1, 9):
            setattr(self, f"conv_fcn{index}", nn.Conv2d(256 if index == 1 else 512, 512, 3, padding=1))
        self.score_lowres = nn.ConvTranspose2d(512, 17, 4, 2, 1)

    def forward(self, pooled):
        for index in range(1, 9):
            pooled = F.relu(getattr(self, f"conv_fcn{index}")(pooled))
        return F.interpolate(self.score_lowres(pooled), scale_factor=2, mode="bilinear", align_corners=False)

    def truth(self, boxes, old, new):
        """`[N, 17, 3]` on the network's input."""
        keypoints = torch.from_numpy(drawn_checkpoints.keypoints(boxes, *old)).double()
        keypoints[..., :2] = (keypoints[..., :2] + OFFSET) * torch.tensor([new[1] / old[1], new[0] / old[0]])
        return (keypoints * (keypoints[..., 2:] > 0)).float()

    def targets(self, truth, rois, objects):
        """Cells and which of them count, of the RoIs with a labelled keypoint inside; and which these are."""
        own = truth[objects]
        x, y, visibility = own.unbind(2)
        x1, y1, x2, y2 = rois[:, :, None].unbind(1)
        inside = (x >= x1) & (x <= x2) & (y >= y1) & (y <= y2) & (visibility >= 1)
        chosen = inside.any(1).nonzero()[:, 0]
        return torch.stack(keypoints_to_heatmap(own[chosen], rois[chosen], SIDE)), chosen

    def loss(self, logits, targets, classes):
        cells, is_valid = torch.cat(targets, dim=1).flatten(1)
        valid = is_valid.nonzero()[:, 0]
        return F.cross_entropy(logits.reshape(-1, SIDE**2)[valid], cells[valid], reduction="sum") / len(valid)

    def values(self, logits, boxes, classes):
        """`[N, 17, 3]` x, y and score on the network's input."""
        places, highest = heatmaps_to_keypoints(logits, boxes)
        scores = 1 / (logits - highest[..., None, None]).exp().sum((2, 3))
        return torch.cat([places[..., :2], scores[..., None]], dim=-1)

    def in_picture(self, values, boxes, size, ratio):
        return values * torch.tensor([*ratio, 1.0])
