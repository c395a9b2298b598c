"""The arena of a TFLite model: the one block in which its interpreter plans all tensors that are no constants."""

import os
from pathlib import Path

from keras_fpn.console import extras

_MAPS = Path("/proc/self/maps")
_GAP = 64 * 1024  # bytes; tensors of the arena lie closer, other allocations further away


def arena_bytes(path: str | os.PathLike) -> int | None:
    """Bytes of the arena of a TFLite file, with XNNPACK as it runs by default; None where there is no /proc.

    LiteRT's Python interface does not tell them, so the addresses of the tensors do. What XNNPACK allocates for itself
    (repacked weights, its own intermediate values) is not in the arena.
    """
    if not _MAPS.exists():
        return None
    interpreter = extras.require("ai_edge_litert.interpreter", extra="tflite").Interpreter(model_path=str(path))
    interpreter.allocate_tensors()
    return max(end - start for start, end in _blocks(_spans(interpreter, _mapped(path))))


def _spans(interpreter, constants):
    """(first, past the last) byte of each tensor in memory of the interpreter, in their order."""
    spans = []
    for details in interpreter.get_tensor_details():
        try:
            values = interpreter.tensor(details["index"])()
        except (ValueError, RuntimeError):  # has no memory: it lives inside a delegate
            continue
        start = values.__array_interface__["data"][0]
        if values.nbytes and not any(first <= start < end for first, end in constants):
            spans.append((start, start + values.nbytes))
    return sorted(spans)


def _blocks(spans):
    blocks = [(0, 0)]
    for start, end in spans:
        first, last = blocks[-1]
        if start - last <= _GAP:
            blocks[-1] = first, max(last, end)
        else:
            blocks.append((start, end))
    return blocks


def _mapped(path):
    """Where the file itself is mapped into memory: its constants."""
    lines = _MAPS.read_text(encoding="utf-8", errors="replace").splitlines()
    places = [line.split()[0].split("-") for line in lines if line.endswith(str(Path(path).resolve()))]
    return [(int(first, 16), int(end, 16)) for first, end in places]
