"""Time torchvision's ResNet-50-FPN Faster R-CNN on the image that `keras-fpn benchmark` uses.

In an environment of its own (torch==2.14.1, torchvision==0.29.1), on an otherwise idle machine, in alternation with

    keras-fpn benchmark faster_rcnn_r50_fpn_torchvision --size 800x1344

    python benchmarks/torchvision_inference.py [--channels-last] [--runs 7]

Random weights on both sides; 1000 proposals and 91 outputs of the class layer on this one, 81 on ours.
"""

import argparse
import statistics
import time

import torch
import torchvision


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--channels-last", action="store_true", help="the faster memory layout of convolutions")
    parser.add_argument("--runs", type=int, default=7, help="timed runs after two that warm up (7)")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    model = torchvision.models.detection.fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None).eval()
    if arguments.channels_last:
        model = model.to(memory_format=torch.channels_last)
    image = torch.rand(3, 800, 1344)
    # The image is taken as it is: no other resize than from 800 x 1344 to itself.
    model.transform.min_size, model.transform.max_size = (800,), 1344
    seconds = []
    with torch.inference_mode():
        for _ in range(2 + arguments.runs):
            start = time.perf_counter()
            model([image])
            seconds.append(time.perf_counter() - start)
    milliseconds = [1000 * value for value in seconds[2:]]
    print(f"torchvision {torchvision.__version__}, 1 x 800 x 1344, {torch.get_num_threads()} threads")
    print(f"  whole {statistics.median(milliseconds):9.1f} ms   fastest {min(milliseconds):9.1f} ms")


if __name__ == "__main__":
    main()
