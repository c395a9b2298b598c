"""Box arithmetic of torchvision: IoU, clipping, encoding, decoding and non-maximum suppression: boxes.npz.

Made with torch 2.14.1, torchvision 0.29.1 on a CPU; numpy seed 20.
Run: python tests/golden/make_boxes.py
"""

import pathlib

import numpy as np
import torch
from torchvision.models.detection._utils import BoxCoder
from torchvision.ops import batched_nms, box_iou, clip_boxes_to_image, nms

WEIGHTS = {"rpn": (1.0, 1.0, 1.0, 1.0), "roi": (10.0, 10.0, 5.0, 5.0)}


def random_boxes(rng, count, extent=400.0, largest=160.0):
    centre = rng.uniform(-20, extent, (count, 2))
    size = np.exp(rng.uniform(np.log(2.0), np.log(largest), (count, 2)))
    return np.concatenate([centre - size / 2, centre + size / 2], 1).astype(np.float32)


def coding(rng, kept):
    references, truth = random_boxes(rng, 60), random_boxes(rng, 60)
    deltas = rng.normal(0, 0.6, (60, 4)).astype(np.float32)
    deltas[:6, 2:] = [
        [50, 20],
        [4.2, 0],
        [4.1, 0],
        [0, 9],
        [-60, -60],
        [100, -3],
    ]  # around and past ln(1000/16)
    kept.update({"coding/references": references, "coding/truth": truth, "coding/deltas": deltas})
    for name, weights in WEIGHTS.items():
        coder = BoxCoder(weights)
        kept[f"coding/{name}/encoded"] = coder.encode_single(
            torch.tensor(truth), torch.tensor(references)
        ).numpy()
        scaled = torch.tensor(deltas) * torch.tensor(weights)
        kept[f"coding/{name}/deltas"] = scaled.numpy()
        kept[f"coding/{name}/decoded"] = coder.decode_single(scaled, torch.tensor(references)).numpy()


def suppression(rng, kept):
    boxes = random_boxes(rng, 300, extent=150.0, largest=90.0)
    boxes[150:] = boxes[:150] + rng.normal(0, 2, (150, 4))  # near copies, for the high thresholds
    boxes = np.concatenate([boxes[:, :2], np.maximum(boxes[:, 2:], boxes[:, :2] + 1)], 1)
    scores = rng.permutation(np.linspace(0.01, 0.99, 300)).astype(
        np.float32
    )  # no ties: their order is not promised
    groups = np.where(rng.random(300) < 0.7, 0, rng.integers(0, 4, 300)).astype(np.int32)
    kept.update({"nms/boxes": boxes, "nms/scores": scores, "nms/groups": groups})
    boxes, scores = torch.tensor(boxes), torch.tensor(scores)
    for threshold in (0.3, 0.5, 0.7):
        kept[f"nms/one_group/{threshold}"] = nms(boxes, scores, threshold).numpy()
        kept[f"nms/groups/{threshold}"] = batched_nms(boxes, scores, torch.tensor(groups), threshold).numpy()


def main():
    rng = np.random.default_rng(20)
    kept = {"made_with": f"torch {torch.__version__}"}
    first, second = random_boxes(rng, 25), random_boxes(rng, 17)
    second[:5] = first[:5]
    kept.update({"iou/first": first, "iou/second": second})
    kept["iou/iou"] = box_iou(torch.tensor(first), torch.tensor(second)).numpy()
    kept["clip/clipped"] = clip_boxes_to_image(torch.tensor(first), (211, 333)).numpy()
    coding(rng, kept)
    suppression(rng, kept)
    np.savez_compressed(pathlib.Path(__file__).with_name("boxes.npz"), **kept)


if __name__ == "__main__":
    main()
