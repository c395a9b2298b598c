"""A TFLite file as objects that can be changed, and back."""

from typing import Any

import numpy as np

from keras_fpn.console import extras

FILE_IDENTIFIER = b"TFL3"


def unpacked(content: bytes) -> Any:
    """The file as a `ModelT` of the format's schema, with all weights inside.

    Args:
        content: bytes of a TFLite file; the quantizer puts weights behind the flatbuffer and tells their places.
    """
    schema = extras.require("ai_edge_litert.schema_py_generated", extra="tflite")
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    for buffer in model.buffers:
        if buffer.size:
            buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    return model


def packed(model: Any) -> bytes:
    """The file of a `ModelT`."""
    flatbuffers = extras.require("flatbuffers", extra="tflite")
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), FILE_IDENTIFIER)
    return bytes(builder.Output())


def set_entry(model: Any, name: str, content: bytes) -> None:
    """Put an entry into the metadata table, in place of one of the same name."""
    schema = extras.require("ai_edge_litert.schema_py_generated", extra="tflite")
    buffer = schema.BufferT()
    buffer.data = content
    model.buffers.append(buffer)
    entry = schema.MetadataT()
    entry.name, entry.buffer = name.encode(), len(model.buffers) - 1
    model.metadata = [one for one in model.metadata or [] if one.name != entry.name] + [entry]


def entry(model: Any, name: str) -> bytes | None:
    """The content of an entry of the metadata table, None where there is none."""
    for one in model.metadata or []:
        if one.name == name.encode():
            return bytes(model.buffers[one.buffer].data)
    return None
