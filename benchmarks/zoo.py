"""Train members with pyramids and backbones at the demo's budget on the embedded data set, and table them.

    keras-fpn data shapes DATA --images 1000
    python benchmarks/zoo.py DATA OUT [--rows "faster_rcnn bifpn" ...] [--seeds 0 1]

Rows are {Faster R-CNN, Cascade R-CNN, RetinaNet, FCOS} x {FPN, PAFPN, BiFPN, NAS-FPN}, and Faster R-CNN on FPN with
{ResNet-18, MobileNetV3-Large, Swin-T, ConvNeXt-T}. All are trained by the one recipe of members.py, from random
weights; learned pyramids have three repeats and group normalisation, for batches are small. Finished runs are taken as
they are, those that were stopped go on, so that the command may be given again at any time; rows that have not all of
their seeds are left out of the table. GFLOPs are TensorFlow's own count of a 256x256 picture's forward pass.
"""

import argparse
import json
import pathlib
import statistics

import members

MEMBERS = {
    "faster_rcnn": "shapes",
    "cascade_rcnn": "cascade_shapes",
    "retinanet": "retinanet_shapes",
    "fcos": "fcos_shapes",
}
LEARNED = {"model.pyramid.repeats": 3, "model.pyramid.norm": "group_norm"}
PYRAMIDS = {
    "fpn": {},
    "pafpn": {"model.pyramid.name": "pafpn"},
    "bifpn": {"model.pyramid.name": "bifpn", **LEARNED},
    "nas_fpn": {"model.pyramid.name": "nas_fpn", **LEARNED},
}
# The demo's ResNet-18 has a quarter of the width; here all are whole.
BACKBONES = {
    "resnet18": {"model.backbone.width": 64},
    "mobilenet_v3_large": {"model.backbone.norm": "batch_norm", "model.backbone.freeze_at": 0},
    "swin_t": {},
    "convnext_tiny": {},
}
FIGURES = ("AP", "AP75", "APs")


def rows():
    """`{row: (configuration, settings)}`"""
    found = {
        f"{member} {pyramid}": (config, settings)
        for member, config in MEMBERS.items()
        for pyramid, settings in PYRAMIDS.items()
    }
    for backbone, settings in BACKBONES.items():
        found[f"faster_rcnn fpn {backbone}"] = ("shapes", {"model.backbone.name": backbone, **settings})
    return found


def gigaflops(run):
    """Of the forward pass of the model of a run, as TensorFlow counts a graph's."""
    import tensorflow as tf

    from keras_fpn import load_model

    model = load_model(run)
    inputs = {"images": tf.TensorSpec([1, 256, 256, 3]), "image_sizes": tf.TensorSpec([1, 2], tf.int32)}
    graph = tf.function(lambda given: model.inference(given)).get_concrete_function(inputs).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation() | {"output": "none"}
    return tf.compat.v1.profiler.profile(graph, options=options).total_float_ops / 1e9


def cells(name, runs):
    found = [json.loads((run / "metrics.json").read_text()) for run in runs]
    means = [f"{statistics.mean(each[figure] for each in found):.3f}" for figure in FIGURES]
    means[0] += f" ({min(each['AP'] for each in found):.3f} to {max(each['AP'] for each in found):.3f})"
    first = runs[0]
    figures = f"{members.num_parameters(first):,}", f"{gigaflops(first):.2f}", f"{members.milliseconds(first):.1f}"
    return [name, *figures, *means]


def main():
    known = rows()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=pathlib.Path, help="folder that `keras-fpn data shapes` wrote")
    parser.add_argument("out", type=pathlib.Path, help="folder of the runs")
    parser.add_argument("--rows", nargs="+", choices=known, default=list(known), metavar="ROW")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1], metavar="SEED")
    parser.add_argument("--table", action="store_true", help="train nothing, table what is there")
    arguments = parser.parse_args()
    places = {
        row: [arguments.out / f"{row.replace(' ', '-')}-{seed}" for seed in arguments.seeds] for row in arguments.rows
    }
    # Seed by seed, so that a table of one seed is there early.
    for number, seed in enumerate(arguments.seeds):
        for row in () if arguments.table else arguments.rows:
            config, settings = known[row]
            members.trained(config, arguments.data, seed, places[row][number], settings.items())
    lines = [["model", "parameters", "GFLOPs", "ms", *FIGURES], ["---"] * (len(FIGURES) + 4)]
    done = {row: runs for row, runs in places.items() if all((run / "metrics.json").is_file() for run in runs)}
    lines += [cells(row, runs) for row, runs in done.items()]
    print("\n".join(f"| {' | '.join(line)} |" for line in lines))


if __name__ == "__main__":
    main()
