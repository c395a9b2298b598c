"""Taps, and gradients, of torchvision's Swin and ConvNeXt with weights drawn by name: backbone_*.npz.

Names and shapes of all tensors are kept, so that the test makes the same file; of the maps strided slices. The taps go
through normalisations with weight 1 and bias 0, which torchvision's classifiers have not, as the detectors' authors add
them. The sum of all taps times weights drawn by name is differentiated.

Made with torch 2.14.1, torchvision 0.29.1 on a CPU.
Run: python tests/golden/make_backbones.py
"""

import json
import pathlib

import backbone_draws
import numpy as np
import torch
from torchvision.models import convnext_tiny, swin_t

STAGES = (1, 3, 5, 7)
WATCHED = {
    "swin_t": (
        "features.0.0.weight", "features.1.1.attn.qkv.weight", "features.1.1.attn.relative_position_bias_table",
        "features.2.reduction.weight", "features.5.3.mlp.0.weight", "features.7.1.attn.proj.bias",
    ),
    "convnext_tiny": (
        "features.0.0.weight", "features.1.0.block.0.weight", "features.1.2.layer_scale", "features.2.1.weight",
        "features.5.4.block.3.weight", "features.7.2.block.5.bias",
    ),
}  # fmt: skip
EPSILON = {"swin_t": 1e-5, "convnext_tiny": 1e-6}


def main():
    for build in (swin_t, convnext_tiny):
        name = build.__name__
        module = build(weights=None).eval()
        state = module.state_dict()
        floats = {key: tuple(value.shape) for key, value in state.items() if value.is_floating_point()}
        drawn = {key: torch.from_numpy(backbone_draws.weight(key, shape)) for key, shape in floats.items()}
        module.load_state_dict(drawn, strict=False)
        module.double()  # from which either framework's float32 is as far
        x = torch.from_numpy(backbone_draws.images()).double().requires_grad_()
        arrays, total, maps = {"tensors": json.dumps({key: list(value.shape) for key, value in state.items()})}, 0, x
        for number, layer in enumerate(module.features):
            maps = layer(maps)
            if number in STAGES:
                level = f"C{STAGES.index(number) + 2}"
                cells = maps if name == "swin_t" else maps.permute(0, 2, 3, 1)
                tap = torch.nn.functional.layer_norm(cells, cells.shape[-1:], eps=EPSILON[name])
                weight = backbone_draws.weight_of_tap(level, tuple(tap.shape))
                total = total + (tap * torch.from_numpy(weight).double()).sum()
                arrays[f"taps/{level}"] = backbone_draws.kept(tap.detach().numpy())
                arrays[f"shapes/{level}"] = np.array(tap.shape)
        total.backward()
        arrays["gradients/images"] = backbone_draws.kept(x.grad.permute(0, 2, 3, 1).numpy())
        parameters = dict(module.named_parameters())
        for key in WATCHED[name]:
            arrays[f"gradients/{key}"] = backbone_draws.kept(parameters[key].grad.reshape(-1).numpy())
        np.savez_compressed(pathlib.Path(__file__).parent / f"backbone_{name}.npz", **arrays)
        print(name, {key: value.shape for key, value in arrays.items() if key != "tensors"})


if __name__ == "__main__":
    main()
