"""Time the features of one of torchvision's classifiers on random pixels.

In an environment of its own (torch==2.14.1, torchvision==0.29.1), on an otherwise idle machine, in alternation with
ours (alternate.py):

    python benchmarks/torchvision_backbone.py swin_t [--size 800x1344] [--channels-last] [--runs 7]
"""

import argparse

import medians
import torch
import torchvision


def report(title, model, pixels, runs):
    """Print the median of so many runs, after two that warm up."""
    with torch.inference_mode():
        medians.report(f"{title}, {torch.get_num_threads()} threads", lambda: model(pixels), runs)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="a name in torchvision.models")
    parser.add_argument("--size", default="800x1344", help="HEIGHTxWIDTH of the image (800x1344)")
    parser.add_argument("--channels-last", action="store_true", help="the other memory layout of convolutions")
    parser.add_argument("--runs", type=int, default=7, help="timed runs after two that warm up (7)")
    arguments = parser.parse_args()
    height, width = map(int, arguments.size.split("x"))
    model = torchvision.models.get_model(arguments.name, weights=None).eval()
    if hasattr(model, "features"):
        model = model.features
    else:  # a ResNet: all but the classifier
        model = torch.nn.Sequential(*list(model.children())[:-2])
    pixels = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    if arguments.channels_last:
        model, pixels = (each.to(memory_format=torch.channels_last) for each in (model, pixels))
    report(f"torchvision {torchvision.__version__}, {arguments.name}", model, pixels, arguments.runs)


if __name__ == "__main__":
    main()
