"""Share of the machine's limit that models reach: the work of their layers at the rate of TensorFlow's own matmul.

    python benchmarks/machine_share.py MODEL [MODEL ...] [--image PICTURE] [--size 800x1344] [--runs 7]
    python benchmarks/machine_share.py MODEL [MODEL ...] --training [--size 512x512] [--batch-size 2]

MODEL is a configuration (random weights) or a .keras file. The models and a matrix product are run by turns, so that
all meet the same machine; a share is (FLOPs of the convolutions and matrix products / FLOPs per second of the matrix
product) / median time. What else a model does, anchors, suppression, pooling, losses, counts as no work: the share says
how much of the time goes to it. Of a training step the work is that of the forward pass and, for each layer, as much
for the gradient of its kernel if that is trained and of its input if anything below it is.

On an otherwise idle machine; the ratio between two models of one call is steadier than each share.
"""

import argparse
import contextlib
import math
import os
import pathlib
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from keras_fpn.config.building import build_model
from keras_fpn.config.loading import load_config
from keras_fpn.layers.map_attention import MapAttention
from keras_fpn.layers.pointwise_gelu import PointwiseGELU
from keras_fpn.models.files import load_model
from keras_fpn.models.optimizers import SGD
from keras_fpn.parts.classes import numbered

SIDE = 2048  # of the matrices
OBJECTS = 8  # an image of training


def _of_kernel(layer, inputs, outputs):
    at_each = inputs if isinstance(layer, keras.layers.Conv2DTranspose) else outputs
    return 2 * math.prod(layer.kernel.shape) / at_each.shape[-1] * math.prod(at_each.shape)


def _separable(layer, inputs, outputs):
    """Each channel by itself, then all of each cell."""
    cells, channels = math.prod(outputs.shape[:-1]), inputs.shape[-1]
    depthwise = math.prod(layer.kernel_size) * channels * layer.depth_multiplier
    return 2 * cells * (depthwise + channels * layer.depth_multiplier * layer.filters)


def _attention(layer, inputs, outputs):
    """Queries, keys and values, and the products of each window's cells; the projection is a layer of its own."""
    batch, height, width, channels = inputs.shape
    rows, columns = (side if not layer.window else -(-side // layer.window) * layer.window for side in (height, width))
    heard = rows * columns if not layer.window else layer.window**2
    return 2 * batch * rows * columns * channels * (3 * channels + 2 * heard)


# {kind of layer: function of it, its inputs and outputs that counts}
COUNTED = dict.fromkeys(
    (
        keras.layers.Conv2D,
        keras.layers.Conv2DTranspose,
        keras.layers.Dense,
        keras.layers.DepthwiseConv2D,
        PointwiseGELU,
    ),
    _of_kernel,
) | {keras.layers.SeparableConv2D: _separable, MapAttention: _attention}


class Work:
    """FLOPs of the layers that a call runs, by layer: `(layer, FLOPs)` in their order."""

    def __init__(self):
        self.calls = []

    @contextlib.contextmanager
    def counted(self):
        """Count while it is open; layers must run outside a graph, where shapes are known."""
        originals = {kind: kind.call for kind in COUNTED}
        for kind, original in originals.items():
            kind.call = self._counting(original, COUNTED[kind])
        try:
            yield
        finally:
            for kind, original in originals.items():
                kind.call = original

    def _counting(self, original, count):
        def call(layer, inputs, *rest, **named):
            outputs = original(layer, inputs, *rest, **named)
            self.calls.append((layer, count(layer, inputs, outputs)))
            return outputs

        return call

    def forward(self):
        return sum(flops for _, flops in self.calls)

    def step(self):
        """Forward and backward: layers before the first that is trained have no gradients at all."""
        trained = [bool(layer.trainable_weights) for layer, _ in self.calls]
        first, total = trained.index(True), 0
        for index, (_, flops) in enumerate(self.calls):
            total += flops * (1 + (trained[index] and index >= first) + (index > first))
        return total


def model_of(name):
    if pathlib.Path(name).suffix == ".keras":
        return load_model(name)
    config = load_config(name)
    classes = config.model.num_classes or 80
    return build_model(config, numbered(classes, [f"class {index}" for index in range(classes)]))


def inputs_of(arguments, model):
    height, width = map(int, arguments.size.split("x"))
    if arguments.image:
        picture = Image.open(arguments.image).convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
        images = np.tile(np.asarray(picture, np.float32)[None], (arguments.batch_size, 1, 1, 1))
    else:
        shape = (arguments.batch_size, height, width, 3)
        images = np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)
    sizes = np.tile(np.array([[height, width]], np.int32), (arguments.batch_size, 1))
    return {"images": tf.constant(images), "image_sizes": tf.constant(sizes)}


def targets_of(arguments, model):
    """Boxes of all sizes, with the ellipses in them as polygons and as bitmaps."""
    height, width = map(int, arguments.size.split("x"))
    random, batch = np.random.default_rng(1), arguments.batch_size
    sides = np.exp2(random.uniform(5, np.log2(min(height, width) / 1.5), (batch, OBJECTS, 2)))
    start = random.uniform(0, 1, sides.shape) * (np.array([width, height]) - sides)
    boxes = np.concatenate([start, start + sides], -1).astype(np.float32)
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    circle = np.stack([np.cos(angles), np.sin(angles)], -1) / 2 + 0.5
    corners = boxes[:, :, None, :2] + circle * (boxes[:, :, None, 2:] - boxes[:, :, None, :2])
    centres, radii = (boxes[..., :2] + boxes[..., 2:]) / 2, (boxes[..., 2:] - boxes[..., :2]) / 2
    y, x = np.mgrid[:height, :width] + 0.5
    across = (x - centres[..., :1, None]) / radii[..., :1, None]
    down = (y - centres[..., 1:, None]) / radii[..., 1:, None]
    targets = {
        "boxes": boxes,
        "classes": random.integers(0, len(model.classes), (batch, OBJECTS)).astype(np.int32),
        "polygons": np.concatenate([corners, np.zeros_like(corners[..., :1])], -1).astype(np.float32),
        "bitmaps": (across**2 + down**2 < 1).astype(np.uint8),
    }
    wanted = {field if isinstance(field, str) else field.name for field in model.fields_to_learn(model.settings)}
    return {name: tf.constant(value) for name, value in targets.items() if name in {"boxes", "classes"} | wanted}


def inference(arguments, model):
    """`(function that runs it and waits, FLOPs, words)`."""
    inputs, work = inputs_of(arguments, model), Work()
    with work.counted():
        found = model(inputs, training=False)
    graph = tf.function(lambda given: model(given, training=False))
    detections = found.get("num_detections")
    words = "" if detections is None else f"{int(np.sum(detections))} detections"
    return (lambda: [value.numpy() for value in tf.nest.flatten(graph(inputs))]), work.forward(), words


def training(arguments, model):
    inputs, targets, work = inputs_of(arguments, model), targets_of(arguments, model), Work()
    seed = tf.zeros([2], tf.int64)
    with work.counted():
        model.training_losses(inputs, targets, seed)
    optimizer = SGD(1e-6, momentum=0.9, weight_decay=1e-4)
    optimizer.build(model.trainable_variables)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            losses, _ = model.training_losses(inputs, targets, seed)
            loss = tf.add_n(list(losses.values()))
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return loss

    return (lambda: step().numpy()), work.step(), ""


def matmul():
    one = tf.random.stateless_normal([SIDE, SIDE], [1, 2])
    return (lambda: tf.matmul(one, one).numpy()), 2 * SIDE**3, ""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", metavar="MODEL", help="configuration or .keras file")
    parser.add_argument("--training", action="store_true", help="a training step instead of inference")
    parser.add_argument("--image", help="picture instead of noise; a model with random weights finds nothing in either")
    parser.add_argument("--size", help="HEIGHTxWIDTH (800x1344, of training 512x512)")
    parser.add_argument("--batch-size", type=int, help="images at a time (1, of training 2)")
    parser.add_argument("--runs", type=int, default=7, help="timed rounds after two that warm up (7)")
    arguments = parser.parse_args()
    arguments.size = arguments.size or ("512x512" if arguments.training else "800x1344")
    arguments.batch_size = arguments.batch_size or (2 if arguments.training else 1)
    make = training if arguments.training else inference
    runners = [make(arguments, model_of(name)) for name in arguments.models] + [matmul()]
    seconds = [[] for _ in runners]
    for turn in range(2 + arguments.runs):
        for (run, _, _), taken in zip(runners, seconds, strict=True):
            start = time.perf_counter()
            run()
            if turn >= 2:
                taken.append(time.perf_counter() - start)
    medians = [statistics.median(taken) for taken in seconds]
    rate = runners[-1][1] / medians[-1]
    print(f"{arguments.batch_size} x {arguments.size}, matmul {rate / 1e9:.1f} GFLOPs a second")
    for name, (_, flops, words), median in zip(arguments.models, runners, medians, strict=False):
        share = flops / rate / median
        print(f"  {name:<40}{1000 * median:9.1f} ms {flops / 1e9:9.1f} GFLOPs   share {share:.3f}   {words}")


if __name__ == "__main__":
    main()
