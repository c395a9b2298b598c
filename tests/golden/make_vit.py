"""The pyramid of detectron2's ViTDet (`ViT` and `SimpleFeaturePyramid`), and gradients, with drawn weights: vit_b.npz.

Names and shapes of all tensors are kept, so that the test makes the same file; of the maps strided slices. The sum of
all levels times weights drawn by name is differentiated.

Made with detectron2 at 02b5c4e2, torch 2.14.1 and timm 0.4.12 on a CPU, in float64.
Run: python tests/golden/make_vit.py
"""

import functools
import json
import pathlib

import backbone_draws
import numpy as np
import torch
from detectron2.modeling import SimpleFeaturePyramid, ViT
from detectron2.modeling.backbone.fpn import LastLevelMaxPool

WATCHED = (
    "net.patch_embed.proj.weight", "net.pos_embed", "net.blocks.0.attn.qkv.weight", "net.blocks.1.attn.rel_pos_h",
    "net.blocks.2.attn.rel_pos_w", "net.blocks.5.mlp.fc1.weight", "net.blocks.11.attn.proj.bias", "simfp_2.0.weight",
    "simfp_2.1.weight", "simfp_2.3.bias", "simfp_3.2.weight", "simfp_4.0.norm.bias", "simfp_5.1.weight",
)  # fmt: skip


def main():
    # As configs/common/models/mask_rcnn_vitdet.py has it.
    net = ViT(
        drop_path_rate=0.1,
        window_size=14,
        norm_layer=functools.partial(torch.nn.LayerNorm, eps=1e-6),
        window_block_indexes=(0, 1, 3, 4, 6, 7, 9, 10),
        use_rel_pos=True,
    )
    module = SimpleFeaturePyramid(net, "last_feat", 256, (4.0, 2.0, 1.0, 0.5), LastLevelMaxPool(), "LN").eval()
    state = module.state_dict()
    drawn = {key: torch.from_numpy(backbone_draws.weight(key, tuple(value.shape))) for key, value in state.items()}
    module.load_state_dict(drawn)
    module.double()
    x = torch.from_numpy(backbone_draws.images(backbone_draws.VIT_IMAGES)).double().requires_grad_()
    arrays = {"tensors": json.dumps({key: list(value.shape) for key, value in state.items()})}
    total = 0
    for level, maps in module(x).items():
        maps = maps.permute(0, 2, 3, 1)
        weight = backbone_draws.weight_of_tap(level.upper(), tuple(maps.shape))
        total = total + (maps * torch.from_numpy(weight).double()).sum()
        arrays[f"levels/{level.upper()}"] = backbone_draws.kept(maps.detach().numpy())
        arrays[f"shapes/{level.upper()}"] = np.array(maps.shape)
    total.backward()
    arrays["gradients/images"] = backbone_draws.kept(x.grad.permute(0, 2, 3, 1).numpy())
    parameters = dict(module.named_parameters())
    for key in WATCHED:
        arrays[f"gradients/{key}"] = backbone_draws.kept(parameters[key].grad.reshape(-1).numpy())
    np.savez_compressed(pathlib.Path(__file__).parent / "vit_b.npz", **arrays)
    print({key: value.shape for key, value in arrays.items() if key != "tensors"})


if __name__ == "__main__":
    main()
