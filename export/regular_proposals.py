"""Proposals for a detector that makes none, where nobody has any: boxes of all sizes, and those that are hard to crop.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from keras_fpn.export.description import Description

SMALLEST = 8.0  # side in pixels; each next size is twice that, up to the whole image
PLACES = 4  # of one size and shape along either axis, evenly spread
RATIOS = (0.5, 1.0, 2.0)  # height / width


def needed_by(description: Description, sizes: np.ndarray) -> dict[str, np.ndarray]:
    """`for_images` as an artefact of this `Description` takes them; {} if it takes none."""
    if not description.needs_proposals:
        return {}
    return for_images(sizes, description.inputs["proposals"]["shape"][1])


def for_images(sizes: Iterable[Sequence[int]], max_proposals: int | None = None) -> dict[str, np.ndarray]:
    """Boxes for each image, regular ones after the hard ones.

    Args:
        sizes: `[B, 2]` height and width of the images, pixels.
        max_proposals: P, rows of a static input; images with more boxes than that keep some of all sizes. None: as many
            rows as the image with the most boxes needs.

    Returns:
        `{"proposals": [B, P, 4] float32 pixels, padded with 0, "num_proposals": [B] int32}`.
    """
    boxes = [_of_image(float(height), float(width), max_proposals) for height, width in sizes]
    rows = max_proposals or max(map(len, boxes))
    padded = [np.pad(one, [(0, rows - len(one)), (0, 0)]) for one in boxes]
    return {"proposals": np.stack(padded), "num_proposals": np.array([len(one) for one in boxes], np.int32)}


def _of_image(height, width, max_proposals):
    boxes = np.concatenate([_hard(height, width), *_regular(height, width)])
    boxes = np.clip(boxes, 0, [width, height, width, height]).astype(np.float32)
    _, first = np.unique(boxes, axis=0, return_index=True)  # of two equal boxes a runtime may keep either
    boxes = boxes[np.sort(first)]
    if max_proposals is None or len(boxes) <= max_proposals:
        return boxes
    return boxes[np.arange(max_proposals) * len(boxes) // max_proposals]


def _regular(height, width):
    side = SMALLEST
    while side < 2 * max(height, width):
        for ratio in RATIOS:
            box = np.minimum([side / np.sqrt(ratio), side * np.sqrt(ratio)], [width, height])
            x, y = (np.linspace(0, edge - own, PLACES) for edge, own in zip((width, height), box, strict=True))
            corner = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
            yield np.concatenate([corner, corner + box], axis=1)
        side *= 2


def _hard(height, width):
    """The whole image, an edge and a corner of it, no extent, a hundredth of a pixel, boxes thinner than a cell."""
    return np.array(
        [
            [0, 0, width, height],
            [0, 0, width / 2, height],
            [width / 2, height / 2, width, height],
            [0, 0, 0, 0],
            [width, height, width, height],
            [width - 0.01, height - 0.01, width, height],
            [0, height / 3, width, height / 3 + 0.5],
            [width / 3, 0, width / 3 + 0.2, height],
        ]
    )
