"""Latency and memory of one model file, in a fresh process that imports the runtime of that file and no other.

    python -m keras_fpn.export.measuring model.tflite inputs.npz 2

`measure_apart` starts that process and reads the line of JSON that it prints.
"""

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping

import numpy as np

from keras_fpn.export.artefacts import format_of, open_artefact
from keras_fpn.export.tflite import arena

_WARM_UP = 2  # runs: the first builds or traces, the second fills caches
_LEAST_RUNS, _MOST_RUNS, _SECONDS = 5, 40, 3.0  # runs go on until the time is over, within these numbers


@dataclasses.dataclass(frozen=True)
class Measurement:
    """Measurements of one process.

    Attributes:
        threads: cores and threads that it had.
        median_ms, fastest_ms: of `runs` passes of one batch, milliseconds; inputs and outputs are numpy arrays.
        runs: passes timed, after two that warm up.
        peak_bytes: largest resident memory of the process: interpreter, runtime, weights and intermediate values.
        arena_bytes: of a TFLite file, see `tflite.arena`; else None.
    """

    threads: int
    median_ms: float
    fastest_ms: float
    runs: int
    peak_bytes: int
    arena_bytes: int | None = None


def measure_apart(path: str | os.PathLike, inputs_file: str | os.PathLike, threads: int) -> Measurement:
    """Measure a model file in a process of its own.

    Args:
        path: `.keras` file, or an artefact that `keras_fpn.export.artefacts` opens.
        inputs_file: `.npz` with "images" and "image_sizes": one batch as the model takes it.
        threads: how many the runtime may use; the process is kept on as many cores.

    Raises:
        RuntimeError: the process failed; with the last line that it wrote.
    """
    call = [sys.executable, "-m", "keras_fpn.export.measuring", os.fspath(path), os.fspath(inputs_file), str(threads)]
    # TensorFlow reads these when it starts; 1 and 1 leave it no thread besides the caller's.
    settings = {"TF_NUM_INTRAOP_THREADS": str(threads), "TF_NUM_INTEROP_THREADS": str(threads)}
    environment = os.environ | settings | {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(call, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise RuntimeError(f"{path}: cannot be measured with {threads} threads: {last}")
    return Measurement(**json.loads(done.stdout.splitlines()[-1]))


def measure_here(path: str | os.PathLike, inputs: Mapping[str, np.ndarray], threads: int) -> Measurement:
    """Measure a model file in this process; its memory is told of the whole process.

    Args:
        path: see `measure_apart`.
        inputs: `{"images", "image_sizes"}`, numpy.
        threads: see `measure_apart`.
    """
    call = _opened(path, threads)
    for _ in range(_WARM_UP):
        call(inputs)
    seconds: list[float] = []
    end = time.perf_counter() + _SECONDS
    while len(seconds) < _LEAST_RUNS or (len(seconds) < _MOST_RUNS and time.perf_counter() < end):
        start = time.perf_counter()
        call(inputs)
        seconds.append(time.perf_counter() - start)
    peak = peak_memory()  # before the arena is looked at, which takes a second interpreter
    return Measurement(
        threads=threads,
        median_ms=1000 * statistics.median(seconds),
        fastest_ms=1000 * min(seconds),
        runs=len(seconds),
        peak_bytes=peak,
        arena_bytes=arena.arena_bytes(path) if format_of(path) == "tflite" else None,
    )


def peak_memory() -> int:
    """The largest resident memory that this process had, bytes."""
    try:
        # Not getrusage: on Linux its figure survives exec, so that a child begins with the peak of its parent.
        with open("/proc/self/status", encoding="ascii") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _opened(path, threads):
    """The model as a function of its inputs."""
    if os.fspath(path).endswith(".keras"):
        from keras_fpn.models.files import load_model

        return load_model(path).predict_on_batch
    artefact = open_artefact(path, threads=threads)
    return lambda inputs: artefact.run(**inputs)


def _main(path, inputs_file, threads):
    threads = int(threads)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    with np.load(inputs_file) as arrays:
        inputs = dict(arrays)
    print(json.dumps(dataclasses.asdict(measure_here(path, inputs, threads))))


if __name__ == "__main__":
    _main(*sys.argv[1:])
