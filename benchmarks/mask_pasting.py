"""Time of pasting 100 masks into an image of 800 x 1333 pixels, ours or torchvision's, on the same boxes.

    python benchmarks/alternate.py "python benchmarks/mask_pasting.py detectron2" \
        "PYTHON_WITH_TORCH benchmarks/mask_pasting.py torchvision's"

Ours ends with run lengths, what a result has; torchvision's with a probability of every pixel for each mask, which a
result still has to be made of. `--large` takes boxes of half the image in the place of those of the sizes that objects
of COCO have.
"""

import argparse
import statistics
import time

import numpy as np

HEIGHT, WIDTH, COUNT = 800, 1333, 100


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("which", choices=["detectron2", "torchvision", "torchvision's"], help="our rules, or the other")
    parser.add_argument("--large", action="store_true", help="boxes of half the image")
    parser.add_argument("--rounds", type=int, default=7, help="times that all are pasted; the median is told (7)")
    arguments = parser.parse_args()
    masks, boxes = drawn(arguments.large)
    work = torchvisions(masks, boxes) if arguments.which == "torchvision's" else ours(masks, boxes, arguments.which)
    work()
    print(f"whole   {statistics.median(timed(work) for _ in range(arguments.rounds)):.1f} ms")


def drawn(large):
    """Discs, and boxes inside the image: most objects of COCO are 20 to 400 pixels wide."""
    rng = np.random.default_rng(0)
    y, x = (np.mgrid[:28, :28] + 0.5) / 28 - 0.5
    disc = 1 / (1 + np.exp((np.hypot(x, y) - 0.4) * 56))
    masks = np.clip(disc + rng.normal(0, 0.05, (COUNT, 28, 28)), 0, 1).astype(np.float32)
    low, high = (500, 900) if large else (20, 400)
    sides = np.exp(rng.uniform(np.log(low), np.log(high), (COUNT, 2))).clip(0, (WIDTH, HEIGHT))
    corners = rng.uniform(0, 1, (COUNT, 2)) * ((WIDTH, HEIGHT) - sides)
    return masks, np.concatenate([corners, corners + sides], axis=1).astype(np.float32)


def ours(masks, boxes, rule):
    from keras_fpn.ops.mask_pasting import paste_all

    return lambda: paste_all(masks, boxes, HEIGHT, WIDTH, rule)


def torchvisions(masks, boxes):
    import torch
    from torchvision.models.detection.roi_heads import paste_masks_in_image

    masks, boxes = torch.tensor(masks)[:, None], torch.tensor(boxes)
    return lambda: paste_masks_in_image(masks, boxes, (HEIGHT, WIDTH))


def timed(work):
    """Milliseconds."""
    start = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - start)


if __name__ == "__main__":
    main()
