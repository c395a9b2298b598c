"""The whole road on the embedded data set: draw it, train, measure, export, and tell what came of it on one page."""

import dataclasses
import functools
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from keras_fpn.config.loading import Config, load_config, load_run_config
from keras_fpn.console import files
from keras_fpn.console.errors import UserError
from keras_fpn.console.progress import Count
from keras_fpn.data.coco import read_coco
from keras_fpn.data.shapes import write_shapes
from keras_fpn.metrics.table import metrics_table
from keras_fpn.models.files import load_model
from keras_fpn.reporting import report
from keras_fpn.training import named_files, new_run, training

NUM_TRAIN = 1000
EXPORTS = {"saved_model": "saved_model", "tflite": "model.tflite", "onnx": "model.onnx"}  # format: name in exports/
PARITY_IMAGES = 100  # held-out images on which the exports are measured, too
_FEW_OBJECTS, _MANY_OBJECTS = 3, 8  # in the image that every runtime is shown with


def run_demo(
    out: str | os.PathLike | None = None,
    *,
    config: Config | None = None,
    num_train: int = NUM_TRAIN,
    num_val: int = 200,
    size: int = 256,
) -> training.Outcome:
    """Write the data set, train on it, evaluate on its held-out images and export, all in one run folder.

    Args:
        out: run folder; default runs/demo, or runs/demo-2 and so on where that exists.
        config: a `Config`; default "shapes".
        num_train, num_val, size: of the data set.

    Returns:
        The `training.Outcome`. Beside what a run folder holds there are data/ and exports/.
    """
    start = time.monotonic()
    config = config or load_config("shapes")
    _tell_of_missing_packages()
    with new_run.new_run_folder(out, "demo") as run_dir:
        print(f"1/3 data: {num_train} training and {num_val} held-out images of shapes", flush=True)
        with Count("draw", num_train + num_val) as count:
            write_shapes(run_dir / "data", num_train=num_train, num_val=num_val, size=size, progress=count)
        print("2/3 training and evaluation", flush=True)
        outcome = training.train(named_files.with_data(config, run_dir / "data"), run_dir)
    if not outcome.interrupted:
        print("3/3 exports: one detector, three runtimes, one answer", flush=True)
        exported = export_run(run_dir)
        print(next_steps(run_dir, outcome.metrics, exported, (time.monotonic() - start) / 60))  # type: ignore[arg-type]
    return outcome


def _tell_of_missing_packages():
    """Before the minutes of training rather than after them."""
    from keras_fpn.console import extras
    from keras_fpn.export import request

    for name in EXPORTS:
        try:
            for module in (*request.WRITERS[name], *request.RUNTIMES[name]):
                extras.check(module, extra=name)
        except UserError as error:
            print(f"note: the demo will end without {request.NAMES[name]}: {error}", flush=True)


def export_run(run_dir: Path) -> list[Path]:
    """Export the model of a run in float32 for every runtime, print their parity and add it to the report.

    Writes exports/ with the files and parity.json; a format whose packages are missing is left out, and the line says
    how to install them.

    Returns:
        The paths of what was written.
    """
    from keras_fpn.export import parity, parity_pictures

    data: Any = load_run_config(run_dir / "config.yaml").data
    data_set = read_coco(data.val.annotations, data.val.images)
    data_set = dataclasses.replace(data_set, records=data_set.records[:PARITY_IMAGES])
    model = load_model(run_dir)
    paths = [record.path for record in data_set.records]
    exports = _write(model, run_dir / "exports", paths)
    if not exports:
        return []
    table = parity.measure(
        model,
        run_dir / "model.keras",
        exports,
        data_set=data_set,
        files=paths,
        threads=parity.THREADS[-1:],
    )
    print(f"\n{table.to_text()}", flush=True)
    files.write_json(run_dir / "exports" / "parity.json", table.to_json())
    pictures = parity_pictures.pictures(model, exports, _shown(data_set.records).path)
    section = table.to_section(
        "Exports", "The detector in its own runtimes: the same held-out image in each.", pictures
    )
    report.add_section(run_dir / "report.html", section)
    return [export.path for export in exports]


def _write(model, folder, images):
    from keras_fpn.export.exporting import export_model
    from keras_fpn.export.findings import VerificationError
    from keras_fpn.export.hard_cases import pictures_of
    from keras_fpn.export.parity import Export

    exports, pictures = [], pictures_of(images)
    for name, file in EXPORTS.items():
        path = folder / file
        try:
            outcome = export_model(model, name, path, pictures=pictures, tell=functools.partial(print, flush=True))
        except (UserError, VerificationError) as error:
            print(f"left out: {name}: {error}", flush=True)
        else:
            exports.append(Export(path, outcome.finding))
    return exports


def _shown(records):
    """The first record with a few objects, or else the one with the most."""
    few = (record for record in records if _FEW_OBJECTS <= len(record.boxes) <= _MANY_OBJECTS)
    return next(few, max(records, key=lambda record: len(record.boxes)))


def next_steps(run_dir: Path, metrics: Mapping[str, Any], exported: Iterable[Path], minutes: float) -> str:
    """Return the metrics table and the commands that a person may want next."""
    detect = f"keras-fpn detect {{}} {run_dir / 'data' / 'val'} --out {run_dir / 'pictures'}"
    return "\n".join(
        [
            "",
            metrics_table(metrics),
            "",
            f"done in {minutes:.1f} minutes. Look at {run_dir / 'report.html'}, then:",
            *(f"  {detect.format(path)}" for path in (run_dir, *exported)),
            f"  keras-fpn evaluate {run_dir}",
            f"  tensorboard --logdir {run_dir / 'logs'}",
            "  keras-fpn train --help          your own COCO-format folder: --data DIR",
        ]
    )
