"""The head of the C4 baseline on RoIs of a C4 map, by torchvision and by detectron2: conv5.npz.

torchvision: `ResNet.layer4` (stride in the 3x3) of bottlenecks and of basic blocks on `roi_pool` and `roi_align`; in
"training" its batch norms are live and see the first crops alone. detectron2: `Res5ROIHeads` (stride in the first 1x1,
frozen batch norm) on ROIAlignV2. Then the mean, and two linear predictors.
Made with torch 2.14.1, torchvision 0.29.1, detectron2 0.6 on a CPU; all draws by `named_draws`, seeded by name.
Run: python tests/golden/make_conv5.py
"""

import pathlib

import detectron2
import named_draws
import numpy as np
import torch
import torchvision
from detectron2.config import get_cfg
from detectron2.modeling.roi_heads import Res5ROIHeads
from detectron2.structures import Boxes
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet
from torchvision.ops import roi_align, roi_pool

WIDTH, CLASSES, SIDE, STRIDE = 2, 3, 14, 16
VALID = 4  # crops that count in the training mode
BOXES = np.array(
    [
        [0, 0, 200, 150],
        [30.5, 17.25, 90, 130.75],
        [100, 5, 108, 11],
        [-20, 40, 60, 170],
        [64, 64, 128, 128],
        [9, 9, 9, 9],
    ],
    np.float32,
)


def stage(kind):
    """torchvision's layer4 at a width of its own: channels of C4, and the module."""
    block, channels = {"bottleneck": (Bottleneck, 16 * WIDTH), "basic": (BasicBlock, 4 * WIDTH)}[kind]
    network = ResNet(block, [1, 1, 1, 1])
    network.inplanes = channels
    return channels, network._make_layer(block, 8 * WIDTH, {"bottleneck": 3, "basic": 2}[kind], stride=2)


def predictions(name, maps):
    """Logits and deltas of `[R, C, 7, 7]` as a dict; the predictors are drawn under `name`."""
    hidden = maps.mean(dim=(2, 3))
    answers = {}
    for predictor, rows in (("class_logits", CLASSES + 1), ("box_deltas", 4 * CLASSES)):
        layer = named_draws.fill(torch.nn.Linear(hidden.shape[1], rows), f"{name}.{predictor}.")
        answers[predictor] = layer(hidden).numpy()
    return answers


def of_torchvision(kind):
    channels, layer4 = stage(kind)
    feature = torch.from_numpy(named_draws.normal(f"{kind}/C4", (1, channels, 10, 14)))
    boxes = [torch.from_numpy(BOXES)]
    crops = {
        "max": roi_pool(feature, boxes, SIDE, 1 / STRIDE),
        "align": roi_align(feature, boxes, SIDE, 1 / STRIDE, sampling_ratio=2, aligned=False),
    }
    for method, values in crops.items():
        named_draws.fill(layer4, f"{kind}.")
        yield from prefixed(f"{kind}/{method}", predictions(kind, layer4(values)))
    layer4.train()
    yield from prefixed(f"{kind}/training", predictions(kind, layer4(crops["align"][:VALID])))
    means = [value.numpy() for key, value in layer4.state_dict().items() if key.endswith("running_mean")]
    yield f"{kind}/training/running_mean", np.concatenate(means)


def of_detectron2():
    settings = get_cfg()
    settings.merge_from_list(["MODEL.RESNETS.RES2_OUT_CHANNELS", 4 * WIDTH, "MODEL.RESNETS.WIDTH_PER_GROUP", WIDTH])
    layers, channels = Res5ROIHeads._build_res5_block(settings)
    assert channels == 32 * WIDTH
    named_draws.fill(layers, "first_1x1.")
    feature = torch.from_numpy(named_draws.normal("first_1x1/C4", (1, 16 * WIDTH, 10, 14)))
    crops = detectron2.modeling.poolers.ROIPooler(SIDE, (1 / STRIDE,), 0, "ROIAlignV2")(
        [feature], [Boxes(torch.from_numpy(BOXES))]
    )
    yield from prefixed("first_1x1/align", predictions("first_1x1", layers(crops)))


def prefixed(prefix, arrays):
    return ((f"{prefix}/{name}", array) for name, array in arrays.items())


@torch.no_grad()
def main():
    kept = {"made_with": f"torch {torch.__version__}, torchvision {torchvision.__version__}", "boxes": BOXES}
    for kind in ("bottleneck", "basic"):
        kept |= dict(of_torchvision(kind))
    kept |= dict(of_detectron2())
    np.savez_compressed(pathlib.Path(__file__).with_name("conv5.npz"), **kept)


if __name__ == "__main__":
    main()
