"""The whole road on the embedded data set: draw it, train, measure, and tell what came of it on one page."""

import time

from keras_fpn import runs, training
from keras_fpn.config import load_config
from keras_fpn.data.shapes import write_shapes
from keras_fpn.progress import Count

NUM_TRAIN = 1000


def run_demo(out=None, *, config=None, num_train=NUM_TRAIN, num_val=200, size=256) -> training.Outcome:
    """Write the data set, train on it and evaluate on its held-out images, all in one run folder.

    Args:
        out: run folder; default runs/demo, or runs/demo-2 and so on where that exists.
        config: a `Config`; default "shapes".
        num_train, num_val, size: of the data set.

    Returns:
        The `training.Outcome`. Beside what a run folder holds there is data/.
    """
    start = time.monotonic()
    config = config or load_config("shapes")
    with runs.new_run_folder(out, "demo") as run_dir:
        print(f"1/2 data: {num_train} training and {num_val} held-out images of shapes", flush=True)
        with Count("draw", num_train + num_val) as count:
            write_shapes(run_dir / "data", num_train=num_train, num_val=num_val, size=size, progress=count)
        print("2/2 training and evaluation", flush=True)
        outcome = training.train(training.with_data(config, run_dir / "data"), run_dir)
    if not outcome.interrupted:
        print(next_steps(run_dir, outcome.metrics, (time.monotonic() - start) / 60))
    return outcome


def next_steps(run_dir, metrics, minutes):
    """Return the metrics table and the commands that a person may want next."""
    return "\n".join(
        [
            "",
            training.metrics_table(metrics),
            "",
            f"done in {minutes:.1f} minutes. Look at {run_dir / 'report.html'}, then:",
            f"  keras-fpn detect {run_dir} {run_dir / 'data' / 'val'} --out {run_dir / 'pictures'}",
            f"  keras-fpn evaluate {run_dir}",
            f"  tensorboard --logdir {run_dir / 'logs'}",
            "  keras-fpn train --help          your own COCO-format folder: --data DIR",
        ]
    )
