"""torchvision's mask head (`MaskRCNNHeads`, `MaskRCNNPredictor`) and its loss (`maskrcnn_loss`): mask_head.npz.

Logits without norms ("plain") and with them, of given statistics ("inference") and live ones ("training", where the
norms also move their statistics); the loss of logits given, with its gradient and the soft targets that torchvision
cuts for it. Made with torch 2.14.1, torchvision 0.29.1 on a CPU; all draws by `named_draws`, seeded by name.
Run: python tests/golden/make_mask_head.py
"""

import pathlib

import named_draws
import numpy as np
import torch
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import maskrcnn_loss, project_masks_on_boxes

CROPS, CHANNELS, SIDE = 4, 5, 4
CONV_CHANNELS = 8
ROWS = 1 + 3 + 2  # the background, three classes, and two rows of no class
MASK_SIDE = 28
# Two images of 40 x 40: the object that each positive is of, its box, its class.
OBJECTS = (
    ([0, 1, 0], [[3.3, 2.1, 22.7, 30.4], [10, 5, 35.5, 38], [0, 0, 18, 25]], [1, 3, 1]),
    ([0], [[7, 8, 33, 29]], [2]),
)


def heads(kept):
    crops = torch.from_numpy(named_draws.normal("mask_head/crops", (CROPS, CHANNELS, SIDE, SIDE)))
    predictor = named_draws.fill(MaskRCNNPredictor(CONV_CHANNELS, CONV_CHANNELS, ROWS), "mask_predictor.")
    for name, norm in (("plain", None), ("normed", torch.nn.BatchNorm2d)):
        head = named_draws.fill(MaskRCNNHeads(CHANNELS, [CONV_CHANNELS] * 4, 1, norm_layer=norm), f"{name}_mask_head.")
        for mode in ("inference", "training"):
            head.train(mode == "training")
            with torch.no_grad():
                kept[f"{name}/{mode}/logits_background_first"] = predictor(head(crops)).numpy()
    kept["normed/training/running_mean"] = np.stack([head[i][1].running_mean.numpy() for i in range(4)])


def losses(kept):
    masks = []
    for image, (objects, _, _) in enumerate(OBJECTS):
        draw = named_draws.normal(f"mask_loss/masks/{image}", (max(objects) + 1, 40, 40))
        masks.append(torch.from_numpy((draw > 0).astype(np.uint8)))
    objects, boxes, classes = ([torch.tensor(image[i]) for image in OBJECTS] for i in range(3))
    labels = [own[[own_objects.index(i) for i in range(max(own_objects) + 1)]]
              for own, (own_objects, _, _) in zip(classes, OBJECTS, strict=True)]  # fmt: skip
    number = sum(len(own) for own in boxes)
    logits = torch.from_numpy(named_draws.normal("mask_loss/logits", (number, 4, MASK_SIDE, MASK_SIDE), 2.0))
    logits.requires_grad_()
    boxes = [box.float() for box in boxes]
    loss = maskrcnn_loss(logits, boxes, masks, labels, objects)
    loss.backward()
    targets = [project_masks_on_boxes(*each, MASK_SIDE) for each in zip(masks, boxes, objects, strict=True)]
    kept |= {
        "loss/targets": torch.cat(targets).numpy(),
        "loss/classes": torch.cat(classes).numpy() - 1,
        "loss/mask_loss": loss.item(),
        "loss/gradient_background_first": logits.grad.numpy(),
    }
    return kept


def main():
    kept = {"made_with": f"torch {torch.__version__}"}
    heads(kept)
    np.savez_compressed(pathlib.Path(__file__).with_name("mask_head.npz"), **losses(kept))


if __name__ == "__main__":
    main()
