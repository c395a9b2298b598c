"""torchvision's matcher for anchors (.7 / .3, low-quality matches) and for RoIs (.5 / .5): targets.npz.

Made with torch 2.14.1, torchvision 0.29.1 on a CPU; numpy seed 21.
Run: python tests/golden/make_targets.py
"""

import pathlib

import numpy as np
import torch
from torchvision.models.detection._utils import Matcher
from torchvision.ops import box_iou

SETTINGS = {
    "anchors": (0.7, 0.3, True),
    "rois": (0.5, 0.5, False),
    "anchors_without_low_quality": (0.7, 0.3, False),
}


def main():
    rng = np.random.default_rng(21)
    truth = np.array(
        [[10, 10, 60, 50], [100, 20, 220, 200], [30, 120, 34, 125], [150, 150, 260, 190], [5, 200, 300, 240]],
        np.float32,
    )
    near = np.repeat(truth, 40, 0)
    sides = np.tile(near[:, 2:] - near[:, :2], 2)
    shake = np.repeat([0.05, 0.15, 0.3, 0.35, 0.4], 40)[:, None]  # the last three: no box reaches IoU .7
    near = near + rng.normal(0, 1, near.shape) * shake * sides
    centre = rng.uniform(0, 300, (200, 2))
    size = rng.uniform(4, 120, (200, 2))
    far = np.concatenate([centre - size / 2, centre + size / 2], 1)
    boxes = np.concatenate([near, far]).astype(np.float32)
    boxes = boxes[(boxes[:, 2:] > boxes[:, :2]).all(1)]
    kept = {"made_with": f"torch {torch.__version__}", "truth": truth, "boxes": boxes}
    iou = box_iou(torch.tensor(truth), torch.tensor(boxes))
    for name, (positive, negative, low_quality) in SETTINGS.items():
        matched = Matcher(positive, negative, allow_low_quality_matches=low_quality)(iou).numpy()
        kept[f"{name}/matched"] = np.maximum(matched, 0).astype(np.int32)
        # torchvision: -1 below the low threshold, -2 between the two. Ours: 0 and -1; 1 is positive.
        kept[f"{name}/labels"] = np.where(matched >= 0, 1, np.where(matched == -1, 0, -1)).astype(np.int32)
        print(name, np.unique(kept[f"{name}/labels"], return_counts=True))
    np.savez_compressed(pathlib.Path(__file__).with_name("targets.npz"), **kept)


if __name__ == "__main__":
    main()
