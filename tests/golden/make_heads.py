"""torchvision's box head of convolutions (`FastRCNNConvFCHead`, as in its v2 models) with its predictor: heads.npz.

Outputs with given statistics ("inference") and with live ones ("training", where the batch norms also move their
statistics). Made with torch 2.14.1, torchvision 0.29.1 on a CPU; all draws by `named_draws`, seeded by name.
Run: python tests/golden/make_heads.py
"""

import pathlib

import named_draws
import numpy as np
import torch
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, FastRCNNPredictor

CROPS, CHANNELS, SIDE = 6, 5, 7
CONV_CHANNELS, UNITS = 8, 24
ROWS = 1 + 3 + 2  # the background, three classes, and two rows of no class


def main():
    head = FastRCNNConvFCHead(
        (CHANNELS, SIDE, SIDE), [CONV_CHANNELS] * 4, [UNITS], norm_layer=torch.nn.BatchNorm2d
    )
    named_draws.fill(head, "conv_head.")
    predictor = named_draws.fill(FastRCNNPredictor(UNITS, ROWS), "conv_predictor.")
    crops = torch.from_numpy(named_draws.normal("conv_head/crops", (CROPS, CHANNELS, SIDE, SIDE)))
    kept = {"made_with": f"torch {torch.__version__}", "keys": list(head.state_dict())}
    for mode in ("inference", "training"):
        head.train(mode == "training")
        with torch.no_grad():
            logits, deltas = predictor(head(crops))
        kept[f"{mode}/class_logits_background_first"] = logits.numpy()
        kept[f"{mode}/deltas_background_first"] = deltas.numpy().reshape(CROPS, ROWS, 4)
    kept["training/running_mean"] = np.stack([head[i][1].running_mean.numpy() for i in range(4)])
    np.savez_compressed(pathlib.Path(__file__).with_name("heads.npz"), **kept)


if __name__ == "__main__":
    main()
