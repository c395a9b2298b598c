"""Time detectron2's ViT of ViTDet on random pixels.

In an environment of its own (detectron2 from source, torch 2.14.1, timm 0.4.12), on an otherwise idle machine, in
alternation with ours (alternate.py with `backbone_inference.py vit_b`):

    python benchmarks/detectron2_vit.py [--size 1024x1024] [--runs 7]
"""

import argparse
import functools

import torch
from detectron2.modeling import ViT
from torchvision_backbone import report


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="1024x1024", help="HEIGHTxWIDTH of the image (1024x1024)")
    parser.add_argument("--runs", type=int, default=7, help="timed runs after two that warm up (7)")
    arguments = parser.parse_args()
    height, width = map(int, arguments.size.split("x"))
    # As configs/common/models/mask_rcnn_vitdet.py has it.
    model = ViT(
        window_size=14,
        norm_layer=functools.partial(torch.nn.LayerNorm, eps=1e-6),
        window_block_indexes=(0, 1, 3, 4, 6, 7, 9, 10),
        use_rel_pos=True,
    ).eval()
    pixels = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    report("detectron2's ViT-B", model, pixels, arguments.runs)


if __name__ == "__main__":
    main()
