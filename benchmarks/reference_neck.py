"""Time a pyramid after FPN by its authors' own code on random maps of a ResNet-50.

In an environment of its own, with the source that tests/golden/make_necks.py names, on an otherwise idle machine, in
alternation with ours (alternate.py with `neck_inference.py NAME`):

    python benchmarks/reference_neck.py bifpn FOLDER [--size 768x1280] [--channels-last] [--runs 7]
"""

import pathlib
import sys

import medians
import neck_maps

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "golden"))

import reference_necks  # noqa: E402


def of_torch(arguments, maps, options):
    """A call of panet or pafpn."""
    import torch

    widths = [shape[-1] for shape in maps.values()]
    if arguments.name == "pafpn":
        module = reference_necks.pafpn(arguments.folder, widths, options["channels"])
        run = lambda inputs: module(tuple(inputs.values()))  # noqa: E731
    else:
        module, run = reference_necks.panet(arguments.folder, widths, options["channels"], normed=False)
    layout = torch.channels_last if arguments.channels_last else torch.contiguous_format
    module.eval().to(memory_format=layout)
    inputs = {
        k: torch.randn(batch, channels, height, width).to(memory_format=layout)
        for k, (batch, height, width, channels) in maps.items()
    }

    def call():
        with torch.inference_mode():
            run(inputs)

    return call


def of_bifpn(arguments, maps, options):
    import tensorflow as tf

    run = reference_necks.bifpn(arguments.folder, **options)
    inputs = {k: tf.random.stateless_normal(shape, [1, k]) for k, shape in maps.items()}
    infer = tf.function(lambda given: run(given)[0])
    return lambda: [each.numpy() for each in infer(inputs)]


def of_nas_fpn(arguments, maps, options):
    import numpy as np
    import tensorflow.compat.v1 as tf

    network = reference_necks.nas_fpn(arguments.folder, **options)
    inputs = {k: tf.placeholder(tf.float32, shape) for k, shape in maps.items()}
    found, session = network(inputs), tf.Session()
    session.run(tf.global_variables_initializer())
    values = {inputs[k]: np.random.default_rng(k).normal(size=shape).astype(np.float32) for k, shape in maps.items()}
    return lambda: session.run(found, values)


MAKERS = {"panet": of_torch, "pafpn": of_torch, "bifpn": of_bifpn, "nas_fpn": of_nas_fpn}


def main():
    parser = neck_maps.parser(__doc__.splitlines()[0])
    parser.add_argument("folder", help="of the source")
    parser.add_argument("--channels-last", action="store_true", help="torch's other memory layout of convolutions")
    arguments = parser.parse_args()
    maps, options = neck_maps.shapes(arguments.name, arguments.size), neck_maps.OPTIONS[arguments.name]
    call = MAKERS[arguments.name](arguments, maps, options)
    medians.report(f"{arguments.name} by its authors, {arguments.size}", call, arguments.runs)


if __name__ == "__main__":
    main()
