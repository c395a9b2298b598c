"""An exported detector, run in its own runtime: one door to all three formats.

    artefact = open_artefact("detector.tflite")
    found = artefact.run(images, image_sizes)      # {"boxes", "scores", "classes", "num_detections"}
    artefact.description.class_names

For TFLite and ONNX neither TensorFlow nor Keras is imported: NumPy and the interpreter are all that it takes.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from keras_fpn.console.errors import UserError

if TYPE_CHECKING:
    from keras_fpn.export.runtimes.onnx import ONNXArtefact
    from keras_fpn.export.runtimes.saved_model import SavedModelArtefact
    from keras_fpn.export.runtimes.tflite import TFLiteArtefact

    Artefact: TypeAlias = SavedModelArtefact | TFLiteArtefact | ONNXArtefact

SAVED_MODEL_FILE = "saved_model.pb"
_TFLITE_MARK = b"TFL3"  # the file identifier of its flatbuffer, bytes 4 to 8


def open_artefact(path: str | os.PathLike, threads: int | None = None, verify: bool = False) -> "Artefact":
    """Open an exported detector.

    Args:
        path: a `.tflite` or `.onnx` file, a SavedModel folder, or a folder of its versions, of which the highest is
            taken.
        threads: CPU threads; None leaves it to the runtime. TensorFlow takes another number only before its first
            operation.
        verify: of a TFLite or ONNX file, hold its content against the digest in it: a bit that was flipped on the way
            changes answers, and no runtime notices.

    Returns:
        An object with `format` ("saved_model", "tflite" or "onnx"), `path`, `description` (a `Description`) and
        `run(images, image_sizes=None)`: images `[B, H, W, 3]` of the description's input type, RGB 0..255; sizes
        `[B, 2]` int, of the valid part of each, pixels; `{name: array}` by the description's `outputs`, for any B. Of
        a Fast R-CNN it takes `proposals` `[B, P, 4]`, pixels of the images, and `num_proposals=None` `[B]` int (all P),
        too.

    Raises:
        UserError: there is no such file, it is something else or damaged, or its runtime is not installed.
    """
    path = Path(path)
    kind = format_of(path)
    if kind is None:
        raise UserError(f"{path}: {_what_it_is(path)}")
    if kind == "saved_model":
        from keras_fpn.export.runtimes.saved_model import SavedModelArtefact

        return SavedModelArtefact(path, highest_version(path), threads)
    if kind == "tflite":
        from keras_fpn.export.runtimes.tflite import TFLiteArtefact

        return TFLiteArtefact(path, threads, verify)
    from keras_fpn.export.runtimes.onnx import ONNXArtefact

    return ONNXArtefact(path, threads, verify)


def format_of(path: str | os.PathLike) -> str | None:
    """ "saved_model", "tflite", "onnx", or None if `path` is none of these; told by content, ONNX by its ending."""
    path = Path(path)
    if path.is_dir():
        return None if highest_version(path) is None else "saved_model"
    if not path.is_file():
        return None
    with path.open("rb") as file:
        is_tflite = file.read(8)[4:] == _TFLITE_MARK
    if is_tflite or path.suffix == ".tflite":
        return "tflite"
    return "onnx" if path.suffix == ".onnx" else None


def highest_version(path: str | os.PathLike) -> Path | None:
    """The folder with saved_model.pb: `path` itself, or `path/<highest number>`; None where there is none."""
    path = Path(path)
    if (path / SAVED_MODEL_FILE).is_file():
        return path
    versions = [item for item in path.iterdir() if item.name.isdecimal() and (item / SAVED_MODEL_FILE).is_file()]
    return max(versions, key=lambda version: int(version.name), default=None)


def _what_it_is(path):
    if not path.exists():
        return "no such file or folder; give a .tflite or .onnx file or a SavedModel folder"
    if path.suffix == ".keras" or (path / "model.keras").is_file():
        return "a Keras model, not exported yet; keras-fpn export writes it for TF Serving, TFLite or ONNX"
    return "no exported detector; give a .tflite or .onnx file or a SavedModel folder that keras-fpn export wrote"
