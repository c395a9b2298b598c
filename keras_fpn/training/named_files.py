"""The files that the configuration of a run names, by absolute paths; found without TensorFlow, so that a typo is told
at once."""

import os

from keras_fpn.checkpoints.weights_file import weights_file
from keras_fpn.config.loading import Config
from keras_fpn.console.errors import UserError
from keras_fpn.data import image_files, instances, proposal_files
from keras_fpn.data.layout import find_layout


def with_data(config: Config, data_dir: str | os.PathLike | None = None) -> Config:
    """Return `config` with absolute data paths: those of the COCO layout in `data_dir`, or its own.

    Raises:
        UserError: no known layout in `data_dir`, or no data named at all.
    """
    if data_dir:
        train, val = (half._asdict() for half in find_layout(data_dir))
    else:
        train, val = {}, {}
    tree = config.model_dump()
    for name, found in (("train", train), ("val", val)):
        split = tree["data"][name] | found
        for key in ("annotations", "images"):
            if split[key] is None:
                raise UserError(
                    f"data.{name}.{key} is not set; give --data DIR or --set data.{name}.{key}=PATH"
                )
        tree["data"][name] = {key: value and os.path.abspath(value) for key, value in split.items()}
    return Config.model_validate(tree)


def check_data(config: Config) -> None:
    """Refuse data that are not there, before anything is read.

    Raises:
        UserError: an annotation file, an image folder or a folder of proposals is not there.
    """
    for split in (config.data.train, config.data.val):
        if split.annotations is not None and split.images is not None:
            instances.check_there(split.annotations)
            image_files.check_folder(split.images, split.annotations)
        if split.proposals is not None:
            proposal_files.read_proposals(split.proposals)


def with_weights(config: Config, path: str | os.PathLike | None = None) -> Config:
    """Return `config` with the absolute path of the weights that training starts from: `path`, or its own if any.

    Raises:
        UserError: there is no such file.
    """
    path = path or config.training.weights
    if path is None:
        return config
    tree = config.model_dump()
    tree["training"]["weights"] = str(weights_file(path))
    return Config.model_validate(tree)
