"""`Detector.export`, Keras' own name for it: the way of `keras-fpn export`, which keeps what answers as the model does.

The files are written by a package that builds on this one. It is asked by its name, when there is something to export.
"""

import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_fpn.console.errors import UserError

if TYPE_CHECKING:
    from keras_fpn.models.detector import Detector

_WRITER = "keras_fpn.export.exporting"
_FORMATS = {"tf_saved_model": "saved_model", "litert": "tflite"}  # Keras' names for formats of other names here


def export(model: "Detector", filepath: str | os.PathLike, format: str, verbose: bool | None, **options: Any) -> Path:
    """See `Detector.export`."""
    if options.pop("input_signature", None) is not None:
        raise UserError(
            "input_signature: an exported detector takes images of any size and number; leave it out (a TFLite file"
            " takes those of size=(height, width))"
        )
    if format == "openvino":
        raise UserError("format: OpenVINO reads the ONNX file as it is; give 'onnx'")
    writer = importlib.import_module(_WRITER)
    tell = (lambda line: None) if verbose is False else print
    outcome = writer.export_model(model, _FORMATS.get(format, format), filepath, tell=tell, **options)
    tell(writer.summary(outcome))
    return outcome.path
