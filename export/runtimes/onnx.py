"""An ONNX detector in onnxruntime, on the CPU; no TensorFlow."""

from pathlib import Path

import numpy as np

from keras_fpn.console import extras
from keras_fpn.console.errors import UserError
from keras_fpn.export import digest
from keras_fpn.export.description import Description
from keras_fpn.export.runtimes.inputs import check_names, checked_inputs

_ERRORS_ONLY = 3  # of onnxruntime's log levels


class ONNXArtefact:
    """See `open_artefact`."""

    format = "onnx"

    def __init__(self, path, threads=None, verify=False):
        self.path = path
        runtime = extras.require("onnxruntime", extra="onnx")
        options = runtime.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            self._session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its errors have no common base but this
            reason = str(error).strip().splitlines()[0]
            raise UserError(f"{path}: not a whole ONNX model; export it again ({reason})") from None
        properties = self._session.get_modelmeta().custom_metadata_map
        self.description = Description.from_json(properties.get("keras_fpn", ""), source=path)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        check_names(path, self.description, [one.name for one in inputs], [one.name for one in outputs])
        if verify:
            digest.check(Path(path).read_bytes(), self.description.sha256, path, "ONNX")

    def run(
        self,
        images: np.ndarray,
        image_sizes: np.ndarray | None = None,
        proposals: np.ndarray | None = None,
        num_proposals: np.ndarray | None = None,
    ) -> dict[str, np.ndarray]:
        """See `open_artefact`."""
        inputs = checked_inputs(self.path, self.description, images, image_sizes, proposals, num_proposals)
        names = list(self.description.outputs)
        return dict(zip(names, self._session.run(names, inputs), strict=True))
