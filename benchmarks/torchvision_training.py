"""Train a detector of torchvision's on the embedded data set by the recipe of a configuration, and measure it.

In an environment of its own (torch==2.14.1, torchvision==0.29.1, pycocotools), beside

    keras-fpn data shapes DATA --images 1000
    keras-fpn train CONFIG --data DATA --out RUN --set training.seed=K

    python benchmarks/torchvision_training.py DATA [--config shapes_masks] [--seed 0] [--steps 800]

The network, the sampling and the rates are those of the configuration, built of torchvision's own classes. Two of its
conventions are not torchvision's, since they help small objects: RoIAlign shifts by half a pixel and anchors are not
rounded; both are taken over here, so that what differs is the code alone. Prints the losses by epoch, the time of a
step and COCO's AP, boxes and masks, on the held-out images.
"""

import argparse
import contextlib
import functools
import io
import json
import pathlib
import statistics
import time

import numpy as np
import torch
import torchvision
from PIL import Image
from pycocotools import mask as run_lengths
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import nn
from torchvision.models import detection
from torchvision.models.detection import faster_rcnn, mask_rcnn
from torchvision.models.detection import retinanet as retinanet_module
from torchvision.models.resnet import BasicBlock
from torchvision.ops import feature_pyramid_network, poolers

WIDTH, CHANNELS, SIDE, BATCH = 16, 64, 256, 8
SIZES = ((12,), (24,), (48,), (96,), (160,))
DENSE_SIZES = ((24, 30, 38), (48, 60, 76), (96, 121, 152), (192, 242, 305), (384, 484, 610))
RATIOS = ((0.5, 1.0, 2.0),) * 5
WARM_UP, WARM_UP_FACTOR, CLIP = 50, 0.01, 10.0
EPOCH = 100
TARGETS = ("boxes", "labels", "masks")


class Backbone(nn.Module):
    """torchvision's ResNet-18 with a quarter of the channels; its own class has 64 written in."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTH, 7, 2, 3, bias=False)
        self.bn1, self.relu, self.maxpool = nn.BatchNorm2d(WIDTH), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        inputs = WIDTH
        for index in range(4):
            outputs, stride = WIDTH * 2**index, 2 if index else 1
            shortcut = None
            if stride != 1 or inputs != outputs:
                shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
            blocks = BasicBlock(inputs, outputs, stride, shortcut), BasicBlock(outputs, outputs)
            setattr(self, f"layer{index + 1}", nn.Sequential(*blocks))
            inputs = outputs
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


class Anchors(detection.anchor_utils.AnchorGenerator):
    """Without rounding."""

    def generate_anchors(self, scales, aspect_ratios, dtype=torch.float32, device=None):
        ratios = torch.tensor(aspect_ratios, dtype=dtype, device=device)
        heights = (ratios.sqrt()[:, None] * torch.tensor(scales, dtype=dtype, device=device)).reshape(-1)
        widths = (1 / ratios.sqrt()[:, None] * torch.tensor(scales, dtype=dtype, device=device)).reshape(-1)
        return torch.stack([-widths, -heights, widths, heights], 1) / 2


def pyramid(first, top):
    """The backbone of all, with a pyramid on its stages from the index `first` on."""
    layers = {f"layer{index + 1}": str(index - first) for index in range(first, 4)}
    widths = [WIDTH * 2**index for index in range(first, 4)]
    return detection.backbone_utils.BackboneWithFPN(Backbone(), layers, widths, CHANNELS, top)


def with_proposals(masks):
    """The Faster R-CNN of `shapes`, or with masks that of `shapes_masks`."""
    poolers.roi_align = functools.partial(torchvision.ops.roi_align, aligned=True)
    pool = functools.partial(poolers.MultiScaleRoIAlign, ["0", "1", "2", "3"], sampling_ratio=2)
    heads = {
        "box_roi_pool": pool(output_size=7),
        "box_head": faster_rcnn.TwoMLPHead(CHANNELS * 49, 256),
        "box_predictor": faster_rcnn.FastRCNNPredictor(256, 5),
    }
    if masks:
        heads |= {
            "mask_roi_pool": pool(output_size=14),
            "mask_head": mask_rcnn.MaskRCNNHeads(CHANNELS, (64, 64), 1),
            "mask_predictor": mask_rcnn.MaskRCNNPredictor(64, 64, 5),
        }
    make = detection.MaskRCNN if masks else detection.FasterRCNN
    return make(
        pyramid(0, feature_pyramid_network.LastLevelMaxPool()),
        min_size=SIDE,
        max_size=SIDE,
        rpn_anchor_generator=Anchors(SIZES, RATIOS),
        rpn_pre_nms_top_n_train=300,
        rpn_pre_nms_top_n_test=500,
        rpn_post_nms_top_n_train=200,
        rpn_post_nms_top_n_test=300,
        rpn_batch_size_per_image=64,
        box_batch_size_per_image=64,
        **heads,
    )


def retinanet():
    """That of `retinanet_shapes`; it has no row for a background."""
    norm = functools.partial(nn.GroupNorm, 32)
    return detection.RetinaNet(
        pyramid(1, feature_pyramid_network.LastLevelP6P7(CHANNELS, CHANNELS)),
        4,
        min_size=SIDE,
        max_size=SIDE,
        anchor_generator=Anchors(DENSE_SIZES, RATIOS),
        head=retinanet_module.RetinaNetHead(CHANNELS, 9, 4, norm_layer=norm),
        detections_per_img=100,
    )


SGD = functools.partial(torch.optim.SGD, lr=0.02, momentum=0.9, weight_decay=1e-4)
ADAMW = functools.partial(torch.optim.AdamW, lr=0.002, weight_decay=0.01)
# {configuration: (network, optimizer, label of the first class)}
RECIPES = {
    "shapes": (functools.partial(with_proposals, masks=False), SGD, 1),
    "shapes_masks": (functools.partial(with_proposals, masks=True), SGD, 1),
    "retinanet_shapes": (retinanet, ADAMW, 0),
}


def read(folder, half, first):
    """`(COCO, [(image, picture, target)])` of a half, all in memory; labels begin with `first`."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(folder / "annotations" / f"instances_{half}.json"))
    rows = []
    for image in coco.loadImgs(sorted(coco.getImgIds())):
        pixels = np.asarray(Image.open(folder / half / image["file_name"]).convert("RGB"))
        objects = [found for found in coco.imgToAnns[image["id"]] if not found.get("iscrowd")]
        boxes = np.array([found["bbox"] for found in objects], np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        masks = np.array([coco.annToMask(found) for found in objects], np.uint8).reshape(-1, *pixels.shape[:2])
        labels = np.array([found["category_id"] for found in objects], np.int64) - 1 + first
        target = {name: torch.from_numpy(array) for name, array in zip(TARGETS, (boxes, labels, masks), strict=True)}
        rows.append((image, torch.from_numpy(pixels.transpose(2, 0, 1).copy()), target))
    return coco, rows


def batches(rows, generator):
    """Endless batches, every image once an epoch, half of them flipped."""
    while True:
        order = torch.randperm(len(rows), generator=generator).tolist()
        for start in range(0, len(order) - BATCH + 1, BATCH):
            yield zip(*(flipped(*rows[row][1:], generator) for row in order[start : start + BATCH]), strict=True)


def flipped(picture, target, generator):
    picture = picture.float() / 255
    if torch.rand((), generator=generator) < 0.5:
        boxes = target["boxes"].clone()
        boxes[:, [0, 2]] = SIDE - boxes[:, [2, 0]]
        picture, target = picture.flip(-1), target | {"boxes": boxes, "masks": target["masks"].flip(-1)}
    return picture, target


def rate_at(step, steps):
    passed = sum(step >= round(steps * share) for share in (0.8, 0.9))
    progress = min(step / WARM_UP, 1.0)
    return 0.1**passed * (WARM_UP_FACTOR * (1 - progress) + progress)


def train(model, rows, make_optimizer, steps, seed):
    """Train; returns the seconds of each step, without reading its batch."""
    optimizer = make_optimizer(model.parameters())
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, functools.partial(rate_at, steps=steps))
    seconds, sums = [], {}
    model.train()
    for step, (pictures, targets) in enumerate(batches(rows, torch.Generator().manual_seed(seed)), 1):
        start = time.perf_counter()
        losses = model(list(pictures), list(targets))
        optimizer.zero_grad()
        sum(losses.values()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        schedule.step()
        seconds.append(time.perf_counter() - start)
        for name, value in losses.items():
            sums[name] = sums.get(name, 0.0) + value.item()
        if step % EPOCH == 0 or step == steps:
            told = ", ".join(f"{name} {value / ((step - 1) % EPOCH + 1):.3f}" for name, value in sums.items())
            print(f"step {step}/{steps}: {told}", flush=True)
            sums = {}
        if step == steps:
            return seconds


@torch.inference_mode()
def measure(model, coco, rows, first):
    """`{kind: AP}` of the held-out images."""
    model.eval()
    results = []
    for image, picture, _ in rows:
        (found,) = model([picture.float() / 255])
        corners = found["boxes"].numpy()
        sides = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1)
        for row, box in enumerate(sides):
            category = int(found["labels"][row]) + 1 - first
            result = {"image_id": image["id"], "category_id": category, "bbox": box.tolist()}
            if "masks" in found:
                mask = np.asfortranarray(found["masks"][row, 0].numpy() > 0.5)
                result["segmentation"] = run_lengths.encode(mask)
            results.append(result | {"score": float(found["scores"][row])})
    kinds = ("bbox", "segm") if "segmentation" in results[0] else ("bbox",)
    return {kind: _precision(coco, results, kind) for kind in kinds}


def _precision(coco, results, kind):
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(coco, coco.loadRes(results), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return dict(zip(("AP", "AP50", "AP75", "AP small"), evaluation.stats[:4].round(4).tolist(), strict=True))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=pathlib.Path, help="folder that `keras-fpn data shapes` wrote")
    parser.add_argument("--config", choices=list(RECIPES), default="shapes_masks", help="whose recipe it is")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--no-measure", action="store_true", help="time steps only")
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    network, make_optimizer, first = RECIPES[arguments.config]
    model = network()
    _, rows = read(arguments.data, "train", first)
    number = sum(parameter.numel() for parameter in model.parameters())
    print(f"torchvision {torchvision.__version__}, {number:,} parameters", flush=True)
    start = time.perf_counter()
    seconds = train(model, rows, make_optimizer, arguments.steps, arguments.seed)
    print(f"{arguments.steps} steps in {(time.perf_counter() - start) / 60:.1f} minutes")
    print(f"  whole {1000 * statistics.median(seconds[len(seconds) // 4 :]):9.1f} ms   a step, without reading")
    if not arguments.no_measure:
        print(json.dumps(measure(model, *read(arguments.data, "val", first), first)))


if __name__ == "__main__":
    main()
