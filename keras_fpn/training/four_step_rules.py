"""Which runs can be of four steps, and which are; told without TensorFlow."""

import os
from pathlib import Path

from keras_fpn.config.loading import Config
from keras_fpn.console.errors import UserError
from keras_fpn.data.augmentations import active

SHARED = ("backbone", "pyramid")


def is_four_step(run_dir: str | os.PathLike) -> bool:
    """Whether this is the folder of such a run."""
    return (Path(run_dir) / "four_step.json").is_file()


def check(config: Config, source: str | os.PathLike) -> None:
    """Refuse, before hours of step 1, what a later step would refuse.

    Raises:
        UserError: the configuration does not suit; `source` names it.
    """
    if config.model.architecture != "faster_rcnn":
        raise UserError(
            f"{source}: --four-step trains the two stages of a faster_rcnn in turn, and model.architecture is"
            f" {config.model.architecture}; leave --four-step out or choose another configuration"
        )
    for name in ("train", "val"):
        if getattr(config.data, name).proposals:
            raise UserError(f"{source}: data.{name}.proposals: --four-step makes proposals of its own; leave it out")
    if config.data.scale_jitter:
        raise UserError(f"{source}: data.scale_jitter: given proposals cannot follow it; set data.scale_jitter=null")
    for each in active(config.data.augment):
        if each.operations:
            key = f"data.augment.{each.name}.probability"
            raise UserError(f"{source}: {key}: given proposals cannot follow it; set {key}=0")
    others = [part for part in config.training.freeze if part not in SHARED]
    if others:
        raise UserError(
            f"{source}: training.freeze: {others[0]!r} is no part of every step; with --four-step backbone and pyramid"
            " can be frozen from the start"
        )
