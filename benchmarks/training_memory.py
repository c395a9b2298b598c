"""Peak memory of training steps, a process for each model.

    python benchmarks/training_memory.py MODEL [MODEL ...] [--size 512x512] [--batch-size 2]

Steps, models and pictures are those of machine_share.py; TensorFlow itself is in the figure, some 0.5 GB.
"""

import argparse
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent


def peak(model, *options):
    """Bytes that three steps of a model took."""
    command = [sys.executable, HERE / "machine_share.py", model, "--training", "--runs", "1", *options]
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{model}: exit code {os.waitstatus_to_exitcode(status)}")
    return 1024 * usage.ru_maxrss


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", metavar="MODEL", help="configuration or .keras file")
    parser.add_argument("--size", default="512x512", help="HEIGHTxWIDTH (512x512)")
    parser.add_argument("--batch-size", default="2", help="images at a time (2)")
    arguments = parser.parse_args()
    for model in arguments.models:
        bytes_ = peak(model, "--size", arguments.size, "--batch-size", arguments.batch_size)
        print(f"{model:<40}{bytes_ / 1e9:6.2f} GB", flush=True)


if __name__ == "__main__":
    main()
