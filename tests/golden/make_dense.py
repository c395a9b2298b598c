"""torchvision's RetinaNet, part by part and as a whole: dense.npz.

    head/...         the two towers, without a norm ("plain") and with group norms ("norm"), on two drawn levels
    losses/...       of drawn logits and deltas: L1 ("l1") and GIoU ("giou"), and their gradients
    detections/...   `postprocess_detections` of drawn logits and deltas
    whole/...        a ResNet-18 with P3..P7: what the head gives of an image, and the detections of it

Weights and inputs are drawn by name. Made with torch 2.14.1, torchvision 0.29.1 on a CPU.
Run: python tests/golden/make_dense.py
"""

import functools
import pathlib

import named_draws
import numpy as np
import torch
from torchvision.models import resnet18
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.retinanet import RetinaNet, RetinaNetHead
from torchvision.ops.feature_pyramid_network import LastLevelP6P7
from torchvision.ops.misc import FrozenBatchNorm2d

CHANNELS, CLASSES, ANCHORS = 64, 5, 9
LEVELS = ((5, 7), (3, 4))  # of the drawn maps
CANVAS, SIZES = (128, 160), ((128, 160), (100, 130))
GRIDS = ((16, 20), (8, 10), (4, 5), (2, 3), (1, 2))  # P3..P7 of the canvas
ANCHOR_SIZES = tuple((x, int(x * 2 ** (1 / 3)), int(x * 2 ** (2 / 3))) for x in (8, 16, 32, 64, 128))
OBJECTS = (
    ([[10.0, 12, 40, 50], [60, 20, 150, 110], [30.3, 60.2, 38.9, 71.5]], [3, 0, 4]),
    ([[100.0, 10, 129, 95]], [1]),
)
# Drawn at He's scale the logits of a whole network would saturate.
SCALES = {"head.classification_head.cls_logits.weight": 0.015, "head.regression_head.bbox_reg.weight": 0.003}


def heads(kept):
    norms = {"plain": None, "norm": functools.partial(torch.nn.GroupNorm, 32)}
    maps = [torch.from_numpy(named_draws.normal(f"dense/{i}", (2, CHANNELS, *LEVELS[i]))) for i in range(2)]
    for name, norm in norms.items():
        head = named_draws.fill(RetinaNetHead(CHANNELS, ANCHORS, CLASSES, norm_layer=norm), f"{name}.")
        found = head(maps)
        kept[f"head/{name}/class_logits"] = found["cls_logits"].numpy()
        kept[f"head/{name}/box_deltas"] = found["bbox_regression"].numpy()


def model_of_parts(**options):
    anchors = AnchorGenerator(ANCHOR_SIZES, ((0.5, 1.0, 2.0),) * 5)
    body = BackboneWithFPN(
        resnet18(weights=None, norm_layer=FrozenBatchNorm2d),
        {f"layer{index + 1}": str(index - 1) for index in range(1, 4)},
        [128, 256, 512],
        CHANNELS,
        LastLevelP6P7(CHANNELS, CHANNELS),
    )
    return RetinaNet(body, num_classes=CLASSES, anchor_generator=anchors, **options)


def drawn_outputs(grids):
    number = sum(h * w for h, w in grids) * ANCHORS
    logits = named_draws.normal("dense/logits", (2, number, CLASSES), 1.5) - 4
    return torch.from_numpy(logits), torch.from_numpy(named_draws.normal("dense/deltas", (2, number, 4), 0.4))


def losses(kept):
    model = model_of_parts()
    images = ImageList(torch.zeros(2, 3, *CANVAS), [*SIZES])
    anchors = model.anchor_generator(images, [torch.zeros(2, 1, *grid) for grid in GRIDS])
    kept["anchors"] = anchors[0].numpy()
    full = [{"boxes": torch.tensor(boxes), "labels": torch.tensor(labels)} for boxes, labels in OBJECTS]
    empty = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    for kind in ("l1", "giou"):
        model.head.regression_head._loss_type = kind
        for name, targets in (("full", full), ("empty", [full[0], empty])):
            outputs = dict(zip(("cls_logits", "bbox_regression"), drawn_outputs(GRIDS), strict=True))
            for value in outputs.values():
                value.requires_grad_(True)
            found = model.compute_loss(targets, outputs, anchors)
            kept[f"losses/{kind}/{name}"] = np.array([value.item() for value in found.values()], np.float32)
            sum(found.values()).backward()
            if name == "full":
                kept[f"losses/{kind}/logit_gradients"] = outputs["cls_logits"].grad.numpy()[:, ::3]
                gradients = outputs["bbox_regression"].grad.numpy()
                kept[f"losses/{kind}/positives"] = np.argwhere(np.abs(gradients).sum(-1) > 0)
                kept[f"losses/{kind}/delta_gradients"] = gradients[np.abs(gradients).sum(-1) > 0]


def detections(kept):
    model = model_of_parts(detections_per_img=150, topk_candidates=200)
    images = ImageList(torch.zeros(2, 3, *CANVAS), [*SIZES])
    anchors = model.anchor_generator(images, [torch.zeros(2, 1, *grid) for grid in GRIDS])
    counts = [h * w * ANCHORS for h, w in GRIDS]
    logits, deltas = drawn_outputs(GRIDS)
    outputs = {"cls_logits": list(logits.split(counts, dim=1)), "bbox_regression": list(deltas.split(counts, dim=1))}
    found = model.postprocess_detections(outputs, [list(one.split(counts)) for one in anchors], [*SIZES])
    keep(kept, "detections", found)


def keep(kept, name, found):
    for index, one in enumerate(found):
        kept |= {f"{name}/{index}/{key}": value.numpy() for key, value in one.items()}
        sides = (one["boxes"][:, 2:] - one["boxes"][:, :2]).min(1).values
        print(name, index, len(sides), "detections,", int((sides <= 0).sum()), "empty", one["scores"][:3])


def drawn_pixels():
    """RGB 0..255 on the canvas, NCHW, zero beyond each image's own size."""
    pixels = np.clip(named_draws.normal("dense/images", (2, 3, *CANVAS), 60.0) + 120, 0, 255).round()
    for image, (height, width) in zip(pixels, SIZES, strict=True):
        image[:, height:], image[:, :, width:] = 0, 0
    return pixels.astype(np.float32)


def whole(kept):
    model = named_draws.fill(model_of_parts(detections_per_img=100), "dense.")
    for name, scale in SCALES.items():
        model.get_parameter(name).mul_(scale)
    statistics = model.transform.image_mean, model.transform.image_std
    mean, std = (torch.tensor(value)[:, None, None] for value in statistics)
    images = (torch.from_numpy(drawn_pixels()) / 255 - mean) / std
    for image, (height, width) in zip(images, SIZES, strict=True):
        image[:, height:], image[:, :, width:] = 0, 0
    features = list(model.backbone(images).values())
    found = model.head(features)
    kept["whole/class_logits"] = found["cls_logits"].numpy()[:, ::11]
    kept["whole/box_deltas"] = found["bbox_regression"].numpy()[:, ::11]
    print("logits", found["cls_logits"].mean(), found["cls_logits"].std(), found["bbox_regression"].std())
    anchors = model.anchor_generator(ImageList(images, [*SIZES]), features)
    counts = [h * w * ANCHORS for h, w in GRIDS]
    split = {key: list(value.split(counts, dim=1)) for key, value in found.items()}
    keep(kept, "whole", model.postprocess_detections(split, [list(one.split(counts)) for one in anchors], [*SIZES]))


def main():
    kept = {"made_with": f"torch {torch.__version__}", "scaled": list(SCALES), "scales": list(SCALES.values())}
    losses(kept)
    with torch.no_grad():
        heads(kept)
        detections(kept)
        whole(kept)
    np.savez_compressed(pathlib.Path(__file__).with_name("dense.npz"), **kept)


if __name__ == "__main__":
    main()
