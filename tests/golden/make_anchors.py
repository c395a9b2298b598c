"""Anchors of torchvision (run) and of detectron2 and Detectron (their formulas, written out): anchors.npz.

Made with torch 2.14.1, torchvision 0.29.1, numpy 2 on a CPU; nothing is random.
Run: python tests/golden/make_anchors.py
"""

import hashlib
import math
import pathlib

import numpy as np
import torch
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList

LEVELS = ("P2", "P3", "P4", "P5", "P6")
SIZES = (32, 64, 128, 256, 512)
RATIOS = (0.5, 1.0, 2.0)
# Detectron's usual batch, a square one, a small one, and one that no stride divides.
IMAGES = ((800, 1344), (800, 1024), (256, 256), (203, 307))
ROW_STEP = 997
# Every size on every level, as torchvision's detectors on MobileNetV3 have it: three maps of a 256 x 320 image, two of
# stride 32; the third's strides, 256 // 5 and 320 // 4, are no powers of two and differ.
MANY_SIZES_IMAGE = (256, 320)
MANY_SIZES_SHAPES = ((8, 10), (8, 10), (5, 4))


def feature_shapes(height, width):
    shapes = []
    for _ in LEVELS:
        factor = 4 if not shapes else 2
        height, width = math.ceil(height / factor), math.ceil(width / factor)
        shapes.append((height, width))
    return shapes


def torchvision_anchors(height, width):
    generator = AnchorGenerator(tuple((size,) for size in SIZES), (RATIOS,) * len(SIZES))
    features = [torch.zeros(1, 1, *shape) for shape in feature_shapes(height, width)]
    images = ImageList(torch.zeros(1, 3, height, width), [(height, width)])
    (anchors,) = generator(images, features)
    counts = [3 * h * w for h, w in feature_shapes(height, width)]
    cells = [cell.numpy() for cell in generator.cell_anchors]
    return cells, [part.numpy() for part in anchors.split(counts)]


def torchvision_many_sizes():
    """Cells and anchors of three maps with five sizes and three ratios in each cell: ratios outside, sizes inside."""
    levels = len(MANY_SIZES_SHAPES)
    generator = AnchorGenerator((SIZES,) * levels, (RATIOS,) * levels)
    features = [torch.zeros(1, 1, *shape) for shape in MANY_SIZES_SHAPES]
    images = ImageList(torch.zeros(1, 3, *MANY_SIZES_IMAGE), [MANY_SIZES_IMAGE])
    (anchors,) = generator(images, features)
    counts = [len(SIZES) * len(RATIOS) * h * w for h, w in MANY_SIZES_SHAPES]
    return generator.cell_anchors[0].numpy(), [part.numpy() for part in anchors.split(counts)]


def detectron2_cell(size):
    """`DefaultAnchorGenerator.generate_cell_anchors`: float64 arithmetic, then float32."""
    cell = []
    for ratio in RATIOS:
        width = math.sqrt(size**2 / ratio)
        height = ratio * width
        cell.append([-width / 2, -height / 2, width / 2, height / 2])
    return np.array(cell, np.float32)


def detectron_cell(size, stride):
    """Detectron's `generate_anchors(stride, (size / stride,), RATIOS)`: right and bottom inclusive."""
    cell = []
    for ratio in RATIOS:
        width = np.round(np.sqrt(stride * stride / ratio))
        height = np.round(width * ratio)
        width, height = width * size / stride, height * size / stride
        centre = 0.5 * (stride - 1)
        cell.append(
            [
                centre - 0.5 * (width - 1),
                centre - 0.5 * (height - 1),
                centre + 0.5 * (width - 1),
                centre + 0.5 * (height - 1),
            ]
        )
    return np.array(cell, np.float32)


def shifted(cell, shape, stride):
    y, x = np.meshgrid(np.arange(shape[0]) * stride, np.arange(shape[1]) * stride, indexing="ij")
    shifts = np.stack([x, y, x, y], axis=-1).reshape(-1, 1, 4).astype(np.float32)
    return (shifts + cell[None]).reshape(-1, 4)


def digest(anchors):
    # + 0 turns a negative zero into a zero: they compare equal and must hash alike.
    return hashlib.sha256(np.ascontiguousarray(anchors.astype("<f4") + np.float32(0)).tobytes()).hexdigest()


def main():
    kept = {"levels": LEVELS, "images": IMAGES, "row_step": ROW_STEP}
    kept["made_with"] = f"torch {torch.__version__}"
    for image in IMAGES:
        cells, anchors = torchvision_anchors(*image)
        strides = [4 * 2**index for index in range(len(LEVELS))]
        nominal = [
            shifted(detectron2_cell(size), shape, stride)
            for size, shape, stride in zip(SIZES, feature_shapes(*image), strides, strict=True)
        ]
        size = f"{image[0]}x{image[1]}"
        for profile, levels in (("torchvision", anchors), ("detectron2", nominal)):
            kept[f"{profile}/{size}/count"] = [len(level) for level in levels]
            kept[f"{profile}/{size}/sha256"] = [digest(level) for level in levels]
            kept[f"{profile}/{size}/last"] = np.stack([level[-3:] for level in levels])
            kept[f"{profile}/{size}/rows"] = np.concatenate(levels)[::ROW_STEP]
    kept["torchvision/cells"] = np.stack(cells)
    kept["detectron2/cells"] = np.stack([detectron2_cell(size) for size in SIZES])
    kept["detectron/cells"] = np.stack([detectron_cell(*pair) for pair in zip(SIZES, strides, strict=True)])
    for image in IMAGES:
        kept[f"shapes/{image[0]}x{image[1]}"] = np.array(feature_shapes(*image))
    cell, anchors = torchvision_many_sizes()
    kept["many_sizes/image"], kept["many_sizes/shapes"] = MANY_SIZES_IMAGE, MANY_SIZES_SHAPES
    kept["many_sizes/cell"] = cell
    kept["many_sizes/sha256"] = [digest(level) for level in anchors]
    kept["many_sizes/last"] = np.stack([level[-15:] for level in anchors])
    np.savez_compressed(pathlib.Path(__file__).with_name("anchors.npz"), **kept)


if __name__ == "__main__":
    main()
