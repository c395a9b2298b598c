"""tensorflow-datasets: imported when a data set is read, and without its noise."""

import contextlib
import importlib
import importlib.util
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from keras_fpn.console.errors import UserError
from keras_fpn.console.screen import import_quietly
from keras_fpn.data.tfds.prepared import find_prepared


def check_installed() -> None:
    """Refuse to go on without the package, before it takes its seconds to import.

    Raises:
        UserError: it is not installed; the line says how to install it.
    """
    if importlib.util.find_spec("tensorflow_datasets") is None:
        raise UserError('tensorflow-datasets is not installed; pip install "keras-fpn[tfds]"')


def package() -> ModuleType:
    """tensorflow-datasets.

    Raises:
        UserError: see `check_installed`; or it fails to load.
    """
    check_installed()
    import_quietly()
    tfds = importlib.import_module("tensorflow_datasets")
    if not hasattr(tfds, "builder_from_directory"):  # it writes what went wrong, and is imported without its content
        raise UserError(
            "tensorflow-datasets is installed and does not load, as its own error above says; where that is about"
            ' protobuf: pip install "tensorflow-metadata<1.18"'
        )
    return tfds


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Within this context TFDS and TensorFlow say nothing below an error: they warn of names of their own."""
    loggers = [logging.getLogger(name) for name in ("absl", "tensorflow")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def open_builder(folder: str | os.PathLike) -> Any:
    """The `tfds.core.DatasetBuilder` of a prepared data set.

    Raises:
        UserError: the package is missing, or cannot read the folder.
    """
    tfds = package()
    try:
        with quiet():
            return tfds.builder_from_directory(os.fspath(folder))
    except Exception as error:  # whatever a damaged or very old description leads it to
        raise UserError(f"{folder}: TFDS cannot read it ({_first_line(error)}); prepare the data set again") from None


def prepare(data: str, tfds_dir: str | os.PathLike | None = None) -> Path:
    """Download and prepare a data set by TFDS's own code, with its own progress; the folder of one that is there.

    Raises:
        UserError: the package is missing, there is no such data set, or it cannot be had.
    """
    with contextlib.suppress(UserError):
        return find_prepared(data, tfds_dir)
    tfds = package()
    try:
        with quiet():
            builder = tfds.builder(data, data_dir=None if tfds_dir is None else os.fspath(tfds_dir))
            builder.download_and_prepare()
    except Exception as error:  # of the network, of the source of the data, of a package that the builder needs
        raise UserError(
            f"tfds:{data}: TFDS cannot prepare it ({_first_line(error)}); check the name, or prepare it by hand as its"
            " page in the catalogue says"
        ) from None
    return Path(builder.data_dir)


def _first_line(error):
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
