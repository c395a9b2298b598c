"""A SavedModel in TensorFlow, by its own signatures: of this package's layers none is needed."""

import re
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from keras_fpn.console.errors import UserError
from keras_fpn.console.picture_files import MAX_PIXELS
from keras_fpn.export.description import DESCRIPTION_FILE, Description
from keras_fpn.export.runtimes.inputs import checked_inputs


class SavedModelArtefact:
    """See `open_artefact`.

    Args:
        path: as it was given.
        folder: the version in it: the folder with saved_model.pb.
        threads: of TensorFlow's operations, before the first of them.
    """

    format = "saved_model"

    def __init__(self, path, folder, threads=None):
        self.path = path
        _set_threads(path, threads)
        self.description = _read_description(path, folder)
        try:
            self._loaded = tf.saved_model.load(str(folder))
            self._detect = self._loaded.signatures["serving_default"]
        except (OSError, ValueError, KeyError, TypeError, tf.errors.OpError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise UserError(f"{folder}: not a whole SavedModel; export it again ({reason})") from None

    def run(
        self,
        images: np.ndarray,
        image_sizes: np.ndarray | None = None,
        proposals: np.ndarray | None = None,
        num_proposals: np.ndarray | None = None,
    ) -> dict[str, np.ndarray]:
        """See `open_artefact`."""
        inputs = checked_inputs(self.path, self.description, images, image_sizes, proposals, num_proposals)
        return self._found(self._detect(**{name: tf.constant(value) for name, value in inputs.items()}))

    @property
    def most_pixels(self) -> int:
        """Pixels that all images of one `run_encoded` may have."""
        return self.description.max_pixels or MAX_PIXELS

    @property
    def takes_files(self) -> bool:
        """Whether there is a signature for `run_encoded`."""
        return "serving_bytes" in self._loaded.signatures

    def run_encoded(self, contents: Sequence[bytes]) -> dict[str, np.ndarray]:
        """Detect in encoded images: `serving_bytes`.

        Args:
            contents: B byte strings, each a JPEG, PNG, BMP, GIF or WebP file; together of at most `most_pixels`.

        Returns:
            As `run`, with boxes in the pixels of each image as it is looked at.

        Raises:
            UserError: the signature refuses an image.
        """
        signature = self._loaded.signatures["serving_bytes"]
        try:
            return self._found(signature(image_bytes=tf.constant(np.array(contents, object), tf.string)))
        except tf.errors.InvalidArgumentError as error:
            said = re.search(r"assertion failed: \[(.*?)\]\s*\[\[", error.message, re.DOTALL)
            raise UserError(f"{self.path}: {said[1] if said else error.message}") from None

    def _found(self, outputs):
        return {name: outputs[name].numpy() for name in self.description.outputs}


def _set_threads(path, threads):
    if threads is None or threads == tf.config.threading.get_intra_op_parallelism_threads():
        return
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError:
        raise UserError(f"{path}: TensorFlow runs already and keeps its threads; set them in a new process") from None


def _read_description(path, folder):
    file = folder / "assets" / DESCRIPTION_FILE
    try:
        return Description.from_json(file.read_text(encoding="utf-8"), source=file)
    except (FileNotFoundError, UnicodeDecodeError):
        raise UserError(
            f"{path}: no SavedModel that keras-fpn exported (no assets/{file.name} in it); export the model again"
        ) from None
