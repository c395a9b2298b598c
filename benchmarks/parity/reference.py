"""The reference side of `make parity`: draw a model, write its checkpoint, run the source, record every stage.

    python benchmarks/parity/reference.py fasterrcnn_resnet50_fpn --out runs/parity

In an environment with torch==2.14.1, torchvision==0.29.1, numpy, pillow and pycocotools; detectron2 if it can be
imported, else its conventions on torchvision's operators (detectron2_conventions.py), which not all models have.
"""

import argparse
import pathlib
import re
import sys
import time
import warnings

HERE = pathlib.Path(__file__).resolve().parent
# detectron2 0.6 scripts some functions of its own as it is imported.
warnings.filterwarnings("ignore", message=".*torch.jit.script.*|.*torch.meshgrid.*")
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "tests" / "golden")]

import catalogue  # noqa: E402
import numpy as np  # noqa: E402
import pictures  # noqa: E402
import recording  # noqa: E402
import reference_files  # noqa: E402
import torch  # noqa: E402


def build(model, side=None):
    """The reference of a catalogue row, and what it is, in words."""
    if model.source == "torchvision":
        import reference_torchvision as source

        make = source.Backbone if model.kind == "backbone" else source.Detector
        return make(model.name, side), source.VERSION
    try:
        import detectron2  # noqa: F401
    except ImportError:
        import detectron2_conventions as source

        if not re.fullmatch(source.MODELS, model.name):
            print(f"  {model.name}: needs detectron2 itself, which cannot be imported here", flush=True)
            sys.exit(catalogue.NEEDS_DETECTRON2)
    else:
        import reference_detectron2 as source
    return source.Detector(model.name, side), source.VERSION


def run(model, folder):
    started = time.monotonic()
    reference, version = build(model)
    files = pictures.write(folder / "pictures")
    reference.draw([files[name] for name in catalogue.BATCHES[-1]])
    reference_files.write(model, reference.state_dict(), folder / "checkpoints" / model.file)
    kept = recording.Recording()
    kept.keep("reference", version)
    kept.keep("torch", torch.__version__)
    for batch in catalogue.BATCHES[-2:] if model.kind == "backbone" else catalogue.BATCHES:
        kept_as = "+".join(batch)
        reference.record(kept_as, [files[name] for name in batch], kept)
        print(f"  {model.name}: {kept_as} {summary(kept, kept_as, len(batch))}", flush=True)
    if hasattr(reference, "record_augmented") and re.fullmatch(catalogue.AUGMENTED, model.name):
        reference.record_augmented(files[catalogue.AUGMENTED_PICTURE], kept)
    if model.kind != "backbone":
        small, _ = build(model, catalogue.TRAINING_SIDE)
        small.module.load_state_dict(reference.state_dict())
        paths = [files[name] for name in catalogue.TRAINING_PICTURES]
        small.train(paths, model.truth(catalogue.TRUTH), list(model.gradients), kept)
    kept.keep("seconds", time.monotonic() - started)
    kept.write(folder / "reference" / f"{model.name}.npz")


def summary(kept, batch, count):
    """A line that shows whether the random network says anything worth comparing."""
    arrays, lines = kept.arrays, []
    for image in range(count):
        if f"{batch}/detections/{image}/scores" in arrays:
            scores, labels = (arrays[f"{batch}/detections/{image}/{key}"] for key in ("scores", "labels"))
            classes = len(np.unique(labels))
            best = f"{scores.max(initial=0):.2f}"
            proposals = arrays.get(f"{batch}/proposals/{image}/boxes")
            if proposals is not None:
                lines.append(f"{len(proposals)} proposals")
            lines.append(f"{len(scores)} detections of {classes} classes to {best}")
    if f"{batch}/unused_probability" in arrays:
        mean, most = arrays[f"{batch}/unused_probability"]
        lines.append(f"unused ids {100 * mean:.1f} % (one box and id at most {100 * most:.1f} %)")
    return "; ".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a name of catalogue.py")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/parity"))
    arguments = parser.parse_args()
    run(catalogue.model_named(arguments.model), arguments.out)


if __name__ == "__main__":
    main()
