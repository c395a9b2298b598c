"""Peak memory of `keras-fpn evaluate` on many images against few, each with 1000 proposals.

    python benchmarks/evaluation_memory.py [--images 5000] [--folder FOLDER]

A tiny model that suppresses nothing proposes every anchor: many more boxes near objects than a trained one has, and
these are what an evaluation keeps. The data set, of pictures of 64 px, is drawn into FOLDER once (an empty one of the
system's by default).
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FEW = 50
SETTINGS = [
    "model.proposals.pre_nms_top_k_test=1000", "model.proposals.post_nms_top_k_test=1000",
    "model.proposals.nms_threshold=1.0", "model.detections.score_threshold=0", "model.detections.max_detections=100",
]  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    _prepare(folder, arguments.images)
    peaks = [_peak(folder, number) for number in (FEW, arguments.images)]  # the larger last: peaks only grow
    print(f"{(peaks[1] - peaks[0]) / 1e9:.2f} GB more")


def _prepare(folder, images):
    import keras_fpn
    from keras_fpn.data.shapes import CLASS_NAMES, write_shapes

    if not (folder / "model.keras").is_file():
        config = keras_fpn.load_config("tiny", SETTINGS).model
        model = keras_fpn.FasterRCNN(
            len(CLASS_NAMES), profile=config.profile, class_names=list(CLASS_NAMES), **config.differences()
        )
        model.save(folder / "model.keras")
    for number in (FEW, images):
        if not (folder / str(number)).is_dir():
            write_shapes(folder / str(number), num_train=1, num_val=number, size=64)


def _peak(folder, number):
    """Bytes."""
    data = folder / str(number)
    arguments = ["--annotations", data / "annotations" / "instances_val.json", "--images", data / "val"]
    start = time.perf_counter()
    call = [sys.executable, "-m", "keras_fpn", "evaluate", folder / "model.keras", *arguments]
    subprocess.run(list(map(str, call)), check=True, stdout=subprocess.DEVNULL)
    peak = 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(f"{number} images: {peak / 1e9:.2f} GB, {time.perf_counter() - start:.0f} s", flush=True)
    return peak


if __name__ == "__main__":
    main()
