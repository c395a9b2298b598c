"""Oldest runtime that carries an artefact, by what it needs itself or by what was tried (`docs/export.md`)."""

import os
from pathlib import Path

# The files themselves say nothing of it: these ran the member with most kinds of heads.
_TRIED = {"saved_model": "TensorFlow 2.16", "onnx": "onnxruntime 1.15"}


def oldest_runtime(path: str | os.PathLike, format: str) -> str:
    """Name and version of the oldest runtime that carries an artefact, such as "onnxruntime 1.15".

    Args:
        path: the file, or the folder of a SavedModel.
        format: "saved_model", "tflite" or "onnx".
    """
    if format in _TRIED:
        return _TRIED[format]
    from keras_fpn.export.tflite import versions

    return f"TensorFlow Lite {versions.oldest_runtime(Path(path).read_bytes())}"
