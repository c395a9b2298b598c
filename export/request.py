"""Request of an export, refused in one line where it cannot be done; before TensorFlow is imported."""

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING

from keras_fpn.console import extras
from keras_fpn.console.errors import UserError
from keras_fpn.console.files import check_output
from keras_fpn.console.naming import nearest
from keras_fpn.console.picture_files import MAX_PIXELS
from keras_fpn.export.artefacts import SAVED_MODEL_FILE
from keras_fpn.export.description import INPUT_TYPES, PRECISIONS
from keras_fpn.inference.listing import list_images
from keras_fpn.parts.registry import Registry

if TYPE_CHECKING:
    from keras_fpn.models.detector import Detector

# Beside serving_default and serving_bytes: names, and why a model may lack the one.
SIGNATURES = Registry("signature", "--signature")
SIGNATURES.add("raw", "has no classes to suppress, hence no raw")
SIGNATURES.add("proposals", "makes no proposals")
ENDINGS = {"tflite": ".tflite", "onnx": ".onnx"}  # a SavedModel is a folder
NAMES = {"saved_model": "SavedModel", "tflite": "TFLite", "onnx": "ONNX"}
# Modules without which a format cannot be written, and those without which it cannot be run.
WRITERS = {"saved_model": (), "tflite": ("ai_edge_litert",), "onnx": ("tf2onnx", "onnx")}
RUNTIMES = {"saved_model": (), "tflite": ("ai_edge_litert",), "onnx": ("onnxruntime",)}


def register_signature(name: str, lack: str) -> None:
    """Give a name to what a stage may give besides detections, see `Stage.signatures`; `--signature NAME` asks for it.

    Args:
        name: of the signature in a SavedModel.
        lack: what is said of a model that does not give it, after the model's name: "has no colours".

    Raises:
        UserError: there is another of the name.
    """
    SIGNATURES.add(name, lack)


@dataclasses.dataclass(frozen=True)
class Request:
    """Request of an export.

    Attributes:
        format: "saved_model", "tflite" or "onnx".
        out: file, or folder of a SavedModel's versions.
        size: (height, width) of a TFLite file's input, pixels; None: see `default_frame`.
        precision: one of the format's, see `description.PRECISIONS`.
        input_type: of TFLite and ONNX, "uint8" or "float32"; None: what the model's own resize rule yields.
        max_proposals: of a `FastRCNN` in TFLite, rows of its proposals; None: see `description.MAX_PROPOSALS`.
        max_pixels: of an encoded image that a SavedModel decodes, more are refused; None: as many as `detect` opens.
        calibration: for int8, images: paths, folders, PIL images or arrays.
        signatures: further ones of a SavedModel, of `SIGNATURES`.
        placed: names of output fields that a SavedModel's `serving_bytes` gives in the image itself; see
            `OutputField.placed`.
        version: of a SavedModel; None is 1.
        verify: whether the artefact is held against the model.
        force: whether an older one is replaced.
    """

    format: str
    out: Path
    size: tuple[int, int] | None = None
    precision: str = "float32"
    input_type: str | None = None
    max_proposals: int | None = None
    max_pixels: int | None = None
    calibration: tuple | None = None
    signatures: tuple[str, ...] = ()
    version: int | None = None
    verify: bool = True
    force: bool = False
    placed: tuple[str, ...] = ()

    @property
    def target(self) -> Path:
        """Target: the file, or the folder of the version."""
        if self.format != "saved_model":
            return self.out
        return self.out / str(1 if self.version is None else self.version)

    def check(self) -> None:
        """Refuse what cannot be done before any work begins.

        Raises:
            UserError: an unknown name, an option that does not go with the format, a place that is taken or cannot be
                written, a package that is missing.
        """
        self._check_names()
        self._check_options()
        self._check_place()
        modules = WRITERS[self.format] + (RUNTIMES[self.format] if self.verify else ())
        for module in modules:
            extras.check(module, extra=self.format)
        if self.format == "tflite" and self.precision != "float32":
            extras.check("ai_edge_quantizer", extra="tflite")

    def _check_names(self):
        if self.format not in PRECISIONS:
            raise UserError(f"--format: unknown format {self.format!r}{nearest(self.format, PRECISIONS)}")
        valid = PRECISIONS[self.format]
        if self.precision not in valid:
            known = sorted({name for names in PRECISIONS.values() for name in names})
            if self.precision in known:
                raise UserError(
                    f"--precision {self.precision} does not go with --format {self.format};"
                    f" valid are {', '.join(valid)}"
                )
            raise UserError(f"--precision: unknown precision {self.precision!r}{nearest(self.precision, valid)}")
        for name in self.signatures:
            _ = SIGNATURES[name]
        if self.input_type is not None and self.input_type not in INPUT_TYPES:
            raise UserError(f"--input-type: unknown type {self.input_type!r}{nearest(self.input_type, INPUT_TYPES)}")

    def _check_options(self):
        given = {
            "--size": (self.size is not None, ("tflite",), "it takes images of any size"),
            "--max-proposals": (self.max_proposals is not None, ("tflite",), "it takes any number"),
            "--max-pixels": (self.max_pixels is not None, ("saved_model",), "it takes pixels, and no files"),
            "--input-type": (self.input_type is not None, ("tflite", "onnx"), "it takes uint8"),
            "--signature": (bool(self.signatures), ("saved_model",), "it has no signatures"),
            "--in-image": (bool(self.placed), ("saved_model",), "it takes resized pixels, and no files"),
            "--model-version": (self.version is not None, ("saved_model",), "it is one file, without versions"),
        }
        for option, (is_given, formats, reason) in given.items():
            if is_given and self.format not in formats:
                raise UserError(f"{option} does not go with --format {self.format}: {reason}; leave it out")
        for option, number, usual in (("proposals", self.max_proposals, 1000), ("pixels", self.max_pixels, MAX_PIXELS)):
            if number is not None and number < 1:
                raise UserError(f"--max-{option} {number}: give a whole number above 0, {usual} is usual")
        if self.calibration is not None and self.precision != "int8":
            raise UserError("--calibration goes with --precision int8 only; leave it out, or ask for int8")
        if self.calibration is None and self.precision == "int8":
            raise UserError(
                "--precision int8 needs --calibration IMAGE_OR_FOLDER...: some 100 images like those it will see;"
                " dynamic_int8 needs none"
            )
        list_images([each for each in self.calibration or () if isinstance(each, str | os.PathLike)])

    def check_fields(self, model: "Detector") -> None:
        """Refuse output fields that a model cannot give in the image itself.

        Args:
            model: a `Detector`.

        Raises:
            UserError: it has no such field, or none that a graph can place; or no signature that knows the image.
        """
        known = {field.name: field for field in model.output_fields}
        for name in self.placed:
            if name not in known:
                raise UserError(f"--in-image: {model.title} gives no {name!r}{nearest(name, known)}")
            if known[name].placed() is None:
                able = ", ".join(name for name, field in known.items() if field.placed() is not None)
                raise UserError(
                    f"--in-image: {name!r} cannot be given otherwise than it is"
                    + (f"; valid are {able}" if able else f"; {model.title} has nothing that can: leave it out")
                )
        if self.placed and model.further_inputs:
            raise UserError(f"--in-image: {model.title} has no serving_bytes, whose outputs these are; leave it out")

    def _check_place(self):
        if self.out == Path():
            raise UserError("--out: is empty; give the name of a file or folder")
        ending = ENDINGS.get(self.format)
        if ending is not None and self.out.suffix != ending:
            raise UserError(f"--out {self.out}: {NAMES[self.format]} is a {ending} file; give it that ending")
        if ending is None and self.out.suffix in (".keras", *ENDINGS.values()):
            raise UserError(f"--out {self.out}: a SavedModel is a folder; give it a name without {self.out.suffix}")
        check_output(self.out, folder=ending is None)
        if ending is None and (self.out / "model.keras").exists():
            raise UserError(f"--out {self.out}: is a run folder; give the SavedModel one of its own")
        check_output(self.target, folder=ending is None)
        if self.target.exists() and not self.force:
            beside = "" if ending else ", --model-version N writes another beside it"
            raise UserError(f"{self.target}: exists already; --force replaces it{beside}")
        if ending is None:
            self._check_folders()

    def _check_folders(self):
        """Refuse to write a version into another, where nobody looks for it, or in place of what was never one."""
        if (self.out / SAVED_MODEL_FILE).exists():
            raise UserError(f"--out {self.out}: is one version of a SavedModel; give the folder that holds versions")
        if self.target.exists() and any(self.target.iterdir()) and not (self.target / SAVED_MODEL_FILE).exists():
            raise UserError(f"{self.target}: is no SavedModel, and --force replaces none but such; move it away")
