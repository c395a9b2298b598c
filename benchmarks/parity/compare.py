"""The Keras side of `make parity`: convert one checkpoint, run it, compare it with the recorded reference.

    python benchmarks/parity/compare.py fasterrcnn_resnet50_fpn --out runs/parity

Writes OUT/results/MODEL.json; run after reference.py, in the environment of this package.
"""

import argparse
import json
import os
import pathlib
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1]), str(HERE.parents[1] / "tests" / "golden")]

from keras_fpn.console.screen import import_quietly  # noqa: E402

import_quietly()

import augmented  # noqa: E402
import catalogue  # noqa: E402
import instances  # noqa: E402
import keras  # noqa: E402
import numpy as np  # noqa: E402
import stages  # noqa: E402
import tensorflow as tf  # noqa: E402
import training_step  # noqa: E402
from comparison import Comparison  # noqa: E402
from recording import KEPT  # noqa: E402

from keras_fpn.checkpoints import conversion  # noqa: E402
from keras_fpn.layers.pixels import PixelNormalization  # noqa: E402
from keras_fpn.models.settings import resolve  # noqa: E402


def run(model, folder):
    started = time.monotonic()
    with np.load(folder / "reference" / f"{model.name}.npz") as arrays:
        comparison = Comparison(dict(arrays), KEPT, model.source)
    checkpoint = folder / "checkpoints" / model.file
    pictures = {name: folder / "pictures" / f"{name}.jpg" for name in catalogue.PICTURES}
    converting = time.monotonic()
    converted = conversion.convert_checkpoint(checkpoint)
    converting = time.monotonic() - converting
    if model.kind == "backbone":
        _backbone(comparison, converted, pictures)
    else:
        _detector(comparison, model, converted, pictures)

        def small(*overrides):
            smaller = f"model.resize.min_side={catalogue.TRAINING_SIDE}"
            return conversion.convert_checkpoint(checkpoint, overrides=[smaller, *model.training, *overrides])

        paths = [pictures[name] for name in catalogue.TRAINING_PICTURES]
        training_step.compare_training(comparison, small, paths, model.truth(catalogue.TRUTH), model.gradients)
    _write(comparison, model, folder / "results" / f"{model.name}.json", time.monotonic() - started, converting)


def _backbone(comparison, converted, pictures):
    settings = resolve("faster_rcnn", "torchvision")
    pixels = PixelNormalization(**settings["pixels"])
    resize = settings["resize"] | {"min_side": 224}
    for batch in catalogue.BATCHES[-2:]:
        paths = [pictures[name] for name in batch]
        stages.compare_backbone(comparison, converted, pixels, resize, "+".join(batch), paths)


def _detector(comparison, model, converted, pictures):
    for batch in catalogue.BATCHES:
        name, paths = "+".join(batch), [pictures[name] for name in batch]
        stages.compare_stages(comparison, converted, name, paths)
        stages.compare_detections(comparison, converted, name, paths)
    if "augmented/boxes" in comparison.kept:
        augmented.compare(comparison, converted, pictures[catalogue.AUGMENTED_PICTURE])


def _write(comparison, model, path, seconds, converting):
    kept = comparison.kept
    result = {
        "model": model.name,
        "reference": str(kept["reference"]),
        "torch": str(kept["torch"]),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "differences": comparison.differences,
        "worst": comparison.worst,
        "heads": instances.summary(comparison),
        "matches": {name: vars(match) for name, match in comparison.matches.items()},
        "counts": {
            name: sum(len(value) for key, value in kept.items() if f"/{name}/" in key and key.endswith("/boxes"))
            for name in ("proposals", "detections")
        }
        | {"augmented": len(kept.get("augmented/boxes", ()))},
        "reference_seconds": float(kept["seconds"]),
        "convert_seconds": converting,
        "seconds": seconds,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a name of catalogue.py")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/parity"))
    arguments = parser.parse_args()
    run(catalogue.model_named(arguments.model), arguments.out)


if __name__ == "__main__":
    main()
