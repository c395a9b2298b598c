"""Time detectron2's ViT of ViTDet on random pixels.

In an environment of its own (detectron2 from source, torch 2.14.1, timm 0.4.12), on an otherwise idle machine, in
alternation with ours (alternate.py with `backbone_inference.py vit_b`):

    python benchmarks/detectron2_vit.py [--size 1024x1024] [--runs 7]
"""

import argparse
import functools
import statistics
import time

import torch
from detectron2.modeling import ViT


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
    seconds = []
    with torch.inference_mode():
        for _ in range(2 + arguments.runs):
            start = time.perf_counter()
            model(pixels)
            seconds.append(time.perf_counter() - start)
    milliseconds = [1000 * value for value in seconds[2:]]
    print(f"detectron2's ViT-B, {torch.get_num_threads()} threads")
    print(f"  whole   {statistics.median(milliseconds):.1f} ms (least {min(milliseconds):.1f})")


if __name__ == "__main__":
    main()
