"""A TFLite detector in LiteRT's interpreter; no TensorFlow."""

import os
import threading
import zipfile
from pathlib import Path

import numpy as np

from keras_fpn.console import extras
from keras_fpn.console.errors import UserError
from keras_fpn.console.screen import quiet_stderr
from keras_fpn.export import digest
from keras_fpn.export.description import DESCRIPTION_FILE, Description
from keras_fpn.export.runtimes.inputs import check_names, checked_inputs
from keras_fpn.export.tflite.metadata import flatbuffer_of

MOST_BYTES = 2**24  # of a description: a small archive may unfold to gigabytes
MOST_THREADS = 4  # of its own accord; `threads` asks for more


class TFLiteArtefact:
    """See `open_artefact`. XNNPACK computes; images go through one by one, as the graph takes them.

    Without `threads` there is one for each CPU, up to `MOST_THREADS`; the interpreter's own choice is a single one.
    Threads of the caller take turns, an image each: an interpreter crashes when two are in it, and another has another
    arena.
    """

    format = "tflite"

    def __init__(self, path, threads=None, verify=False):
        self.path = path
        threads = threads or min(os.cpu_count() or 1, MOST_THREADS)
        interpreting = extras.require("ai_edge_litert.interpreter", extra="tflite")
        self._turn = threading.Lock()
        self.description = read_description(path)
        if verify:
            content = flatbuffer_of(Path(path).read_bytes())
            digest.check(content, self.description.sha256, path, "TFLite")  # the interpreter may crash on damaged ones
        try:
            with quiet_stderr():  # LiteRT announces its delegate
                self._interpreter = interpreting.Interpreter(model_path=str(path), num_threads=threads)
                self._interpreter.allocate_tensors()
            self._run_one = self._interpreter.get_signature_runner()
        except (ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(f"{path}: not a whole TFLite model; export it again ({reason})") from None
        check_names(path, self.description, self._run_one.get_input_details(), self._run_one.get_output_details())

    def run(
        self,
        images: np.ndarray,
        image_sizes: np.ndarray | None = None,
        proposals: np.ndarray | None = None,
        num_proposals: np.ndarray | None = None,
    ) -> dict[str, np.ndarray]:
        """See `open_artefact`."""
        inputs = checked_inputs(self.path, self.description, images, image_sizes, proposals, num_proposals)
        found = []
        for index in range(len(inputs["images"])):
            with self._turn:
                found.append(self._run_one(**{name: value[index : index + 1] for name, value in inputs.items()}))
        return {name: np.concatenate([one[name] for one in found]) for name in self.description.outputs}


def read_description(path: str | os.PathLike) -> Description:
    """The `Description` in the zip archive at the end of a TFLite file."""
    try:
        with zipfile.ZipFile(path) as archive:
            with archive.open(DESCRIPTION_FILE) as member:
                content = member.read(MOST_BYTES + 1)
        text = content.decode("utf-8")
    except (zipfile.BadZipFile, KeyError, UnicodeDecodeError):
        raise UserError(
            f"{path}: no TFLite file that keras-fpn exported, or cut short (no {DESCRIPTION_FILE} at its end);"
            " export the model again"
        ) from None
    if len(content) > MOST_BYTES:
        raise UserError(f"{path}: its {DESCRIPTION_FILE} is larger than {MOST_BYTES >> 20} MB; export the model again")
    return Description.from_json(text, source=path)
