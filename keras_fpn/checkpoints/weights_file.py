"""The file of weights that a path names; found without TensorFlow, so that a typo is told at once."""

import os
from pathlib import Path

from keras_fpn.console.errors import UserError


def weights_file(path: str | os.PathLike) -> Path:
    """The absolute path of the `.keras` file that `path` names: itself, or `model.keras` of a run folder.

    Raises:
        UserError: there is none, or it is no `.keras` file.
    """
    path = Path(path).absolute()
    file = path / "model.keras" if path.is_dir() else path
    if not file.is_file():
        raise UserError(f"{file}: no such weights; give a .keras file, or the folder of a run with a checkpoint")
    if file.suffix != ".keras":
        raise UserError(f"{file}: no .keras file; keras-fpn convert makes one of a published checkpoint")
    return file
