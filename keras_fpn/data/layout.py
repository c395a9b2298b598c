"""Where the two halves of a data set are that a model is trained and measured on."""

import os
from typing import NamedTuple

from keras_fpn.console.errors import UserError
from keras_fpn.data.formats import Half, find_halves


class Layout(NamedTuple):
    """The half that is learnt from and the one that is measured on."""

    train: Half
    val: Half


def find_layout(data: str | os.PathLike) -> Layout:
    """Find the annotations and image folders of a data set, in any format of `formats`.

    Args:
        data: a folder, or another name that a format knows, such as "tfds:voc/2012".

    Raises:
        UserError: nothing is found, something is there twice, or nothing divides the images into two halves.
    """
    known, halves = find_halves(data)
    if "train" in halves and "val" in halves:
        return Layout(halves["train"], halves["val"])
    found = ", ".join(halves)
    raise UserError(
        f"{data}: {known.title} of one subset ({found}), and training needs two, to learn from and to measure on;"
        f" keras-fpn data convert {data} OUT --val-share 0.1 divides the images"
    )
