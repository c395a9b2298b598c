"""Time one of torchvision's detectors on a random image.

In an environment of its own (torch==2.14.1, torchvision==0.29.1), on an otherwise idle machine, in alternation with

    keras-fpn benchmark faster_rcnn_r50_fpn_torchvision --size 800x1344

    python benchmarks/torchvision_inference.py [--model NAME] [--size HxW] [--channels-last] [--runs 7]

Weights are random, or those of a checkpoint (`make parity` leaves some with plausible detections in
runs/parity/checkpoints); 1000 proposals of ResNet-50, 150 of the MobileNet for 320 px; 91 outputs of the class layer.
NAME may be one of `torchvision_phone_models.py`, too, with the 80 classes of our configurations.
"""

import argparse
import functools
import statistics
import time

import torch
import torchvision
from torchvision_phone_models import MODELS


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--model", default="fasterrcnn_resnet50_fpn", help="name in torchvision.models.detection, or of a phone model"
    )
    parser.add_argument("--size", default="800x1344", help="HEIGHTxWIDTH of the image (800x1344)")
    parser.add_argument("--checkpoint", help="state dict to load")
    parser.add_argument("--channels-last", action="store_true", help="the other memory layout of convolutions")
    parser.add_argument("--runs", type=int, default=7, help="timed runs after two that warm up (7)")
    arguments = parser.parse_args()
    height, width = map(int, arguments.size.split("x"))
    model = load(arguments.model, arguments.checkpoint)
    if arguments.channels_last:
        model = model.to(memory_format=torch.channels_last)
    # The image is taken as it is: no other resize than to its own size.
    model.transform.min_size, model.transform.max_size = (min(height, width),), max(height, width)
    image = torch.rand(3, height, width, generator=torch.Generator().manual_seed(0))
    seconds = []
    with torch.inference_mode():
        for _ in range(2 + arguments.runs):
            start = time.perf_counter()
            (found,) = model([image])
            seconds.append(time.perf_counter() - start)
    milliseconds = [1000 * value for value in seconds[2:]]
    threads = torch.get_num_threads()
    print(f"torchvision {torchvision.__version__}, {arguments.model}, 1 x {height} x {width}, {threads} threads")
    print(f"  {len(found['scores'])} detections")
    print(f"  whole {statistics.median(milliseconds):9.1f} ms   fastest {min(milliseconds):9.1f} ms")


def load(name, checkpoint=None):
    """The detector with weights of a fixed seed, or of a checkpoint, as its published weights would be built."""
    torch.manual_seed(0)
    made = MODELS.get(name) or functools.partial(
        getattr(torchvision.models.detection, name), weights=None, weights_backbone=None
    )
    model = made().eval()
    if checkpoint:
        model.load_state_dict(torch.load(checkpoint, weights_only=True))
    return model


if __name__ == "__main__":
    main()
