"""Data and weights that the command is given; looked at without TensorFlow, so that a typo is told at once."""

import os
from pathlib import Path

from keras_fpn.checkpoints.weights_file import kept_weights
from keras_fpn.console.errors import UserError
from keras_fpn.data.layout import find_layout


def find_data(
    data: str | os.PathLike | None = None,
    annotations: str | os.PathLike | None = None,
    images: str | os.PathLike | None = None,
) -> tuple[tuple[str, str], tuple[str, str]] | None:
    """`(train, val)` of the user's data, each an annotation file and an image folder; None without any.

    Args:
        data: folder in a COCO layout, or None: then the one that `annotations` lies in.
        annotations, images: the held-out images, where they are not those of `data`.

    Raises:
        UserError: only one of `annotations` and `images`, or no layout.
    """
    if (annotations is None) != (images is None):
        raise UserError("--annotations and --images go together")
    if data is None and annotations is None:
        return None
    if data is None:
        layout = _layout_around(annotations)
    else:
        layout = find_layout(data)
    val = (str(annotations or layout.val.annotations), str(images or layout.val.images))
    return tuple(layout.train), val


def _layout_around(annotations):
    try:
        return find_layout(Path(annotations).absolute().parent.parent)
    except UserError:
        raise UserError(
            f"{annotations}: lies in no COCO layout, so nothing says what to train on; give --data DIR, too"
        ) from None


def start(text: str) -> tuple[str, str]:
    """`(backbone, weights)` of BACKBONE=FILE, the weights that rows of this backbone start from.

    FILE may be the name of a published file, which is downloaded if it is not here.

    Raises:
        UserError: it is written otherwise, or there is no such file.
    """
    backbone, _, path = text.partition("=")
    if not path:
        raise UserError(f"--weights {text}: write it as BACKBONE=FILE, for example resnet50=resnet50.keras")
    return backbone, kept_weights(path)
