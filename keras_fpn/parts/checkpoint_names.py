"""Names in published files of the layers of a part: a table for each source, which stands beside the part.

A part with weights (a backbone, a pyramid, a head) has its tables in the attribute `checkpoint_names`, of its class or
of the functional model that it is:

    checkpoint_names = {
        "torchvision": {r"conv_(\\d+)": r"rpn.head.conv.\\1.0", "objectness": "rpn.head.cls_logits"},
        "detectron2": _detectron2,  # a function of (part, model) that gives such a table
    }

The keys of a table are patterns of whole names of our layers. The values are the layers' names in a file, with what the
groups matched in them, or a `Named` where a kernel lies otherwise than usual. A table may name layers that a part has
not. `keras_fpn.checkpoints` reads and writes through the tables of all parts of a model.

Sources put the rows of classes in orders of their own, and models of other classes have other rows. Of which layers the
outputs are classes' a part says, too, in `class_rows`, `{layer: ClassRows}`. Outputs with names of other kinds are in
`named_rows`, `{layer: {variable: axis of the outputs}}`; the names are `Detector.row_names`.

Tensors have torch's layouts there: convolution (out, in, height, width), linear (out, in).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np


class Transform(NamedTuple):
    """How a tensor becomes the value of a variable, and how it gets back; the one undoes the other to the bit."""

    to_ours: Callable[[np.ndarray], np.ndarray]
    to_source: Callable[[np.ndarray], np.ndarray]


VECTOR = Transform(lambda tensor: tensor, lambda value: value)
CONVOLUTION = Transform(lambda tensor: tensor.transpose(2, 3, 1, 0), lambda value: value.transpose(3, 2, 0, 1))
# (channels, 1, height, width) there, (height, width, channels, 1) here.
DEPTHWISE = Transform(lambda tensor: tensor.transpose(2, 3, 0, 1), lambda value: value.transpose(2, 3, 0, 1))
LINEAR = Transform(np.transpose, np.transpose)


def flattened(size: int) -> Transform:
    """A linear layer on a flattened `[channels, size, size]` map; ours is flattened as `[size, size, channels]`."""

    def to_ours(tensor):
        units = tensor.shape[0]
        return tensor.reshape(units, -1, size, size).transpose(2, 3, 1, 0).reshape(-1, units)

    def to_source(value):
        units = value.shape[1]
        return value.reshape(size, size, -1, units).transpose(3, 2, 0, 1).reshape(units, -1)

    return Transform(to_ours, to_source)


def reordered(transform: Transform, order: Sequence[int] | np.ndarray, number: int) -> Transform:
    """A transform of a tensor of `number` rows: its row `order[j]` is our output j.

    Rows that are none of ours are dropped, and written back as zeros.
    """
    order = np.asarray(order)

    def to_source(value):
        ours = transform.to_source(value)
        tensor = np.zeros((number, *ours.shape[1:]), ours.dtype)
        tensor[order] = ours
        return tensor

    return Transform(lambda tensor: transform.to_ours(tensor[order]), to_source)


class ClassRows(NamedTuple):
    """Outputs of a layer that stand for classes: those of the model's classes, then others, the background's first.

    Attributes:
        width: outputs of a class: 1 of a score, 4 of a box.
        others: how many more there are, in units of `width`, that stand for no class.
        repeats: how often all of that stands there, once for each anchor of a cell.
    """

    width: int
    others: int
    repeats: int = 1


class Named(NamedTuple):
    """A layer's name in a file, and the transforms of its kernel and of its vectors where they are not the usual ones.

    `name` may hold `\\1`, what the first group of its pattern matched. It is empty of a layer that the source's files
    have not, and that stays as it was made.
    """

    name: str
    kernel: Transform | None = None
    vector: Transform = VECTOR


def named(table: Mapping[str, str | Named], layer: str) -> Named | None:
    """The `Named` of the layer that we call `layer`, or None where no pattern of the table is of it."""
    for pattern, theirs in table.items():
        if match := re.fullmatch(pattern, layer):
            theirs = theirs if isinstance(theirs, Named) else Named(theirs)
            return theirs._replace(name=match.expand(theirs.name))
    return None
