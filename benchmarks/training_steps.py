"""Time the steps of a training run, reading included, on a data set that `keras-fpn data shapes` wrote.

On an otherwise idle machine, in alternation with

    python benchmarks/torchvision_training.py DATA --steps 80 --no-measure

    python benchmarks/training_steps.py CONFIG DATA [--steps 80]

The run is that of `keras-fpn train`, in a folder that is deleted; its first quarter, in which graphs are traced, is not
counted.
"""

import argparse
import os
import statistics
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras

from keras_fpn.config.loading import load_config
from keras_fpn.training.named_files import with_data
from keras_fpn.training.training import train


class StepTimes(keras.callbacks.Callback):
    """Seconds of each step, from one end to the next."""

    def __init__(self):
        super().__init__()
        self.seconds, self.last = [], None

    def on_train_batch_end(self, batch, logs=None):
        now = time.perf_counter()
        if self.last is not None:
            self.seconds.append(now - self.last)
        self.last = now


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", metavar="CONFIG", help="name of a configuration, such as shapes_masks")
    parser.add_argument("data", help="folder that `keras-fpn data shapes` wrote")
    parser.add_argument("--steps", type=int, default=80)
    arguments = parser.parse_args()
    steps = {"training.steps": arguments.steps, "training.steps_per_epoch": arguments.steps}
    config, times = with_data(load_config(arguments.config, steps), arguments.data), StepTimes()
    with tempfile.TemporaryDirectory() as folder:
        train(config, f"{folder}/run", extra_callbacks=[times])
    seconds = times.seconds[arguments.steps // 4 :]
    print(f"  whole {1000 * statistics.median(seconds):9.1f} ms   a step, reading included")


if __name__ == "__main__":
    main()
