"""The searched pyramid NAS-FPN (Ghiasi et al., CVPR 2019, figure 6): stacks of seven merging cells on five levels.

    cell   level   merges                          then adds
    5      P4      attention of P6, P4
    6      P4      sum of P4, cell 5
    7      P3      sum of P3, cell 6                             leaves as P3
    8      P4      sum of cells 6, 7                             leaves as P4
    9      P5      attention of cells 8, 7         P5            leaves as P5
    10     P7      attention of cells 9, 6         P7            leaves as P7
    11     P6      attention of cells 10, 9                      leaves as P6

Of levels P3..P7; any five neighbours do. Attention is the coarser map and the finer times the sigmoid of the coarser
one's global maximum. Maps come to a cell's level by nearest upsampling or by max pooling, of as many cells as it
strides. A cell ends in a ReLU, a 3x3 convolution and a normalisation, in this order. The conventions are those of the
authors' code.
"""

from collections.abc import Mapping, Sequence

import keras

from keras_fpn.console.errors import UserError
from keras_fpn.necks.convolutions import Convolutions
from keras_fpn.necks.resampling import UpsampleLike
from keras_fpn.necks.stretches import check_run, inputs_of_run

# (level, counted from the finest; merge; cells that it merges; those that it adds). Cells 0 to 4 are the inputs.
CELLS = (
    (1, "attention", (3, 1), ()),
    (1, "sum", (1, 5), ()),
    (0, "sum", (0, 6), ()),
    (1, "sum", (6, 7), ()),
    (2, "attention", (8, 7), (2,)),
    (4, "attention", (9, 6), (4,)),
    (3, "attention", (10, 9), ()),
)
NUM_LEVELS = 5


def build_nas_fpn(
    channels_per_level: Mapping[str, int],
    channels: int,
    levels: Sequence[str],
    norm: str | None = "batch_norm",
    norm_epsilon: float = 1e-4,
    repeats: int = 7,
) -> keras.Model:
    """Functional model {"C3", "C4", "C5"} -> {"P3".."P7"}; arguments: see `build_pyramid`.

    Args:
        repeats: stacks, one after the other.

    Raises:
        UserError: other than five levels.
    """
    wanted = check_run(channels_per_level, levels)
    if len(wanted) != NUM_LEVELS:
        raise UserError(f"pyramid.levels: nas_fpn has five levels, as in P3, P4, P5, P6, P7; not {', '.join(levels)}")
    inputs, apply = inputs_of_run(channels_per_level, wanted), Convolutions(channels, norm, norm_epsilon)
    maps = [apply.of_width(x, f"lateral_{level}") for level, x in inputs.items()]
    for k in wanted[len(maps) :]:
        maps.append(_pool(maps[-1], 2, f"pool_P{k}"))
    for number in range(repeats):
        maps = _stack(maps, apply, f"stack{number}")
    return keras.Model(inputs, {f"P{k}": x for k, x in zip(wanted, maps, strict=True)}, name="pyramid")


def _stack(maps, apply, name):
    """The five maps of a stack, finest first, of those of the one before."""
    levels, cells = list(range(NUM_LEVELS)), list(maps)
    for number, (level, merge, merged, added) in enumerate(CELLS, start=NUM_LEVELS):
        cell = f"{name}_cell{number}"
        brought = [_at(level, levels[each], cells[each], maps[level], f"{cell}_from{each}") for each in merged]
        x = _MERGES[merge](*brought, f"{cell}_{merge}")
        for each in added:
            x = keras.layers.Add(name=f"{cell}_add{each}")([x, cells[each]])
        x = apply(keras.layers.ReLU(name=f"{cell}_relu")(x), 3, cell)
        levels.append(level)
        cells.append(x)
    outputs = dict(zip(levels[-NUM_LEVELS:], cells[-NUM_LEVELS:], strict=True))
    return [outputs[level] for level in range(NUM_LEVELS)]


def _at(level, own, x, grid, name):
    """A map of the level `own`, on the grid of another."""
    if own > level:
        return UpsampleLike(name=f"{name}_upsample")(x, grid)
    return _pool(x, 2 ** (level - own), f"{name}_pool") if own < level else x


def _pool(x, size, name):
    return keras.layers.MaxPooling2D(size, padding="same", name=name)(x)


def _attention(coarser, finer, name):
    best = keras.layers.GlobalMaxPooling2D(keepdims=True, name=f"{name}_maximum")(coarser)
    share = keras.layers.Activation("sigmoid", name=f"{name}_share")(best)
    return keras.layers.Add(name=name)([coarser, keras.layers.Multiply(name=f"{name}_product")([finer, share])])


_MERGES = {"attention": _attention, "sum": lambda one, other, name: keras.layers.Add(name=name)([one, other])}
