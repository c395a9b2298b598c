"""The file of weights that a path or a name says; found without TensorFlow, so that a typo is told at once."""

import os
from pathlib import Path

from keras_fpn.checkpoints import published_cache, published_files
from keras_fpn.console.errors import UserError


def weights_file(weights: str | os.PathLike) -> Path:
    """The absolute path of the file that `weights` says.

    Args:
        weights: a `.keras` file; a run folder, which has `model.keras`; or the name of a published file, which is
            downloaded if it is not here.

    Raises:
        UserError: there is none, it is no `.keras` file, or it cannot be downloaded.
    """
    published = published_files.find(weights)
    return _keras_file(weights) if published is None else published_cache.fetch(published)


def kept_weights(weights: str | os.PathLike) -> str:
    """Return how a configuration says these weights: a published file by its name, any other by its absolute path.

    Raises:
        UserError: see `weights_file`.
    """
    file = weights_file(weights)
    return str(file if published_files.find(weights) is None else weights)


def checkpoint_file(checkpoint: str | os.PathLike) -> Path:
    """The path of the published file of that name, which is downloaded if it is not here; another path as it is.

    Raises:
        UserError: it cannot be downloaded.
    """
    published = published_files.find(checkpoint)
    return Path(checkpoint) if published is None else published_cache.fetch(published)


def _keras_file(path):
    path = Path(path).absolute()
    file = path / "model.keras" if path.is_dir() else path
    if not file.is_file():
        raise UserError(
            f"{file}: no such weights; give a .keras file, or the folder of a run with a checkpoint"
            f"{published_files.hint(file)}"
        )
    if file.suffix != ".keras":
        raise UserError(f"{file}: no .keras file; keras-fpn convert makes one of a published checkpoint")
    return file
