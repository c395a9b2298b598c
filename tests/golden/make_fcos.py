"""torchvision's FCOS, part by part: fcos.npz.

    head/...         both towers with group norms, on two drawn levels
    losses/...       of drawn logits, distances and centre-ness, and their gradients
    detections/...   `postprocess_detections` of the same

Weights and inputs are drawn by name, objects are those of make_dense.py. Made with torch 2.14.1, torchvision 0.29.1 on
a CPU. Run: python tests/golden/make_fcos.py
"""

import pathlib

import named_draws
import numpy as np
import torch
from make_dense import CANVAS, CHANNELS, CLASSES, GRIDS, LEVELS, OBJECTS, SIZES, keep
from torchvision.models import resnet18
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.fcos import FCOS, FCOSHead
from torchvision.models.detection.image_list import ImageList
from torchvision.ops.feature_pyramid_network import LastLevelP6P7


def model_of_parts(**options):
    body = BackboneWithFPN(
        resnet18(weights=None),
        {f"layer{index + 1}": str(index - 1) for index in range(1, 4)},
        [128, 256, 512],
        CHANNELS,
        LastLevelP6P7(CHANNELS, CHANNELS),
    )
    return FCOS(body, num_classes=CLASSES, **options)


def drawn_outputs():
    number = sum(h * w for h, w in GRIDS)
    logits = named_draws.normal("fcos/logits", (2, number, CLASSES), 1.5) - 2
    distances = np.maximum(named_draws.normal("fcos/distances", (2, number, 4), 1.5) + 1.5, 0)
    middle = named_draws.normal("fcos/centerness", (2, number, 1))
    names = ("cls_logits", "bbox_regression", "bbox_ctrness")
    return {name: torch.from_numpy(value) for name, value in zip(names, (logits, distances, middle), strict=True)}


def losses(kept, model, anchors):
    full = [{"boxes": torch.tensor(boxes), "labels": torch.tensor(labels)} for boxes, labels in OBJECTS]
    empty = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    counts = [h * w for h, w in GRIDS]
    for name, targets in (("full", full), ("empty", [full[0], empty])):
        outputs = drawn_outputs()
        for value in outputs.values():
            value.requires_grad_(True)
        found = model.compute_loss(targets, outputs, anchors, counts)
        kept[f"losses/{name}"] = np.array([value.item() for value in found.values()], np.float32)
        sum(found.values()).backward()
        for key, value in outputs.items():
            kept[f"losses/{name}/{key}"] = value.grad.numpy()
        print(name, kept[f"losses/{name}"], (outputs["bbox_ctrness"].grad != 0).sum().item(), "points of objects")


def main():
    kept = {"made_with": f"torch {torch.__version__}"}
    model = model_of_parts(detections_per_img=60, topk_candidates=150)
    images = ImageList(torch.zeros(2, 3, *CANVAS), [*SIZES])
    anchors = model.anchor_generator(images, [torch.zeros(2, 1, *grid) for grid in GRIDS])
    kept["cells"] = anchors[0].numpy()
    losses(kept, model, anchors)
    with torch.no_grad():
        head = named_draws.fill(FCOSHead(CHANNELS, 1, CLASSES), "fcos.")
        maps = [torch.from_numpy(named_draws.normal(f"dense/{i}", (2, CHANNELS, *LEVELS[i]))) for i in range(2)]
        kept |= {f"head/{key}": value.numpy() for key, value in head(maps).items()}
        counts = [h * w for h, w in GRIDS]
        split = {key: list(value.split(counts, dim=1)) for key, value in drawn_outputs().items()}
        found = model.postprocess_detections(split, [list(one.split(counts)) for one in anchors], [*SIZES])
        keep(kept, "detections", found)
    np.savez_compressed(pathlib.Path(__file__).with_name("fcos.npz"), **kept)


if __name__ == "__main__":
    main()
