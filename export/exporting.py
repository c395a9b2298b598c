"""A detector written in one of three formats, held against the model, and only then put in place."""

import dataclasses
import os
import shlex
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_fpn.console import disk
from keras_fpn.console.errors import UserError
from keras_fpn.console.files import built_aside, size_of
from keras_fpn.data.sizes import padded_side
from keras_fpn.export import refusals
from keras_fpn.export.artefacts import format_of
from keras_fpn.export.description import MAX_PROPOSALS, default_input_type
from keras_fpn.export.findings import VerificationError
from keras_fpn.export.oldest_runtimes import oldest_runtime
from keras_fpn.export.request import NAMES, Request
from keras_fpn.export.tflite.calibration_images import CalibrationImages

if TYPE_CHECKING:
    import numpy as np

    from keras_fpn.models.detector import Detector


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Result of an export.

    Attributes:
        path: the file, or the folder of the SavedModel's version.
        format, precision: of it.
        bytes: its size, of all files of a folder together.
        seconds: that writing and verifying took.
        finding: of the verification, see `findings.Finding`; None without one.
        needs_proposals: whether it finds nothing by itself.
        oldest_runtime: name and version of the oldest that carries it.
    """

    path: Path
    format: str
    precision: str
    bytes: int
    seconds: float
    finding: object = None
    needs_proposals: bool = False
    oldest_runtime: str = ""


def export_model(
    model: "Detector | str | os.PathLike", format: str, out: str | os.PathLike, *, size: tuple[int, int] | None = None,
    precision: str = "float32", input_type: str | None = None, max_proposals: int | None = None,
    max_pixels: int | None = None, calibration: Any = None, signatures: Iterable[str] = (),
    version: int | None = None, verify: bool = True, force: bool = False,
    placed: Iterable[str] = (), tell: Callable[[str], None] = lambda line: None,
    pictures: "Sequence[np.ndarray]" = (),
) -> Outcome:  # fmt: skip
    """Write a detector with decode and suppression inside, and hold the file against the model before it is kept.

    Args:
        model: a `Detector`, or the path of its `.keras` file or run folder; of a run folder the validation images
            are looked at in the verification.
        format, out, size, precision, input_type, max_proposals, max_pixels, calibration, signatures, version, verify,
            force, placed: see `Request`.
        tell: called with a line for people, now and then.
        pictures: `[H, W, 3]` uint8 RGB images to look at in the verification instead.

    Returns:
        `Outcome`.

    Raises:
        UserError: the request cannot be met, see `Request.check`; or the model is no detector of this package.
        VerificationError: the artefact answers otherwise than the model; nothing is kept of it.
    """
    calibration = None if calibration is None else _as_tuple(calibration)
    request = Request(
        format, Path(out), size, precision, input_type, max_proposals, max_pixels, calibration, tuple(signatures),
        version, verify, force, tuple(placed),
    )  # fmt: skip
    request.check()
    return run(request, model, tell, pictures)


def run(
    request: Request,
    model: "Detector | str | os.PathLike",
    tell: Callable[[str], None],
    pictures: "Sequence[np.ndarray]" = (),
) -> Outcome:
    """Do what a `Request` asks for that has been checked; see `export_model`."""
    start = time.perf_counter()
    from keras_fpn.inference.detecting import check_weights

    name = model if isinstance(model, str | os.PathLike) else None
    model, own_pictures = _model_and_pictures(model, tell)
    check_weights(model, name)
    refusals.check(model, request.format)
    request.check_fields(model)
    model, further = _in_float32(model, tell), model.further_inputs
    request = _with_defaults(request, model)
    images = None
    if request.calibration is not None:
        images = CalibrationImages(request.calibration, request, model.settings["resize"])
        if len(images) < images.given:
            tell(f"calibration: {len(images)} of the {images.given} images, evenly spread")
    tell(f"writing {request.target}: {_told(request)}")
    if request.placed:
        tell(f"serving_bytes gives {', '.join(request.placed)} on the pixels of each image")
    if further:
        tell(_told_of_inputs(request, further))
    with built_aside(request.target) as path:
        _write(request, model, path, images)
        finding = _verified(request, model, path, pictures or own_pictures) if request.verify else None
    seconds = time.perf_counter() - start
    return Outcome(
        request.target, request.format, request.precision, size_of(request.target), seconds, finding,
        "proposals" in further, oldest_runtime(request.target, request.format),
    )  # fmt: skip


def summary(outcome: Outcome) -> str:
    """Describe the outcome in a few lines."""
    size = f"{outcome.bytes / 1e6:.1f} MB" if outcome.bytes >= 1e5 else f"{outcome.bytes / 1e3:.1f} kB"
    wrote = f"wrote {outcome.path}, {size}, for {outcome.oldest_runtime} and newer, in {outcome.seconds:.1f} s"
    return f"{_judgement(outcome)}\n{wrote}; next:\n  {_next(outcome)}"


def _next(outcome):
    if outcome.needs_proposals:
        path = repr(str(outcome.path))
        return f"keras_fpn.export.open_artefact({path}).run(images, sizes, proposals=boxes, num_proposals=numbers)"
    return f"keras-fpn detect {shlex.quote(str(outcome.path))} IMAGE"


def _judgement(outcome):
    found = outcome.finding
    if found is None:
        return "not verified"
    compared = f"{found.detections} detections in {found.pictures} pictures"
    if not found.detections:
        return f"verified in {found.pictures} pictures, which says little: the model finds next to nothing in them"
    why = "decided by rounding" if outcome.precision == "float32" else "without a partner"
    differences = f"boxes differ by at most {found.max_box:.2g} px, scores by {found.max_score:.2g}"
    differences += "".join(f", {name} by {most:.2g}{_regions(found, name)}" for name, most in found.further.items())
    return f"verified: {compared}: {differences}; {found.unpaired} {why}"


def _regions(found, name):
    """Of a field's values: how those that are regions overlap, or how many of a lower precision are elsewhere."""
    if name in found.overlaps:
        return f" (IoU in the image at least {found.overlaps[name]:.4f})"
    far, parts = found.far.get(name, (0, 0))
    return f" ({far} of {parts} by more)" if far else ""


def default_frame(rule: Mapping[str, Any]) -> tuple[int, int]:
    """(height, width) in pixels of a static input: the largest landscape image that the resize rule gives."""
    height, width = (padded_side(side, rule["size_divisor"]) for side in (rule["min_side"], rule["max_side"]))
    return height, width


def _as_tuple(calibration):
    return (calibration,) if isinstance(calibration, str | os.PathLike) else tuple(calibration)


def _model_and_pictures(model, tell) -> "tuple[Detector, list]":
    from keras_fpn.models.detector import Detector
    from keras_fpn.models.files import load_model

    if isinstance(model, str | os.PathLike):
        if format_of(model):
            raise UserError(f"{model}: is exported already; give the .keras file or the run folder that it was made of")
        tell(f"reading {model}")
        return load_model(model), _pictures_of_run(Path(model))
    if not isinstance(model, Detector):
        raise UserError(f"a {type(model).__name__} is no detector of this package; export an RPN, a FasterRCNN ...")
    return model, []


def _in_float32(model, tell) -> "Detector":
    """The model itself, or a copy where its policy computes in less: what a format holds is float32 to begin with."""
    if model.compute_dtype == "float32":
        return model
    tell(f"the model computes in {model.compute_dtype}; it is exported, and looked at, in float32")
    return model.twin("float32")


def _pictures_of_run(folder):
    """Some validation images of a run, [] where it has none or they have gone."""
    from keras_fpn.config.loading import load_run_config
    from keras_fpn.export.hard_cases import pictures_of
    from keras_fpn.inference.images import list_images

    config = folder / "config.yaml"
    if not config.is_file():
        return []
    try:
        images = load_run_config(config).data.val.images
        return pictures_of(list_images([images])) if images else []
    except (UserError, OSError):
        return []


def _with_defaults(request, model):
    input_type = "uint8" if request.format == "saved_model" else request.input_type or default_input_type(model)
    size = request.size
    if request.format == "tflite" and size is None:
        size = default_frame(model.settings["resize"])
    most = request.max_proposals
    if "proposals" in model.further_inputs:
        most = most or MAX_PROPOSALS
    elif most is not None:
        raise UserError(f"--max-proposals: {type(model).__name__} is given no proposals; leave it out")
    return dataclasses.replace(request, input_type=input_type, size=size, max_proposals=most)


def _told(request):
    sizes = "any size" if request.size is None else "{}x{} pixels".format(*request.size)
    return f"{NAMES[request.format]} of {request.precision}, for {request.input_type} images of {sizes}"


def _told_of_inputs(request, further):
    what = "proposals" if "proposals" in further else ", ".join(further)
    if request.format == "saved_model":
        return f"it is given {what} with the images, and so has no serving_bytes, which takes encoded images alone"
    if "proposals" not in further:
        return f"it is given {what} with the images"
    number = f"up to {request.max_proposals}" if request.format == "tflite" else "any number of"
    return f"it is given {number} proposals with the images: proposals, num_proposals"


def _write(request, model, path, images):
    try:
        if request.format == "saved_model":
            from keras_fpn.export.to_saved_model import write_saved_model

            version = 1 if request.version is None else request.version
            given = {"signatures": request.signatures, "precision": request.precision, "placed": request.placed}
            if request.max_pixels is not None:
                given["max_pixels"] = request.max_pixels
            write_saved_model(model, path.parent, version=version, **given)
        elif request.format == "tflite":
            from keras_fpn.export.to_tflite import write_tflite

            given = {"precision": request.precision, "input_type": request.input_type, "calibration": images}
            if request.max_proposals is not None:
                given["max_proposals"] = request.max_proposals
            write_tflite(model, path, size=request.size, **given)
        else:
            from keras_fpn.export.to_onnx import write_onnx

            write_onnx(model, path, input_type=request.input_type)
    except Exception as error:
        number = disk.reason(error)
        if number is None:
            raise
        raise OSError(number, os.strerror(number), str(request.target)) from error


def _verified(request, model, path, pictures):
    from keras_fpn.export.artefacts import open_artefact
    from keras_fpn.export.verification import verify

    try:
        return verify(_opened(open_artefact, path), model, pictures)
    except VerificationError as error:
        told = f"{request.target}: {error}; it was not kept (--no-verify keeps it)"
        raise VerificationError(told) from None


def _opened(open_artefact, path):
    try:
        return open_artefact(path)
    except UserError as error:  # no user can mend what was written a moment ago
        raise VerificationError(f"its runtime does not open it: {error}".replace(str(path), path.name)) from None
