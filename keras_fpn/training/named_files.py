"""The files that the configuration of a run names, by absolute paths; found without TensorFlow, so that a typo is told
at once."""

import os

from keras_fpn.checkpoints.weights_file import kept_weights
from keras_fpn.config.loading import Config
from keras_fpn.console.errors import UserError
from keras_fpn.data import proposal_files, sources
from keras_fpn.data.layout import find_layout
from keras_fpn.data.sources import Names


def with_data(config: Config, data: Names | None = None) -> Config:
    """Return `config` with absolute data paths: those of the layouts found in `data`, or its own.

    Args:
        data: a folder in a known layout, or another name of a data set; of several each half has all parts.

    Raises:
        UserError: no known layout in one of them, or no data named at all.
    """
    names = [data] if isinstance(data, str | os.PathLike) else list(data or ())
    layouts = [find_layout(name) for name in names]
    tree = config.model_dump()
    for name in ("train", "val"):
        split = tree["data"][name]
        if layouts:
            split |= sources.as_settings([getattr(layout, name) for layout in layouts])
        if split["annotations"] is None:
            raise UserError(
                f"data.{name}.annotations is not set; give --data DIR or --set data.{name}.annotations=PATH"
            )
        halves = sources.as_halves(split["annotations"], split["images"])
        split |= sources.as_settings([sources.absolute(half) for half in halves])
        split["proposals"] = split["proposals"] and os.path.abspath(split["proposals"])
    return Config.model_validate(tree)


def check_data(config: Config) -> None:
    """Refuse data that are not there, before anything is read.

    Raises:
        UserError: an annotation file, an image folder or a folder of proposals is not there.
    """
    for split in (config.data.train, config.data.val):
        for half in split.sources:
            sources.check_there(half)
        if split.proposals is not None:
            proposal_files.read_proposals(split.proposals)


def with_weights(config: Config, weights: str | os.PathLike | None = None) -> Config:
    """Return `config` with the weights that training starts from: `weights`, or its own if any.

    A file is kept by its absolute path; a published file by its name, and is downloaded if it is not here.

    Raises:
        UserError: there is no such file, or it cannot be downloaded.
    """
    weights = weights or config.training.weights
    if weights is None:
        return config
    tree = config.model_dump()
    tree["training"]["weights"] = kept_weights(weights)
    return Config.model_validate(tree)
