"""torchvision's RoIAlign of masks (its targets, and detectron2's by a threshold) and PyTorch's "nearest": masks.npz.

The targets are those of `torchvision.models.detection.roi_heads.project_masks_on_boxes`, and of detectron2's
`BitMasks.crop_and_resize`: `ROIAlign(28, 1.0, 0, aligned=True)`, then `>= 0.5`.
Made with torch 2.14.1, torchvision 0.29.1 on a CPU; numpy seed 5.
Run: python tests/golden/make_masks.py
"""

import pathlib

import numpy as np
import torch
from torchvision.models.detection.roi_heads import project_masks_on_boxes
from torchvision.ops import roi_align

SIZES = np.array([[90, 120], [61, 107]], np.int32)  # of the images, padded to the first
OBJECTS, ROIS, SIDE = 3, 14, 28
LENGTHS = [(480, 800), (640, 1066), (427, 800), (1333, 512), (97, 96), (31, 62), (7, 7), (5, 1), (1, 9), (1944, 600)]


def main():
    rng = np.random.default_rng(5)
    bitmaps = _bitmaps(rng)
    objects = rng.integers(-1, OBJECTS, (len(SIZES), ROIS)).astype(np.int32)
    boxes = np.stack([_boxes(rng, *one) for one in zip(bitmaps, SIZES, objects, strict=True)])
    soft = np.zeros((*objects.shape, SIDE, SIDE), np.float32)
    bitmask = np.zeros(soft.shape, bool)
    for image, (height, width) in enumerate(SIZES):
        masks = torch.tensor(bitmaps[image, :, :height, :width])
        found = np.flatnonzero(objects[image] >= 0)
        own, rois = torch.tensor(objects[image][found]).long(), torch.tensor(boxes[image][found])
        soft[image, found] = project_masks_on_boxes(masks, rois, own, SIDE).numpy()
        rois = torch.cat([own[:, None].float(), rois], 1)
        bitmask[image, found] = (roi_align(masks[:, None].float(), rois, SIDE, 1.0, 0, True)[:, 0] >= 0.5).numpy()
    kept = {"sizes": SIZES, "objects": objects, "boxes": boxes, "soft": soft, "side": SIDE}
    kept |= {"bitmaps": np.packbits(bitmaps, axis=-1), "bitmask": np.packbits(bitmask, axis=-1)}
    for old, new in LENGTHS:
        line = torch.arange(old).float()[None, None]
        kept[f"nearest/{old}/{new}"] = torch.nn.functional.interpolate(line, size=new)[0, 0].numpy().astype(np.int16)
    np.savez_compressed(pathlib.Path(__file__).with_name("masks.npz"), **kept)


def _bitmaps(rng):
    """Three ellipses each, some of which reach beyond the image."""
    bitmaps = np.zeros((len(SIZES), OBJECTS, *SIZES[0]), np.uint8)
    y, x = np.mgrid[: SIZES[0, 0], : SIZES[0, 1]]
    for image, (height, width) in enumerate(SIZES):
        for index in range(OBJECTS):
            for _ in range(3):
                (cy, cx), (ry, rx) = rng.uniform(0, 1, 2) * (height, width), rng.uniform(3, height / 3, 2)
                bitmaps[image, index] |= ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1
            bitmaps[image, index, height:], bitmaps[image, index, :, width:] = 0, 0
    return bitmaps


def _boxes(rng, bitmaps, size, objects):
    """Boxes of the objects, of which some are shaken, some anywhere and some slivers, all clipped to the image."""
    boxes = []
    for number, index in enumerate(objects):
        rows, columns = np.nonzero(bitmaps[max(index, 0)])
        box = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], float)
        box += rng.normal(0, 1, 4) * (0, 3, 12)[number % 3]
        if number % 5 == 4:
            box = rng.uniform(0, 1, 4) * np.tile(size[::-1], 2)
            box = np.concatenate([np.minimum(box[:2], box[2:]), np.maximum(box[:2], box[2:])])
        if number % 7 == 6:
            box[2:] = box[:2] + rng.uniform(0.1, 2, 2)
        boxes.append(box.clip(0, np.tile(size[::-1], 2)))
    return np.array(boxes, np.float32)


if __name__ == "__main__":
    main()
