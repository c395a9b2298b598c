"""Outputs of torchvision's networks with weights drawn by name: networks.npz.

ResNet-50 (stride in the 3x3 and, as detectron2's, in the first 1x1), ResNet-18, the pyramid, the RPN head and
the two-layer box head. Only strided slices of the outputs are kept, with their mean absolute values.
Made with torch 2.14.1, torchvision 0.29.1 on a CPU; all draws by `named_draws`, seeded by name.
Run: python tests/golden/make_networks.py
"""

import collections
import pathlib

import named_draws
import numpy as np
import torch
from torchvision.models import resnet18, resnet50
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool
from torchvision.ops.misc import FrozenBatchNorm2d

PYRAMID_IN, PYRAMID_OUT = (8, 12, 16, 20), 16
ODD_SHAPES = ((27, 37), (14, 19), (7, 10), (4, 5))  # what a 108 x 148 image gives: no level is twice the next
RPN_LEVELS, RPN_SHAPES = ("P2", "P3", "P4"), ((6, 9), (3, 5), (2, 3))
CLASSES = 5


def kept_slice(tensor):
    """[B, C, H, W] -> NHWC, every seventh channel, both ends of rows and columns: small, and shifts show."""
    array = tensor.detach().numpy().transpose(0, 2, 3, 1)
    return array[:, ::3, ::2, ::7]


def taps(network, images):
    tapped = {}
    x = network.maxpool(network.relu(network.bn1(network.conv1(images))))
    for level, stage in enumerate((network.layer1, network.layer2, network.layer3, network.layer4), start=2):
        x = stage(x)
        tapped[f"C{level}"] = x
    return tapped


def backbones(kept):
    # 66 x 98: no stride divides it, so that symmetric padding and TensorFlow's SAME differ everywhere.
    images = named_draws.normal("backbone/images", (2, 3, 66, 98))
    kept["backbone/shape"] = images.shape
    kept["backbone/fingerprint"] = images[0, 0, 0, :8]
    for name, build, stride_in, prefix in (
        ("resnet50", resnet50, "3x3", "resnet50."),
        ("resnet50", resnet50, "first_1x1", "resnet50."),
        ("resnet18", resnet18, "3x3", "resnet18."),
    ):
        network = build(weights=None, norm_layer=FrozenBatchNorm2d)
        network.fc = torch.nn.Identity()
        named_draws.fill(network, prefix)
        if stride_in == "first_1x1":
            for stage in (network.layer2, network.layer3, network.layer4):
                stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
        with torch.no_grad():
            for level, value in taps(network, torch.from_numpy(images)).items():
                kept[f"backbone/{name}/{stride_in}/{level}"] = kept_slice(value)
                kept[f"backbone/{name}/{stride_in}/{level}/mean"] = value.abs().mean().item()
                print(
                    name,
                    stride_in,
                    level,
                    tuple(value.shape),
                    value.abs().mean().item(),
                    value.abs().max().item(),
                )


def pyramid(kept):
    network = FeaturePyramidNetwork(list(PYRAMID_IN), PYRAMID_OUT, LastLevelMaxPool())
    named_draws.fill(network, "pyramid.")
    features = collections.OrderedDict(
        (
            f"C{index + 2}",
            torch.from_numpy(named_draws.normal(f"pyramid/C{index + 2}", (1, channels, *shape))),
        )
        for index, (channels, shape) in enumerate(zip(PYRAMID_IN, ODD_SHAPES, strict=True))
    )
    outputs = network(features)
    kept["pyramid/channels"], kept["pyramid/shapes"] = PYRAMID_IN, ODD_SHAPES
    names = dict(zip(outputs, ("P2", "P3", "P4", "P5", "P6"), strict=True))
    for name, value in outputs.items():
        kept[f"pyramid/{names[name]}"] = value.detach().numpy().transpose(0, 2, 3, 1)[:, ::2, ::2, ::2]
        kept[f"pyramid/{names[name]}/shape"] = value.shape[2:]


def rpn_head(kept):
    features = [
        torch.from_numpy(named_draws.normal(f"rpn/{level}", (2, PYRAMID_OUT, *shape)))
        for level, shape in zip(RPN_LEVELS, RPN_SHAPES, strict=True)
    ]
    kept["rpn/shapes"] = RPN_SHAPES
    for layers in (1, 2):
        head = named_draws.fill(RPNHead(PYRAMID_OUT, 3, conv_depth=layers), "rpn.")
        logits, deltas = head(features)
        for level, logit, delta in zip(RPN_LEVELS, logits, deltas, strict=True):
            # The order of `permute_and_flatten`: (H, W, anchor), the four numbers of an anchor together.
            flat = logit.permute(0, 2, 3, 1).reshape(2, -1)
            four = delta.view(2, 3, 4, *delta.shape[2:]).permute(0, 3, 4, 1, 2).reshape(2, -1, 4)
            kept[f"rpn/{layers}/{level}/objectness"] = flat.detach().numpy()
            kept[f"rpn/{layers}/{level}/deltas"] = four.detach().numpy()


def box_head(kept):
    crops = named_draws.normal("box_head/crops", (3, 6, 7, 7))
    head = named_draws.fill(TwoMLPHead(6 * 7 * 7, 32), "box_head.")
    predictor = named_draws.fill(FastRCNNPredictor(32, CLASSES + 1), "box_predictor.")
    logits, deltas = predictor(head(torch.from_numpy(crops)))
    kept["box_head/class_logits_background_first"] = logits.detach().numpy()
    kept["box_head/deltas_background_first"] = deltas.detach().numpy().reshape(3, CLASSES + 1, 4)


def main():
    torch.set_grad_enabled(False)
    kept = {"made_with": f"torch {torch.__version__}"}
    backbones(kept)
    pyramid(kept)
    rpn_head(kept)
    box_head(kept)
    np.savez_compressed(pathlib.Path(__file__).with_name("networks.npz"), **kept)


if __name__ == "__main__":
    main()
