"""Exporters, one file for each format; installed as `keras_fpn.export`.

    from keras_fpn import export
    export.export_model("runs/demo", "tflite", "detector.tflite")
    artefact = export.open_artefact("detector.tflite")
"""

import importlib

_PUBLIC = {
    "export_model": "exporting",
    "register_adapter": "adapters",
    "register_signature": "request",
    "register_undecided": "undecided",
    "Possible": "undecided",
    "open_artefact": "artefacts",
    "detect": "artefact_inference",
    "verify": "verification",
    "VerificationError": "findings",
    "write_saved_model": "to_saved_model",
    "write_tflite": "to_tflite",
    "write_onnx": "to_onnx",
}
__all__ = [*_PUBLIC]


def __getattr__(name):
    # Lazy (PEP 562): an artefact runs without TensorFlow, and its runtime may be the only one that is installed.
    if name in _PUBLIC:
        return getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *_PUBLIC])
