"""torchvision's last step (`RoIHeads.postprocess_detections`) on drawn scores and deltas: detections.npz.

Made with torch 2.14.1, torchvision 0.29.1 on a CPU; draws by `named_draws`, proposals by numpy seed 25.
Run: python tests/golden/make_detections.py
"""

import pathlib

import named_draws
import numpy as np
import torch
from torchvision.models.detection.roi_heads import RoIHeads

CLASSES = 4
SIZES = ((160, 200), (120, 190))
COUNTS = (60, 35)


def proposals_of(rng, count, size):
    """Clusters, so that suppression has work: every proposal is one of eight boxes, shaken."""
    height, width = size
    corner = rng.uniform(0, 0.7, (8, 2)) * [width, height]
    side = rng.uniform(15, 60, (8, 2))
    centres = np.concatenate([corner, corner + side], 1)
    boxes = centres[rng.integers(0, 8, count)] + rng.normal(0, 3, (count, 4))
    boxes = np.concatenate(
        [np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])], 1
    )
    return np.clip(boxes, 0, [width, height, width, height]).astype(np.float32)


def main():
    rng = np.random.default_rng(25)
    proposals = [proposals_of(rng, count, size) for count, size in zip(COUNTS, SIZES, strict=True)]
    logits = [
        named_draws.normal(f"detections/{i}/logits", (n, CLASSES + 1), 2.0) for i, n in enumerate(COUNTS)
    ]
    deltas = [
        named_draws.normal(f"detections/{i}/deltas", (n, CLASSES, 4), 0.5) for i, n in enumerate(COUNTS)
    ]
    deltas[0][:5, :, 2] = -60.0  # these shrink below the smallest side
    kept = {"made_with": f"torch {torch.__version__}", "sizes": SIZES, "counts": COUNTS}
    for image, boxes in enumerate(proposals):
        kept[f"{image}/proposals"] = boxes
    for name, most in (("all", 100), ("best", 20)):
        heads = RoIHeads(None, None, None, 0.5, 0.5, 512, 0.25, None, 0.05, 0.5, most)
        # Ours has the background last and no box for it; torchvision has it first.
        class_logits = torch.tensor(np.concatenate([np.roll(part, 1, axis=1) for part in logits]))
        padded = np.concatenate([np.concatenate([np.zeros_like(part[:, :1]), part], 1) for part in deltas])
        boxes, scores, labels = heads.postprocess_detections(
            class_logits,
            torch.tensor(padded).flatten(1),
            [torch.tensor(part) for part in proposals],
            [*SIZES],
        )
        for image in range(2):
            kept[f"{name}/{image}/boxes"] = boxes[image].numpy()
            kept[f"{name}/{image}/scores"] = scores[image].numpy()
            kept[f"{name}/{image}/classes"] = labels[image].numpy().astype(np.int32) - 1
            print(name, image, len(boxes[image]))
    np.savez_compressed(pathlib.Path(__file__).with_name("detections.npz"), **kept)


if __name__ == "__main__":
    main()
