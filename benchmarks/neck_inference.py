"""Time one of our pyramids on random maps of a ResNet-50; reference_neck.py times its peer.

    python benchmarks/neck_inference.py bifpn [--size 768x1280] [--runs 7]
"""

from keras_fpn.console.screen import import_quietly

import_quietly()

import medians  # noqa: E402
import neck_maps  # noqa: E402
import tensorflow as tf  # noqa: E402

from keras_fpn.necks.build import build_pyramid  # noqa: E402


def main():
    arguments = neck_maps.parser(__doc__.splitlines()[0]).parse_args()
    maps = neck_maps.shapes(arguments.name, arguments.size)
    channels = {f"C{k}": shape[-1] for k, shape in maps.items()}
    levels = [f"P{k}" for k in range(min(maps), min(maps) + 5)]
    model = build_pyramid(channels, levels, arguments.name, **neck_maps.OPTIONS[arguments.name])
    inputs = {f"C{k}": tf.random.stateless_normal(shape, [1, k]) for k, shape in maps.items()}
    infer = tf.function(lambda given: model(given, training=False))
    title = f"{arguments.name}, {arguments.size}, {model.count_params():,} weights"
    medians.report(title, lambda: [each.numpy() for each in infer(inputs).values()], arguments.runs)


if __name__ == "__main__":
    main()
