"""Train members with pyramids and backbones at the demo's budget on the embedded data set, and table them.

    keras-fpn data shapes DATA --images 1000
    python benchmarks/zoo.py DATA OUT [--rows "faster_rcnn bifpn" ...] [--seeds 0 1] [--figures benchmarks/zoo.json]

Rows are {Faster R-CNN, Cascade R-CNN, RetinaNet, FCOS} x {FPN, PAFPN, BiFPN, NAS-FPN}, and Faster R-CNN on FPN with
{ResNet-18, MobileNetV3-Large, Swin-T, ConvNeXt-T}. All are trained by the one recipe of members.py, from random
weights; all pyramids are normalised alike, in groups, for batches are small, and the learned ones have three repeats.
What a run has reached is kept in the file of figures (OUT/zoo.json); a run that is in the file is not trained again,
one that was stopped goes on, so that the command may be given again at any time, and on another machine with the file
of this one. Rows without any seed are left out of the table. GFLOPs are TensorFlow's own count of a 256x256 picture's
forward pass.
"""

import argparse
import json
import pathlib
import statistics
import tempfile

import members

MEMBERS = {
    "faster_rcnn": "shapes",
    "cascade_rcnn": "cascade_shapes",
    "retinanet": "retinanet_shapes",
    "fcos": "fcos_shapes",
}
PYRAMIDS = {
    name: {"model.pyramid.name": name, "model.pyramid.norm": "group_norm", **settings}
    for name, settings in {
        "fpn": {},
        "pafpn": {},
        "bifpn": {"model.pyramid.repeats": 3},
        "nas_fpn": {"model.pyramid.repeats": 3},
    }.items()
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
        found[f"faster_rcnn fpn {backbone}"] = (
            "shapes",
            PYRAMIDS["fpn"] | {"model.backbone.name": backbone} | settings,
        )
    return found


def read(path):
    """Figures by row and seed."""
    return json.loads(path.read_text()) if path.is_file() else {}


def keep(path, row, seed, metrics):
    """Add a run's to the file, read anew: other processes may train other rows."""
    figures = read(path)
    figures.setdefault(row, {})[str(seed)] = {figure: round(metrics[figure], 4) for figure in FIGURES}
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
        json.dump(figures, file, indent=1, sort_keys=True)
        file.write("\n")
    pathlib.Path(file.name).replace(path)


def size(config, settings, side=256):
    """Parameters, and GFLOPs of the forward pass of a square picture as TensorFlow counts a graph's."""
    import tensorflow as tf

    from keras_fpn import load_config
    from keras_fpn.config.building import build_model
    from keras_fpn.data.shapes import CLASS_NAMES
    from keras_fpn.parts.classes import numbered

    settings = load_config(config, [f"{key}={value}" for key, value in settings.items()])
    model = build_model(settings, numbered(len(CLASS_NAMES), CLASS_NAMES))
    inputs = {"images": tf.TensorSpec([1, side, side, 3]), "image_sizes": tf.TensorSpec([1, 2], tf.int32)}
    graph = tf.function(lambda given: model.inference(given)).get_concrete_function(inputs).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation() | {"output": "none"}
    return model.count_params(), tf.compat.v1.profiler.profile(graph, options=options).total_float_ops / 1e9


def cells(row, seeds):
    """Of a line of the table; `seeds` `{seed: {figure: value}}`."""
    means = [f"{statistics.mean(found[figure] for found in seeds.values()):.3f}" for figure in FIGURES]
    means[0] += f" ({', '.join(f'{found[FIGURES[0]]:.3f}' for found in seeds.values())})"
    config, settings = rows()[row]
    parameters, operations = size(config, settings)
    return [row, f"{parameters:,}", f"{operations:.2f}", f"{members.milliseconds(config, settings):.1f}", *means]


def main():
    known = rows()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=pathlib.Path, help="folder that `keras-fpn data shapes` wrote")
    parser.add_argument("out", type=pathlib.Path, help="folder of the runs")
    parser.add_argument("--rows", nargs="+", choices=known, default=list(known), metavar="ROW")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1], metavar="SEED")
    parser.add_argument("--figures", type=pathlib.Path, metavar="FILE", help="what runs reached (default OUT/zoo.json)")
    parser.add_argument("--table", action="store_true", help="train nothing, table what is there")
    arguments = parser.parse_args()
    path = arguments.figures or arguments.out / "zoo.json"
    # Seed by seed, so that a table of one seed is there early.
    for seed in () if arguments.table else arguments.seeds:
        for row in arguments.rows:
            if str(seed) not in read(path).get(row, {}):
                config, settings = known[row]
                run = arguments.out / f"{row.replace(' ', '-')}-{seed}"
                keep(path, row, seed, members.trained(config, arguments.data, seed, run, settings.items()))
    figures = read(path)
    lines = [["model", "parameters", "GFLOPs", "ms", *FIGURES], ["---"] * (len(FIGURES) + 4)]
    lines += [cells(row, figures[row]) for row in arguments.rows if row in figures]
    print("\n".join(f"| {' | '.join(line)} |" for line in lines))


if __name__ == "__main__":
    main()
