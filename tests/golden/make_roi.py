"""RoIAlign, RoI max pooling and their level rule, run in torchvision: roi.npz.

Made with torch 2.14.1, torchvision 0.29.1 on a CPU; features by `named_draws.normal`, boxes by numpy seed 22.
Run: python tests/golden/make_roi.py
"""

import pathlib

import named_draws
import numpy as np
import torch
from torchvision.ops import MultiScaleRoIAlign, roi_align, roi_pool

IMAGE = (200, 264)  # height, width
SCALE = 1 / 8
CHANNELS = 2


def kinds_of_boxes(rng):
    """[B=2, R, 4]; `inside` says which rows a clipped proposal could be."""
    height, width = IMAGE
    corner = rng.uniform(0, [width, height], (2, 24, 2, 2))
    ordinary = np.concatenate([corner.min(2), corner.max(2)], -1)
    border = np.array(
        [
            [0, 0, width, height],
            [0, 0, 40, 30],
            [width - 31, height - 17, width, height],
            [width - 1, 0, width, height],
            [0, height - 3, width, height],
            [width - 5.5, height - 4.5, width - 0.5, height - 0.25],
        ]
    )
    odd = np.array(
        [
            [50, 50, 51, 51],  # one pixel
            [17.3, 21.9, 17.4, 22.0],
            [33, 20, 33, 60],  # no width
            [10, 90, 250, 92],  # flat
            [120, 5, 121.5, 195],  # thin
            [0, 0, 0, 0],  # what padding rows hold
        ]
    )
    outside = np.array(
        [
            [-16, -16, 16, 16],
            [width - 20, height - 20, width + 60, height + 40],
            [-300, -200, -250, -150],
            [-93, -91, width + 94, height + 95],
            [width + 4, 10, width + 30, 60],
        ]
    )
    fixed = np.concatenate([border, odd, outside])
    boxes = np.stack([np.concatenate([part, fixed]) for part in ordinary]).astype(np.float32)
    inside = np.arange(boxes.shape[1]) < boxes.shape[1] - len(outside)
    return boxes, inside


def main():
    rng = np.random.default_rng(22)
    boxes, inside = kinds_of_boxes(rng)
    shape = (2, CHANNELS, int(IMAGE[0] * SCALE), int(IMAGE[1] * SCALE))
    features = torch.from_numpy(named_draws.normal("roi/features", shape))
    listed = [torch.from_numpy(part) for part in boxes]
    kept = {"made_with": f"torch {torch.__version__}", "boxes": boxes, "inside": inside, "shape": shape}
    kept["features_fingerprint"] = features[0, 0, 0, :8].numpy()

    def as_ours(crops):  # [B * R, C, 7, 7] -> [B, R, 7, 7, C]
        return crops.numpy().transpose(0, 2, 3, 1).reshape(2, -1, 7, 7, CHANNELS)

    for aligned in (False, True):
        for ratio in (2, -1):
            crops = roi_align(features, listed, 7, SCALE, ratio, aligned)
            kept[f"align/aligned_{aligned}/ratio_{max(ratio, 0)}"] = as_ours(crops)
    kept["pool"] = as_ours(roi_pool(features, listed, 7, SCALE))

    # Several levels: boxes of every size and torchvision's own level rule; not aligned, 2 x 2 samples.
    side = np.exp(rng.uniform(np.log(4), np.log(500), (2, 30)))
    aspect = np.exp(rng.uniform(-1, 1, (2, 30)))
    size = np.stack([side * aspect, side / aspect], -1)
    corner = rng.uniform(0, 1, (2, 30, 2)) * np.maximum(512 - size, 1)
    many = np.concatenate([corner, np.minimum(corner + size, 512)], -1).astype(np.float32)
    many[:, 0] = [0, 0, 512, 512]
    many[:, 1] = [3.3, 10.7, 497.1, 503.9]
    levels = {
        f"P{level}": named_draws.normal(f"roi/P{level}", (2, CHANNELS, 512 >> level, 512 >> level))
        for level in (2, 3, 4, 5)
    }
    pool = MultiScaleRoIAlign(list(levels), 7, 2)
    crops = pool(
        {name: torch.from_numpy(level) for name, level in levels.items()},
        [torch.from_numpy(part) for part in many],
        [(512, 512)] * 2,
    )
    kept["levels/boxes"] = many
    kept["levels/crops"] = as_ours(crops)
    kept["levels/level"] = 2 + pool.map_levels([torch.from_numpy(part) for part in many]).numpy().reshape(
        2, -1
    )
    np.savez_compressed(pathlib.Path(__file__).with_name("roi.npz"), **kept)


if __name__ == "__main__":
    main()
