"""Versions of a TFLite file's operators, and with them the oldest runtime that carries it.

A runtime refuses an operator of a version that it does not know. The quantizer leaves the versions of the float32 file:
a runtime that knows no weights with a scale for each channel (tflite-runtime 2.14) takes them for weights with one, and
answers nonsense. TensorFlow's converter states the right versions in each file that passes through it, and passes one
through to look for sparse weights: of what comes out, the versions are taken, and nothing else.
"""

from typing import Any

from keras_fpn.export.tflite import flatbuffer

_OLDEST = "min_runtime_version"  # the converter's name for it


def stated(content: bytes) -> bytes:
    """The file with the versions that its operators need, and the oldest runtime that knows them.

    Args:
        content: bytes of a TFLite file.
    """
    from tensorflow.lite.python import convert

    model = flatbuffer.unpacked(content)
    passed = flatbuffer.unpacked(convert.mlir_sparsify(flatbuffer.packed(model)))
    needed: dict[int, int] = {}
    for code in passed.operatorCodes:
        needed[_kind(code)] = max(code.version, needed.get(_kind(code), 1))
    for code in model.operatorCodes:
        code.version = max(code.version, needed.get(_kind(code), 1))
    flatbuffer.set_entry(model, _OLDEST, flatbuffer.entry(passed, _OLDEST) or b"")
    return flatbuffer.packed(model)


def oldest_runtime(content: bytes) -> str | None:
    """The version of TensorFlow Lite that a file asks for, such as "2.17.0"; None where it does not say.

    Args:
        content: bytes of a TFLite file.
    """
    entry = flatbuffer.entry(flatbuffer.unpacked(content), _OLDEST) or b""
    return entry.rstrip(b"\0").decode() or None


def _kind(code: Any) -> int:
    # Old files have the number in a byte, new ones in an integer, and the other one is 0 or 127.
    return max(code.builtinCode, code.deprecatedBuiltinCode)
