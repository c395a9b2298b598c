"""Taps of torchvision's MobileNetV3-Large, and its pyramid with batch normalisation: mobilenet.npz.

The taps are those that torchvision's detectors can ask for: after the blocks with a stride and after the last
convolution, `features` 2, 4, 7, 13 and 16. Epsilon 1e-5 (its detectors) and 1e-3 (its classifier). Only strided
slices of the outputs are kept, with their mean absolute values.
Made with torch 2.14.1, torchvision 0.29.1 on a CPU; all draws by `named_draws`, seeded by name.
Run: python tests/golden/make_mobilenet.py
"""

import collections
import functools
import pathlib

import named_draws
import numpy as np
import torch
from torchvision.models import mobilenet_v3_large
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool
from torchvision.ops.misc import FrozenBatchNorm2d

TAPS = {2: "C2", 4: "C3", 7: "C4", 13: "C5", 16: "C6"}
EPSILONS = (1e-5, 1e-3)
PYRAMID_IN, PYRAMID_OUT = (12, 16, 20), 8
PYRAMID_SHAPES = ((7, 10), (4, 5), (4, 5))  # the two coarsest of one size, as this backbone's


def taps(network, x):
    tapped = {}
    for index, layer in enumerate(network.features):
        x = layer(x)
        if index in TAPS:
            tapped[TAPS[index]] = x
    return tapped


def backbone(kept):
    # 66 x 98: no stride divides it, so that symmetric padding and TensorFlow's SAME differ everywhere.
    images = named_draws.normal("mobilenet/images", (2, 3, 66, 98))
    kept["backbone/shape"] = images.shape
    kept["backbone/fingerprint"] = images[0, 0, 0, :8]
    for epsilon in EPSILONS:
        network = mobilenet_v3_large(weights=None, norm_layer=functools.partial(FrozenBatchNorm2d, eps=epsilon))
        named_draws.fill(network.features, "features.")
        for level, value in taps(network, torch.from_numpy(images)).items():
            array = value.numpy().transpose(0, 2, 3, 1)
            kept[f"backbone/{epsilon:g}/{level}"] = array[:, ::3, ::2, ::5]
            kept[f"backbone/{epsilon:g}/{level}/mean"] = np.abs(array).mean()
            print(f"{epsilon:g}", level, array.shape, np.abs(array).mean(), np.abs(array).max())


def pyramid(kept):
    network = FeaturePyramidNetwork(
        list(PYRAMID_IN), PYRAMID_OUT, LastLevelMaxPool(), norm_layer=torch.nn.BatchNorm2d
    )
    named_draws.fill(network, "normed_pyramid.")
    features = collections.OrderedDict()
    for k, channels, shape in zip((4, 5, 6), PYRAMID_IN, PYRAMID_SHAPES, strict=True):
        features[f"C{k}"] = torch.from_numpy(named_draws.normal(f"normed_pyramid/C{k}", (1, channels, *shape)))
    outputs = network(features)
    kept["pyramid/channels"], kept["pyramid/shapes"] = PYRAMID_IN, PYRAMID_SHAPES
    for name, value in zip(("P4", "P5", "P6", "P7"), outputs.values(), strict=True):
        kept[f"pyramid/{name}"] = value.numpy().transpose(0, 2, 3, 1)


def main():
    torch.set_grad_enabled(False)
    kept = {"made_with": f"torch {torch.__version__}"}
    backbone(kept)
    pyramid(kept)
    np.savez_compressed(pathlib.Path(__file__).with_name("mobilenet.npz"), **kept)


if __name__ == "__main__":
    main()
