"""Compare the pyramid inside the network with the pyramid of the image, on the embedded data set.

    keras-fpn data shapes DATA --images 1000
    python benchmarks/image_pyramid.py DATA OUT [--seed 0]

Two detectors are trained by the recipe of members.py: `shapes`, whose pyramid is inside, and the same on one map, C4,
with anchors of all sizes. Both are measured on pictures of one size, and by `evaluate --tta` without mirroring on
several. GFLOPs are TensorFlow's own count of the passes. Finished runs are taken as they are.
"""

import argparse
import functools
import json
import pathlib
import subprocess

import members
import zoo

SINGLE_SCALE = {
    "model.pyramid.name": "single_scale",
    "model.pyramid.levels": "[C4]",
    "model.anchors.sizes": "{C4: [12, 24, 48, 96, 160]}",
    "model.roi_pooling.levels": "[C4]",
}
NETWORKS = {"P2 to P6 inside": {}, "C4 alone": SINGLE_SCALE}
OWN_SIDE = 256
SIDES = ((OWN_SIDE,), (256, 384), (192, 256, 384))
FIGURES = ("AP", "AP75", "APs", "APm", "APl")


def measured(run, data, sides):
    """Metrics of a run on the held-out pictures in these sizes."""
    path = run / f"metrics_{'_'.join(map(str, sides))}.json"
    if not path.is_file():
        found = ["--annotations", str(data / "annotations" / "instances_val.json"), "--images", str(data / "val")]
        augmented = ["--tta", "--tta-no-flip", "--tta-sides", *map(str, sides)] if sides != (OWN_SIDE,) else []
        command = [*members.PROGRAM, "evaluate", str(run), *found, "--metrics", str(path), *augmented]
        subprocess.run(command, check=True)
    return json.loads(path.read_text())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=pathlib.Path, help="folder that `keras-fpn data shapes` wrote")
    parser.add_argument("out", type=pathlib.Path, help="folder of the runs")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    lines = [["network", "sizes of the picture", "GFLOPs", *FIGURES], ["---"] * (len(FIGURES) + 3)]
    for network, settings in NETWORKS.items():
        run = arguments.out / f"{network.replace(' ', '-')}-{arguments.seed}"
        members.trained("shapes", arguments.data, arguments.seed, run, settings.items())
        operations = functools.cache(lambda side, settings=settings: zoo.size("shapes", settings, side)[1])
        for sides in SIDES:
            metrics = measured(run, arguments.data, sides)
            cost = f"{sum(map(operations, sides)):.2f}"
            lines.append([network, ", ".join(map(str, sides)), cost, *(f"{metrics[name]:.3f}" for name in FIGURES)])
    print("\n".join(f"| {' | '.join(line)} |" for line in lines))


if __name__ == "__main__":
    main()
