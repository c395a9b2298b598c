"""One table of a detector in every runtime: how far its answers are off, its AP, its size, latency and memory.

    python -m keras_fpn.export.parity runs/demo --annotations data/annotations/instances_val.json --images data/val

Every figure comes from running the file in its own runtime. Differences and AP are those of this process; latency and
memory are measured in a fresh process for each file and number of threads (`measuring`).
"""

import dataclasses
import functools
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_fpn.console.files import size_of
from keras_fpn.console.progress import Count
from keras_fpn.data import sizes as image_sizes
from keras_fpn.data.coco import CocoDataset
from keras_fpn.evaluation.measuring import evaluator_of
from keras_fpn.export import (
    artefact_inference,
    artefacts,
    measuring,
    parity_notes,
    preprocessing,
    regular_proposals,
)
from keras_fpn.export.description import default_input_type, describe
from keras_fpn.export.findings import VerificationError
from keras_fpn.export.parity_table import Row, Table
from keras_fpn.inference import images
from keras_fpn.metrics.measurement import MAIN_OUTPUT

if TYPE_CHECKING:
    from keras_fpn.export.artefacts import Artefact
    from keras_fpn.models.detector import Detector

THREADS = (1, 2)
_USUAL_IMAGE = (480, 640)  # height, width of the noise that is timed where there are no pictures


@dataclasses.dataclass(frozen=True)
class Export:
    """A file to measure: its path, and the `findings.Finding` where it has been compared with the model already."""

    path: Path
    finding: object = None

    @functools.cached_property
    def artefact(self) -> "Artefact":
        """See `open_artefact`; with all cores, since LiteRT would take one. TensorFlow has what it began with."""
        threads = None if artefacts.format_of(self.path) == "saved_model" else os.cpu_count()
        return artefacts.open_artefact(self.path, threads=threads)


def measure(
    model: "Detector",
    model_file: str | os.PathLike,
    exports: Sequence[Export],
    *,
    data_set: CocoDataset | None = None,
    files: Sequence[str | os.PathLike] = (),
    threads: Sequence[int] = THREADS,
) -> Table:
    """Measure a detector and its exported files.

    Args:
        model: a `Detector`.
        model_file: the `.keras` file of it.
        exports: `Export`s.
        data_set: a `CocoDataset` to measure the main metric on; None leaves that column out.
        files: real pictures: a few of them for the differences, the first for the timings.
        threads: numbers of threads to time with.

    Returns:
        The `Table`: the model itself, then the model on letterboxed images where an artefact sees others than the
        model would, then the artefacts.

    Raises:
        UserError: a file is no artefact, its runtime is not installed, or the annotations are of other classes.
    """
    # Imported here: they import TensorFlow, which the command does only after its arguments have been looked at.
    from keras_fpn.export.hard_cases import pictures_of

    opened = [export.artefact for export in exports]
    metric = None if data_set is None else _Metric(model, data_set)
    pictures = pictures_of(files) if files else []
    with tempfile.TemporaryDirectory(prefix="keras_fpn_parity") as folder:
        clock = _Clock(Path(folder), images.read_image(files[0])[0] if files else _noise(), threads)
        rows = [_model_row(model, model_file, metric, clock)]
        rows += [_framed_row(model, one, metric) for one in _other_frames(model, opened, data_set)]
        rows += [_row(model, export, pictures, metric, clock) for export in exports]
    notes = parity_notes.notes(rows, data_set, pictures, clock.image.shape)
    name = None if metric is None else metric.name
    return Table(f"{model.title}: one detector, every runtime", tuple(rows), name, notes)


def _model_row(model, model_file, metric, clock):
    from keras_fpn.inference import detecting

    found = _measured(metric, "keras", lambda files: detecting.iterate(model, files, threshold=0.0))
    inputs = preprocessing.batch([clock.image], model.settings["resize"], "float32")
    return Row(
        format="keras",
        precision=model.compute_dtype,
        path=str(model_file),
        size_bytes=size_of(model_file),
        measurements=clock(model_file, inputs),
        **found,
    )


def _framed_row(model, description, metric):
    framed = _LetterboxedModel(model, description)
    row = Row("keras", model.compute_dtype, description.frame)
    found = _measured(metric, row.name, lambda files: artefact_inference.iterate(framed, files, threshold=0.0))
    return dataclasses.replace(row, **found)


def _row(model, export, pictures, metric, clock):
    artefact, description = export.artefact, export.artefact.description
    row = Row(artefact.format, description.precision, description.frame, str(export.path), size_of(export.path))
    row = dataclasses.replace(row, **_differences(model, export, pictures))
    found = _measured(
        metric,
        f"{row.format} {row.precision}",
        lambda files: artefact_inference.iterate(artefact, files, threshold=0.0),
    )
    inputs = preprocessing.prepare([clock.image], description)
    inputs |= regular_proposals.needed_by(description, inputs["image_sizes"])
    return dataclasses.replace(row, **found, measurements=clock(export.path, inputs))


def _measured(metric, name, iterate):
    """"metric" and "further" of a `Row`."""
    if metric is None:
        return {}
    main, *others = metric.of(name, iterate).items()
    return {"metric": main[1], "further": dict(others)}


def _differences(model, export, pictures):
    from keras_fpn.export import verification

    finding = export.finding
    if finding is None:
        print(f"compare {export.path} with the model", flush=True)
        try:
            finding = verification.verify(export.artefact, model, pictures)
        except VerificationError as error:
            return {"refusal": str(error)}
    return {
        "max_box": finding.max_box,
        "max_score": finding.max_score,
        "compared": finding.detections,
        "alone": finding.unpaired,
    }


class _Metric:
    """The main metric of each family that measures a model's detections, on annotated images, whatever runs it."""

    def __init__(self, model, data_set: CocoDataset):
        model.check_classes(data_set.class_names, data_set.category_ids, data_set.annotations)
        self._records, self._families = data_set.records, model.metric_families[MAIN_OUTPUT]
        self._evaluator = evaluator_of(data_set)

    @property
    def name(self):
        """Of the first family, as metrics.json has it."""
        return self._families[0].main

    def of(self, name, iterate):
        """`{name: 0..1}` of what `iterate(files)` yields: an `ImageDetections` for each file."""
        results, ids = [], [record.image_id for record in self._records]
        with Count(f"{self.name} of {name}", len(ids)) as count:
            found = iterate([record.path for record in self._records])
            for done, (image_id, one) in enumerate(zip(ids, found, strict=True), start=1):
                results += one.to_results(image_id)
                count(done)
        return {each.main: each.measure(self._evaluator, results, ids)[each.main] for each in self._families}


class _Clock:
    """Times a file on one `image` in fresh processes: `clock(path, inputs) -> (Measurement, ...)`."""

    def __init__(self, folder, image, threads):
        self.image, self._folder, self._threads = image, folder, threads

    def __call__(self, path, inputs):
        file = self._folder / "inputs.npz"
        np.savez(file, **inputs)
        measured = []
        for threads in self._threads:
            print(f"time {path}, threads: {threads}", flush=True)
            measured.append(measuring.measure_apart(path, file, threads))
        return tuple(measured)


class _LetterboxedModel:
    """The model itself behind the door of an artefact with a frame: `artefact_inference` letterboxes for it."""

    def __init__(self, model, description):
        self.description, self._model = description, model

    def run(self, images, image_sizes):
        return self._model.predict_on_batch({"images": images.astype(np.float32), "image_sizes": image_sizes})


def _other_frames(model, opened, data_set):
    """A description for each frame in which the images of the data set are not what the model's own rule gives."""
    sizes = set() if data_set is None else {(record.height, record.width) for record in data_set.records}
    other = {}
    for artefact in opened:
        frame, input_type = artefact.description.frame, artefact.description.input_type
        rounds = input_type != default_input_type(model)
        if frame and any(rounds or not _fits(size, frame, model.settings["resize"]) for size in sizes):
            other[frame, input_type] = describe(model, input_type=input_type, frame=frame)
    return other.values()


def _fits(size, frame, rule):
    """Whether an image of this size looks the same letterboxed as it does by the model's own rule."""
    own = image_sizes.resized_size(*size, rule), image_sizes.padded_size(*size, rule)
    return own == (image_sizes.fit_size(*size, frame, rule["rounding"]), tuple(frame))


def _noise():
    return np.random.default_rng(0).integers(0, 256, (*_USUAL_IMAGE, 3), np.uint8)


if __name__ == "__main__":
    from keras_fpn.export.parity_command import main

    sys.exit(main())
