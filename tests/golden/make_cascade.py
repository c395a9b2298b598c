"""detectron2's `CascadeROIHeads` on drawn features: what each head says, detections, losses, gradients: cascade.npz.

Made with detectron2 0.6 from source (02b5c4e2), torch 2.14.1 on a CPU; weights and features by `named_draws`,
proposals by numpy seed 31. Every candidate is a sample (as many as there are, all positives), so that no draw decides.
Run, where detectron2 is installed: python tests/golden/make_cascade.py
"""

import pathlib

import named_draws
import numpy as np
import torch
from detectron2.config import get_cfg
from detectron2.layers import ShapeSpec
from detectron2.modeling.roi_heads import CascadeROIHeads
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage

CLASSES, UNITS, CHANNELS = 3, 24, 4
SIZES = ((250, 310), (256, 200))
PADDED = (256, 320)
COUNTS = (40, 25)
STRIDES = {"p2": 4, "p3": 8, "p4": 16, "p5": 32}
OBJECTS = (
    ([[20, 30, 150, 180], [180, 40, 290, 240], [60, 120, 100, 150], [5, 200, 45, 245]], [0, 2, 1, 1]),
    ([[10, 10, 190, 250], [100, 60, 140, 110]], [2, 0]),
)


def proposals_of(rng, count, size, objects):
    """Objects, shaken more or less, and boxes anywhere; the last is beyond the image, so that clipping empties it."""
    height, width = size
    objects = np.array(objects, np.float64)
    near = objects[rng.integers(0, len(objects), count)]
    sides = np.tile(near[:, 2:] - near[:, :2], 2)
    near = near + rng.normal(0, 1, (count, 4)) * sides * rng.uniform(0, 0.2, (count, 1))
    anywhere = rng.uniform(0, 0.6, (count, 2)) * [width, height]
    anywhere = np.concatenate([anywhere, anywhere + rng.uniform(8, 120, (count, 2))], 1)
    boxes = np.where(rng.uniform(size=(count, 1)) < 0.7, near, anywhere)
    boxes = np.concatenate([np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])], 1)
    boxes = np.clip(boxes, 0, [width, height, width, height])
    boxes[-1] = [width + 20, 90, width + 60, 150]
    return boxes.astype(np.float32)


def build():
    """The heads with weights of their own."""
    config = get_cfg()
    config.MODEL.ROI_HEADS.NAME = "CascadeROIHeads"
    config.MODEL.ROI_HEADS.IN_FEATURES = list(STRIDES)
    config.MODEL.ROI_HEADS.NUM_CLASSES = CLASSES
    config.MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE = 64
    config.MODEL.ROI_HEADS.POSITIVE_FRACTION = 1.0
    config.MODEL.ROI_BOX_HEAD.NAME = "FastRCNNConvFCHead"
    config.MODEL.ROI_BOX_HEAD.NUM_FC, config.MODEL.ROI_BOX_HEAD.FC_DIM = 2, UNITS
    config.MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION = 7
    config.MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG = True
    heads = CascadeROIHeads(config, {name: ShapeSpec(CHANNELS, stride=stride) for name, stride in STRIDES.items()})
    return named_draws.fill(heads, "cascade/")


def features_of():
    height, width = PADDED
    return {
        name: torch.tensor(
            named_draws.normal(f"cascade/{name}", (2, CHANNELS, height // stride, width // stride)), requires_grad=True
        )
        for name, stride in STRIDES.items()
    }


def instances(size, **fields):
    made = Instances(size)
    for name, value in fields.items():
        made.set(name, value)
    return made


def spied(heads, kept, prefix):
    """Record what every stage reads and says."""
    run = heads._run_stage

    def recorded(features, proposals, stage):
        logits, deltas = run(features, proposals, stage)
        kept[f"{prefix}/{stage}/boxes"] = np.concatenate([each.proposal_boxes.tensor.numpy() for each in proposals])
        kept[f"{prefix}/{stage}/class_logits"] = logits.detach().numpy()
        kept[f"{prefix}/{stage}/deltas"] = deltas.detach().numpy()
        if prefix == "training":
            kept[f"{prefix}/{stage}/counts"] = [len(each) for each in proposals]
        return logits, deltas

    heads._run_stage = recorded


def given(boxes):
    return [
        instances(size, proposal_boxes=Boxes(torch.tensor(own)), objectness_logits=torch.zeros(len(own)))
        for size, own in zip(SIZES, boxes, strict=True)
    ]


def inference(boxes, kept):
    heads = build()
    spied(heads, kept, "inference")
    with torch.no_grad():
        found, _ = heads(None, features_of(), given(boxes))
    for image, each in enumerate(found):
        each = each[each.pred_boxes.nonempty()]  # as its detector_postprocess does
        kept[f"detections/{image}/boxes"] = each.pred_boxes.tensor.numpy()
        kept[f"detections/{image}/scores"] = each.scores.numpy()
        kept[f"detections/{image}/classes"] = each.pred_classes.numpy().astype(np.int32)
        print("image", image, "detections", len(each), each.scores[:3])


def training(boxes, kept):
    heads, features = build().train(), features_of()
    spied(heads, kept, "training")
    truth = [
        instances(size, gt_boxes=Boxes(torch.tensor(own, dtype=torch.float32)), gt_classes=torch.tensor(classes))
        for size, (own, classes) in zip(SIZES, OBJECTS, strict=True)
    ]
    with EventStorage():
        _, losses = heads(None, features, given(boxes), truth)
    sum(losses.values()).backward()
    for name, loss in losses.items():
        kept[f"losses/{name}"] = loss.detach().numpy()
        print(name, loss.item())
    # No box is large enough for P4; P2's gradient is large, and is kept as the sums of its columns.
    kept["gradients/p3"] = features["p3"].grad.numpy()
    kept["gradients/p2"] = features["p2"].grad.numpy().sum(2)
    for number in range(3):
        kept[f"gradients/fc1/{number}"] = heads.box_head[number].fc1.weight.grad.numpy().sum(1)


def main():
    rng = np.random.default_rng(31)
    boxes = [
        proposals_of(rng, count, size, own) for count, size, (own, _) in zip(COUNTS, SIZES, OBJECTS, strict=True)
    ]
    kept = {"made_with": f"detectron2, torch {torch.__version__}"}
    kept |= {f"proposals/{image}": own for image, own in enumerate(boxes)}
    inference(boxes, kept)
    training(boxes, kept)
    print([kept[f"training/{stage}/counts"] for stage in range(3)])
    np.savez_compressed(pathlib.Path(__file__).with_name("cascade.npz"), **kept)


if __name__ == "__main__":
    main()
