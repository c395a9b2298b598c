"""torchvision's keypoint head, its targets, its loss and the places it reads off heat maps: keypoints.npz.

Made with torch 2.14.1, torchvision 0.29.1 on a CPU; weights, crops and heat maps by `named_draws`, seeded by name.
Run: python tests/golden/make_keypoints.py
"""

import pathlib

import named_draws
import numpy as np
import torch
from torchvision.models.detection import roi_heads
from torchvision.models.detection.keypoint_rcnn import KeypointRCNNHeads, KeypointRCNNPredictor

CROPS, CHANNELS, WIDTHS, KEYPOINTS = 3, 6, (8, 8, 8), 5
SIDE = 56


def head():
    layers = named_draws.fill(KeypointRCNNHeads(CHANNELS, WIDTHS), "keypoint_head.")
    predictor = named_draws.fill(KeypointRCNNPredictor(WIDTHS[-1], KEYPOINTS), "keypoint_predictor.")
    crops = torch.from_numpy(named_draws.normal("keypoint_head/crops", (CROPS, CHANNELS, 14, 14)))
    with torch.no_grad():
        return predictor(layers(crops)).numpy()


def rois_and_keypoints():
    """Boxes of many sizes and keypoints in, on the border of, beside and hidden in them."""
    rng = np.random.default_rng(7)
    corners = rng.uniform(0, 300, (40, 2))
    boxes = np.concatenate([corners, corners + np.exp(rng.uniform(1, 5.5, (40, 2)))], axis=1).astype(np.float32)
    boxes[:10] = np.round(boxes[:10])
    share = rng.uniform(-0.1, 1.1, (40, KEYPOINTS, 2))
    points = boxes[:, None, :2] + share * (boxes[:, None, 2:] - boxes[:, None, :2])
    points = points.astype(np.float32)
    points[::3, 0] = boxes[::3, 2:]  # on the corners
    points[1::3, 1] = boxes[1::3, :2]
    points[::4, 2, 0] = boxes[::4, 2]
    points[::5, 3] = np.round(points[::5, 3])
    visible = rng.integers(0, 3, (40, KEYPOINTS, 1)).astype(np.float32)
    return boxes, np.concatenate([points, visible], axis=2).astype(np.float32)


def heat_maps(boxes):
    """Logits with a peak here and there over noise."""
    logits = named_draws.normal("keypoint_decode/logits", (len(boxes), KEYPOINTS, SIDE, SIDE))
    blur = torch.nn.functional.avg_pool2d(torch.from_numpy(logits), 5, 1, 2, count_include_pad=False)
    return (blur * 8).numpy()


def main():
    boxes, keypoints = rois_and_keypoints()
    labels, is_valid = roi_heads.keypoints_to_heatmap(torch.from_numpy(keypoints), torch.from_numpy(boxes), SIDE)
    logits = torch.from_numpy(heat_maps(boxes)).requires_grad_()
    matched = torch.arange(len(boxes))
    halves = slice(0, 25), slice(25, None)  # of two images
    loss = roi_heads.keypointrcnn_loss(
        logits,
        [torch.from_numpy(boxes[half]) for half in halves],
        [torch.from_numpy(keypoints[half]) for half in halves],
        [matched[half] - half.start for half in halves],
    )
    loss.backward()
    with torch.no_grad():
        places, scores = roi_heads.heatmaps_to_keypoints(logits.detach(), torch.from_numpy(boxes))
    np.savez_compressed(
        pathlib.Path(__file__).with_name("keypoints.npz"),
        made_with=f"torch {torch.__version__}",
        head_logits=head()[:, :, ::3, ::3],
        boxes=boxes,
        keypoints=keypoints,
        labels=labels.numpy(),
        is_valid=is_valid.numpy().astype(bool),
        loss=loss.item(),
        gradient_of_some=logits.grad.numpy()[::8, :, ::7, ::7],
        places=places.numpy()[..., :2],
        scores=scores.numpy(),
    )


if __name__ == "__main__":
    main()
