"""Models into files, whole or not at all."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from keras_fpn.console.files import temporary_name, whole_or_not_at_all

if TYPE_CHECKING:
    import keras

    from keras_fpn.models.detector import Detector


def save_model(model: "keras.Model", path: str | os.PathLike, older: Path | None = None) -> None:
    """Write a `.keras` file, whole or not at all; as `older` stays the one that was at `path`."""
    temporary = temporary_name(Path(path).with_suffix(".keras"))
    with whole_or_not_at_all(path, temporary, older):
        model.save(temporary)


def save_plain_model(model: "Detector", path: str | os.PathLike, plain: "Detector | None" = None) -> "Detector":
    """Write a detector without its optimizer, which would double the file that people keep and ship.

    Returns the copy that was written; given back as `plain` it spares the building of another.
    """
    if plain is None:
        plain = model.twin()
    else:
        plain.set_weights(model.get_weights())
    save_model(plain, path)
    return plain
