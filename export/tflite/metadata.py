"""Metadata of a TFLite file, in two places, and plain names for its inputs and outputs.

    the flatbuffer's own metadata table   "keras_fpn.json", where the tools of the format look
    a zip archive at the end of the file  keras_fpn.json and labels.txt, for a program that has an interpreter and a
                                          standard library: `zipfile.ZipFile("model.tflite").read("labels.txt")`

A flatbuffer is read from its start and a zip archive from its end, so that one file is both.
"""

import dataclasses
import io
import zipfile

from keras_fpn.export import digest
from keras_fpn.export.description import DESCRIPTION_FILE, LABELS_FILE, Description
from keras_fpn.export.tflite import flatbuffer

# The archive's times: the same model gives the same bytes.
ARCHIVE_DATE = (1980, 1, 1, 0, 0, 0)


def add(content: bytes, description: Description) -> bytes:
    """The file with a description.

    Args:
        content: bytes of a TFLite file with one signature.
        description: a `Description`.

    Returns:
        bytes, a TFLite file and a zip archive at once.
    """
    description = dataclasses.replace(description, sha256=digest.PLACE)
    model = flatbuffer.unpacked(content)
    model.description = description.title.encode()
    _name_plainly(model)
    flatbuffer.set_entry(model, DESCRIPTION_FILE, description.to_json().encode())
    sealed, of_it = digest.sealed(flatbuffer.packed(model))
    description = dataclasses.replace(description, sha256=of_it)
    return _with_archive(
        sealed, {LABELS_FILE: description.labels(), DESCRIPTION_FILE: description.to_json()}
    )


def flatbuffer_of(content: bytes) -> bytes:
    """The part of a file before its archive."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return content[: min(member.header_offset for member in archive.infolist())]


def _name_plainly(model):
    """Name the tensors that go in and come out as the signature calls them, "boxes" and not "...Call:0"."""
    for signature in model.signatureDefs:
        tensors = model.subgraphs[signature.subgraphIndex].tensors
        for given in (*signature.inputs, *signature.outputs):
            tensors[given.tensorIndex].name = given.name


def _with_archive(content, files):
    stream = io.BytesIO()
    stream.write(content)
    # Appending keeps what is there and counts places from the file's start, so that any reader of zip agrees.
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name, ARCHIVE_DATE), text, zipfile.ZIP_DEFLATED)
    return stream.getvalue()
