"""Train members of the family on the embedded data set at the demo's budget, and compare them in one table.

    keras-fpn data shapes DATA --images 1000
    python benchmarks/members.py DATA OUT [--configs shapes retinanet_shapes fcos_shapes cascade_shapes] [--seeds 0 1 2]

A run is `keras-fpn train CONFIG --data DATA --out OUT/CONFIG-SEED --set training.seed=SEED`, with the settings of
`RECIPE`, which all members share; finished runs are taken as they are, those that were stopped go on. Then the models
of the first seed are timed, one 256x256 picture at a time, and the table is printed as Markdown: of each figure the
mean over the seeds, and behind AP its smallest and largest.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

CONFIGS = ("shapes", "retinanet_shapes", "fcos_shapes", "cascade_shapes")
# SGD at the rates of the published recipes leaves the detectors without proposals far from done in so short a run.
RECIPE = {"training.optimizer": "adamw", "training.learning_rate": 0.002, "training.weight_decay": 0.01}
FIGURES = ("AP", "AP50", "AP75", "APs")
PROGRAM = [sys.executable, "-m", "keras_fpn"]


def trained(config, data, seed, run, settings=()):
    """`metrics.json` of a run, which is made or goes on if it has none; `settings` `[(key, value), ...]` on top."""
    if not (run / "metrics.json").is_file():
        overrides = [f"{key}={value}" for key, value in {**RECIPE, "training.seed": seed, **dict(settings)}.items()]
        begin = [config, "--data", str(data), "--out", str(run), "--set", *overrides]
        subprocess.run([*PROGRAM, "train", *(["--resume", str(run)] if run.exists() else begin)], check=True)
    return json.loads((run / "metrics.json").read_text())


def milliseconds(model, settings=()):
    """Median of a picture through the model of a run, or of a configuration with `settings` `{key: value}` on top."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "timings.json"
        command = [*PROGRAM, "benchmark", str(model), "--size", "256x256", "--runs", "30", "--json", str(path)]
        overrides = [f"{key}={value}" for key, value in dict(settings).items()]
        subprocess.run([*command, *(["--set", *overrides] if overrides else [])], check=True, stdout=subprocess.DEVNULL)
        return json.loads(path.read_text())["stages"]["whole"]["median_ms"]


def num_parameters(run):
    """Of the model of a run."""
    from keras_fpn import load_model

    return load_model(run).count_params()


def row(config, runs, metrics):
    """Cells of a configuration."""
    means = [f"{statistics.mean(found[name] for found in metrics):.3f}" for name in FIGURES]
    spread = [found["AP"] for found in metrics]
    means[0] += f" ({min(spread):.3f} to {max(spread):.3f})"
    return [f"`{config}`", *means, f"{milliseconds(runs[0]):.1f}", f"{num_parameters(runs[0]):,}"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=pathlib.Path, help="folder that `keras-fpn data shapes` wrote")
    parser.add_argument("out", type=pathlib.Path, help="folder of the runs")
    parser.add_argument("--configs", nargs="+", default=CONFIGS, metavar="CONFIG")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="SEED")
    arguments = parser.parse_args()
    lines = [["configuration", *FIGURES, "ms", "parameters"], ["---"] * (len(FIGURES) + 3)]
    for config in arguments.configs:
        runs = [arguments.out / f"{config}-{seed}" for seed in arguments.seeds]
        pairs = zip(arguments.seeds, runs, strict=True)
        lines.append(row(config, runs, [trained(config, arguments.data, seed, run) for seed, run in pairs]))
    print("\n".join(f"| {' | '.join(cells)} |" for cells in lines))


if __name__ == "__main__":
    main()
