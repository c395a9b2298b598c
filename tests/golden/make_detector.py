"""Proposals and detections of a whole torchvision detector, ResNet-18 with a pyramid: detector.npz.

The stages are called one after another, without torchvision's resizing. Weights are drawn by name; those of
the predictors are made smaller (`SCALES`), so that no softmax saturates and equal scores do not occur.
Made with torch 2.14.1, torchvision 0.29.1 on a CPU; all draws by `named_draws`.
Run: python tests/golden/make_detector.py
"""

import pathlib

import named_draws
import numpy as np
import torch
from torchvision.models import resnet18
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FasterRCNN, FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool
from torchvision.ops.misc import FrozenBatchNorm2d

CANVAS, SIZES = (128, 160), ((128, 160), (100, 130))
CHANNELS, UNITS, CLASSES = 32, 64, 4
SCALES = {
    "rpn.head.cls_logits.weight": 0.02,
    "rpn.head.bbox_pred.weight": 0.002,
    "rpn.head.bbox_pred.bias": 0.1,
    "roi_heads.box_predictor.cls_score.weight": 0.012,
    "roi_heads.box_predictor.bbox_pred.weight": 0.01,
}


def detector():
    body = BackboneWithFPN(
        resnet18(weights=None, norm_layer=FrozenBatchNorm2d),
        {f"layer{index + 1}": str(index) for index in range(4)},
        [64, 128, 256, 512],
        CHANNELS,
        LastLevelMaxPool(),
    )
    return FasterRCNN(
        body,
        rpn_anchor_generator=AnchorGenerator(((8,), (16,), (32,), (64,), (128,)), ((0.5, 1.0, 2.0),) * 5),
        rpn_pre_nms_top_n_test=100,
        rpn_post_nms_top_n_test=120,
        box_roi_pool=MultiScaleRoIAlign(["0", "1", "2", "3"], 7, 2, canonical_scale=56),
        box_head=TwoMLPHead(CHANNELS * 49, UNITS),
        box_predictor=FastRCNNPredictor(UNITS, CLASSES + 1),
        box_detections_per_img=300,
    )


def drawn_pixels():
    """RGB 0..255 on the canvas, NCHW, zero beyond each image's own size."""
    pixels = np.clip(named_draws.normal("detector/images", (2, 3, *CANVAS), 60.0) + 120, 0, 255).round()
    for image, (height, width) in zip(pixels, SIZES, strict=True):
        image[:, height:], image[:, :, width:] = 0, 0
    return pixels.astype(np.float32)


def normalised(pixels, transform):
    mean, std = (torch.tensor(value)[:, None, None] for value in (transform.image_mean, transform.image_std))
    images = (torch.from_numpy(pixels) / 255 - mean) / std
    for image, (height, width) in zip(images, SIZES, strict=True):
        image[:, height:], image[:, :, width:] = 0, 0
    return images


def main():
    torch.set_grad_enabled(False)
    model = named_draws.fill(detector(), "")
    for name, scale in SCALES.items():
        model.get_parameter(name).mul_(scale)
    pixels = drawn_pixels()
    images = normalised(pixels, model.transform)
    features = model.backbone(images)
    proposals, _ = model.rpn(ImageList(images, [*SIZES]), features)
    detections, _ = model.roi_heads(features, proposals, [*SIZES])
    kept = {"made_with": f"torch {torch.__version__}", "sizes": SIZES, "pixels": pixels[:, :, ::9, ::9]}
    kept.update({"scaled": list(SCALES), "scales": list(SCALES.values())})
    for image in range(2):
        kept[f"{image}/proposals"] = proposals[image].numpy()
        for name, value in detections[image].items():
            kept[f"{image}/{name}"] = value.numpy()
        print(
            len(proposals[image]),
            "proposals; detections of each class:",
            detections[image]["labels"].bincount(),
        )
    np.savez_compressed(pathlib.Path(__file__).with_name("detector.npz"), **kept)


if __name__ == "__main__":
    main()
