"""Time one of our backbones on random pixels; torchvision_backbone.py and detectron2_vit.py time their peers.

    python benchmarks/backbone_inference.py swin_t [--size 800x1344] [--runs 7]
"""

import argparse

from keras_fpn.console.screen import import_quietly

import_quietly()

import medians  # noqa: E402
import tensorflow as tf  # noqa: E402

from keras_fpn.backbones.build import build_backbone  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="a name for backbone.name")
    parser.add_argument("--size", default="800x1344", help="HEIGHTxWIDTH of the image (800x1344)")
    parser.add_argument("--runs", type=int, default=7, help="timed runs after two that warm up (7)")
    arguments = parser.parse_args()
    height, width = map(int, arguments.size.split("x"))
    model = build_backbone({"name": arguments.name})
    infer = tf.function(lambda pixels: model(pixels, training=False))
    pixels = tf.random.stateless_normal([1, height, width, 3], [1, 2])
    title = f"{arguments.name}, 1 x {height} x {width}, {model.count_params():,} weights"
    medians.report(title, lambda: [each.numpy() for each in infer(pixels).values()], arguments.runs)


if __name__ == "__main__":
    main()
