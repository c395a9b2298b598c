"""`make parity`: every model through its reference and through this package, then one table.

    python benchmarks/parity/run.py --reference .venv-parity/bin/python --out runs/parity [MODEL ...]

What is there already is not done again, unless this comparison's files or the package's are newer. Exit code 1 if a
model is outside a bound.
"""

import argparse
import pathlib
import subprocess
import sys
import time

import catalogue
import table

HERE = pathlib.Path(__file__).resolve().parent
REFERENCE_SIDE = (
    "catalogue.py", "calibration.py", "spreads.py", "recording.py", "reference.py", "reference_files.py", "pictures.py",
    "hooks.py", "dense_record.py", "reference_torchvision.py", "torchvision_regions.py", "torchvision_heads.py",
    "torchvision_dense.py", "reference_detectron2.py", "detectron2_regions.py", "detectron2_heads.py",
    "detectron2_cascade.py", "detectron2_dense.py", "detectron2_conventions.py", "detectron2_masks.py",
    "detectron2_keypoints.py", "detectron2_augmented.py",
)  # fmt: skip


def is_fresh(result, sources):
    """Whether a file is there and younger than all it was made by."""
    return result.is_file() and all(source.stat().st_mtime < result.stat().st_mtime for source in sources)


def step(command, title):
    """Run a command, its output to ours; returns its exit code."""
    print(f"{time.strftime('%H:%M:%S')}  {title}", flush=True)
    code = subprocess.run(command, check=False).returncode
    if code not in (0, catalogue.NEEDS_DETECTRON2):
        print(f"error: {title}: exit code {code}", file=sys.stderr, flush=True)
    return code


def run_model(model, reference_python, out):
    """Reference, then comparison, each in a process of its own: what they hold goes back when they end.

    Returns:
        Whether the model can be compared here.
    """
    arguments = [model.name, "--out", str(out)]
    recorded = out / "reference" / f"{model.name}.npz"
    checkpoint = out / "checkpoints" / model.file
    golden = HERE.parents[1] / "tests" / "golden"
    shared = [golden / "drawn_checkpoints.py", golden / "named_draws.py"]
    done = is_fresh(recorded, [HERE / name for name in REFERENCE_SIDE] + shared) and checkpoint.is_file()
    if not done:
        code = step([reference_python, str(HERE / "reference.py"), *arguments], f"{model.name}: reference")
        if code:
            return code != catalogue.NEEDS_DETECTRON2
    result = out / "results" / f"{model.name}.json"
    package = list((HERE.parents[1] / "keras_fpn").rglob("*.py"))
    if not is_fresh(result, [recorded, *HERE.glob("*.py"), *package]):
        result.unlink(missing_ok=True)
        step([sys.executable, str(HERE / "compare.py"), *arguments], f"{model.name}: this package")
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", help="names of catalogue.py; all without")
    parser.add_argument("--reference", required=True, help="Python with torch and torchvision")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/parity"))
    arguments = parser.parse_args()
    models = [catalogue.model_named(name) for name in arguments.models] or list(catalogue.MODELS)
    started = time.monotonic()
    arguments.out.mkdir(parents=True, exist_ok=True)
    compared = [model for model in models if run_model(model, arguments.reference, arguments.out)]
    found = table.results(arguments.out, compared)
    bad = table.show(found)
    path = arguments.out / "parity.md"
    path.write_text(table.markdown(found))
    print(f"\n{path} has the table as Markdown; {(time.monotonic() - started) / 60:.0f} minutes")
    if len(compared) < len(models):
        names = ", ".join(model.name for model in models if model not in compared)
        print(f"not compared, for want of detectron2 itself (make parity DETECTRON2=FOLDER): {names}")
    if bad:
        sys.exit(f"outside a bound: {', '.join(bad)}")


if __name__ == "__main__":
    main()
