"""Which tensor of a published file each variable of a model is: read off the tables that stand beside the parts."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence

import keras
import numpy as np

from keras_fpn.checkpoints.weighted_layers import layers_of, own_weights, parts
from keras_fpn.console.errors import UserError
from keras_fpn.parts.checkpoint_names import (
    CONVOLUTION,
    DEPTHWISE,
    LINEAR,
    ClassRows,
    Transform,
    named,
    reordered,
)

# Our variables' names and torch's.
TENSORS = {
    "kernel": "weight", "gamma": "weight", "bias": "bias", "beta": "bias", "moving_mean": "running_mean",
    "moving_variance": "running_var", "relative_position_bias_table": "relative_position_bias_table",
    "layer_scale": "layer_scale", "pos_embed": "pos_embed", "rel_pos_h": "rel_pos_h", "rel_pos_w": "rel_pos_w",
}  # fmt: skip
# The first kind that a layer is of tells how its kernel lies in a file.
KERNELS = ((keras.layers.DepthwiseConv2D, DEPTHWISE), (keras.layers.Dense, LINEAR), (keras.layers.Layer, CONVOLUTION))


@dataclasses.dataclass(frozen=True)
class Entry:
    """One of our variables, the name of the tensor that it is in a file, and the way between them.

    `epsilon` is that of the normalisation where the tensor is its variance, None elsewhere.
    """

    variable: keras.Variable
    name: str
    transform: Transform
    epsilon: float | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor in the file."""
        nothing = np.broadcast_to(np.float32(0), self.variable.shape)
        return self.transform.to_source(nothing).shape


def entries(
    model: keras.Model,
    source: str,
    class_rows: Callable[[keras.Model, ClassRows], tuple[Sequence[int], int]] | None = None,
) -> Iterable[Entry]:
    """Entries of all weights of a model.

    Args:
        model: a detector, or a backbone by itself.
        source: whose names, a key of `checkpoint_names`.
        class_rows: `(model, ClassRows) -> (order, number)`, arguments of `reordered`; without, classes come in our
            order there, too.

    Raises:
        UserError: a part of the model has no names at this source.
    """
    for name, part in parts(model).items():
        layers = layers_of(part)
        if not layers:
            continue
        table = getattr(part, "checkpoint_names", {}).get(source)
        if table is None:
            raise UserError(f"{name} {_kind(model, name, part)}: not among {source}'s; its weights have no names there")
        table = table(part, model) if callable(table) else table
        for layer in layers:
            theirs = named(table, layer.name)
            if theirs is None:
                raise UserError(f"{name} {_kind(model, name, part)}: {layer.name} has no name among {source}'s")
            if not theirs.name:
                continue
            rows = getattr(part, "class_rows", {}).get(layer.name)
            order = class_rows(model, rows) if rows and class_rows else None
            yield from _layer_entries(layer, theirs, order)


def _kind(model, name, part):
    """Which of its kind a part is: as a configuration calls it."""
    settings = getattr(model, "settings", {}).get(name, {})
    return settings.get("name", part.name if part is model else type(part).__name__)


def _layer_entries(layer, theirs, order):
    usual = next(transform for kind, transform in KERNELS if isinstance(layer, kind))
    for variable in own_weights(layer):
        if variable.name not in TENSORS:
            raise UserError(f"{layer.name}: no published file has the like of its {variable.name}")
        transform = (theirs.kernel or usual) if variable.name == "kernel" else theirs.vector
        if order is not None:
            transform = reordered(transform, *order)
        epsilon = layer.epsilon if variable.name == "moving_variance" else None
        yield Entry(variable, f"{theirs.name}.{TENSORS[variable.name]}", transform, epsilon)
