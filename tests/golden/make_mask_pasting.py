"""Masks pasted into an image by torchvision, and by torch's `grid_sample` as detectron2 calls it: mask_pasting.npz.

Made with torch 2.14.1, torchvision 0.29.1 on a CPU; numpy seed 31.
Run: python tests/golden/make_mask_pasting.py
"""

import pathlib

import numpy as np
import torch
from torchvision.models.detection.roi_heads import paste_masks_in_image

HEIGHT, WIDTH = 120, 160
COUNT = 40
NEAR = 1e-5  # of 0.5: what rounding may turn


def looked_up(masks, boxes):
    """Every pixel centre of the image in every mask, over boxes that end at its borders; [COUNT, HEIGHT, WIDTH]."""
    boxes = torch.tensor(boxes.clip(0, np.array([WIDTH, HEIGHT, WIDTH, HEIGHT], np.float32)))
    x1, y1, x2, y2 = boxes[:, :, None].unbind(1)
    across = (torch.arange(WIDTH) + 0.5 - x1) / (x2 - x1) * 2 - 1
    down = (torch.arange(HEIGHT) + 0.5 - y1) / (y2 - y1) * 2 - 1
    shape = (COUNT, HEIGHT, WIDTH)
    grid = torch.stack([across[:, None].expand(shape), down[:, :, None].expand(shape)], dim=3)
    found = torch.nn.functional.grid_sample(masks, grid, align_corners=False)[:, 0]
    found[((x2 <= x1) | (y2 <= y1))[:, 0]] = 0  # boxes without extent are dropped
    return found.numpy()


def main():
    rng = np.random.default_rng(31)
    # Smooth, as masks are: a few random bins, enlarged.
    coarse = torch.tensor(rng.uniform(0, 1, (COUNT, 1, 5, 5)), dtype=torch.float32)
    masks = torch.nn.functional.interpolate(coarse, size=(28, 28), mode="bilinear", align_corners=False)
    steps = (masks * 255).round().to(torch.uint8)  # a quarter of the file
    masks = steps.to(torch.float32) / 255
    centre = rng.uniform((0, 0), (WIDTH, HEIGHT), (COUNT, 2))
    side = np.exp(rng.uniform(np.log(2), np.log(150), (COUNT, 2)))
    boxes = np.concatenate([centre - side / 2, centre + side / 2], axis=1)
    boxes[: COUNT // 2] = boxes[: COUNT // 2].clip(0, (WIDTH, HEIGHT) * 2)  # as detections are; the others reach out
    boxes[:3] = [[0, 0, WIDTH, HEIGHT], [5, 5, 5.4, 30], [10.7, 20.2, 50.3, 80.9]]
    boxes = boxes.astype(np.float32)
    soft = {
        "torchvision": paste_masks_in_image(masks, torch.tensor(boxes), (HEIGHT, WIDTH))[:, 0].numpy(),
        "detectron2": looked_up(masks, boxes),
    }
    kept = {"masks": steps[:, 0].numpy(), "boxes": boxes, "size": [COUNT, HEIGHT, WIDTH]}
    for rule, found in soft.items():
        kept[f"{rule}/pasted"] = np.packbits(found > 0.5 if rule == "torchvision" else found >= 0.5)
        kept[f"{rule}/ties"] = np.flatnonzero(np.abs(found - 0.5) < NEAR).astype(np.int32)
        kept[f"{rule}/soft"] = found[2]  # of one
    np.savez_compressed(pathlib.Path(__file__).with_name("mask_pasting.npz"), **kept)


if __name__ == "__main__":
    main()
