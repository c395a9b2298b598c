"""torchvision's `RegionProposalNetwork.filter_proposals` on drawn scores and deltas: proposals.npz.

Made with torch 2.14.1, torchvision 0.29.1 on a CPU; draws by `named_draws`.
Run: python tests/golden/make_proposals.py
"""

import math
import pathlib

import named_draws
import numpy as np
import torch
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork

CANVAS = (128, 160)
SIZES = ((128, 160), (97, 131))  # valid height and width of the two images
LEVELS = ("P2", "P3", "P4", "P5", "P6")


def main():
    shapes, height, width = [], *CANVAS
    for index in range(5):
        factor = 2 if index else 4
        height, width = math.ceil(height / factor), math.ceil(width / factor)
        shapes.append((height, width))
    counts = [3 * h * w for h, w in shapes]
    generator = AnchorGenerator(((32,), (64,), (128,), (256,), (512,)), ((0.5, 1.0, 2.0),) * 5)
    anchors = generator(
        ImageList(torch.zeros(2, 3, *CANVAS), [*SIZES]), [torch.zeros(2, 1, *shape) for shape in shapes]
    )
    logits = np.concatenate(
        [
            named_draws.normal(f"proposals/{level}/logits", (2, n))
            for level, n in zip(LEVELS, counts, strict=True)
        ],
        1,
    )
    deltas = np.concatenate(
        [
            named_draws.normal(f"proposals/{level}/deltas", (2, n, 4), 0.4)
            for level, n in zip(LEVELS, counts, strict=True)
        ],
        1,
    )
    # Some boxes shrink to nothing, so that the rule on the smallest side has work.
    deltas[:, ::17, 2] = -30.0
    kept = {"made_with": f"torch {torch.__version__}", "canvas": CANVAS, "sizes": SIZES, "shapes": shapes}
    settings = (("few", 60, 50, 0.0), ("many", 250, 1000, 0.0), ("confident", 250, 1000, 0.6))
    for name, top_k, keep, score_threshold in settings:
        rpn = RegionProposalNetwork(
            generator,
            None,
            0.7,
            0.3,
            256,
            0.5,
            dict(training=0, testing=top_k),
            dict(training=0, testing=keep),
            0.7,
            score_thresh=score_threshold,
        ).eval()
        decoded = BoxCoder((1.0, 1.0, 1.0, 1.0)).decode(torch.tensor(deltas).reshape(-1, 4), anchors)
        boxes, scores = rpn.filter_proposals(
            decoded.view(2, -1, 4), torch.tensor(logits).reshape(-1, 1), [*SIZES], counts
        )
        for image in range(2):
            kept[f"{name}/{image}/boxes"] = boxes[image].numpy()
            kept[f"{name}/{image}/probabilities"] = scores[image].numpy()
            print(name, image, len(boxes[image]))
        kept[f"{name}/settings"] = (top_k, keep)
        kept[f"{name}/score_threshold"] = score_threshold
    np.savez_compressed(pathlib.Path(__file__).with_name("proposals.npz"), **kept)


if __name__ == "__main__":
    main()
