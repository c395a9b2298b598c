"""A published file's tensors into our variables, every one of them accounted for, and back.

Which tensor is which variable, `entries` tells.
"""

import difflib
import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from keras_fpn.console.errors import UserError

if TYPE_CHECKING:
    from keras_fpn.checkpoints.entries import Entry

SMALLEST = float(np.finfo(np.float32).tiny)
MOST_COMPARED = 100  # names; where more differ the file is of another model, and no nearest name says anything


def load(
    entries: "Iterable[Entry]",
    tensors: Mapping[str, np.ndarray],
    *,
    file: str | os.PathLike,
    is_ignored: Callable[[str], bool] = lambda name: False,
) -> None:
    """Give every variable its tensor.

    Args:
        entries: all of a model's.
        tensors: `{name: array}` of a file.
        file: its name, for messages.
        is_ignored: whether a tensor that no entry names may stay behind.

    Raises:
        UserError: tensors missing, left over or of another shape, all of them listed; a variance that is no
            variance. No variable is changed then.
    """
    entries = list(entries)
    _account_for(entries, tensors, file, is_ignored)
    for entry in entries:
        _check_variance(entry, tensors[entry.name], file)
    for entry in entries:
        entry.variable.assign(entry.transform.to_ours(tensors[entry.name]))


def written(entries: "Iterable[Entry]") -> dict[str, np.ndarray]:
    """`{name: array}` of every entry's variable, as a file of the source has it."""
    return {
        entry.name: np.ascontiguousarray(entry.transform.to_source(entry.variable.numpy()))
        for entry in entries
    }


def _account_for(entries, tensors, file, is_ignored):
    expected = {entry.name: tuple(entry.shape) for entry in entries}
    left_over = [name for name in tensors if name not in expected and not is_ignored(name)]
    missing = [name for name in expected if name not in tensors]
    differing = {
        name: f" is {list(tensors[name].shape)}, needed {list(shape)}"
        for name, shape in expected.items()
        if name in tensors and tensors[name].shape != shape
    }
    integers = {
        name: f" is {tensors[name].dtype}" for name in expected if name in tensors and tensors[name].dtype.kind != "f"
    }
    if not (left_over or missing or differing or integers):
        return
    parts = [
        _listed("left over", _with_nearest(left_over, missing)),
        _listed("missing", _with_nearest(missing, left_over)),
        _listed("of another shape", differing),
        _listed("not of floats", integers),
    ]
    raise UserError(
        f"{file}: the tensors do not fit the model, nothing was written: {'; '.join(filter(None, parts))}. Name "
        "another model with --config, or what differs in this one with --set"
    )


def _listed(what, remarks):
    """All names with their remarks; those of one module that have the same stand together: `conv1.{weight,bias}`."""
    modules = {}
    for name, remark in remarks.items():
        module, dot, tensor = name.rpartition(".")
        modules.setdefault((module + dot, remark), []).append(tensor)
    items = [
        f"{module}{tensors[0] if len(tensors) == 1 else '{' + ','.join(tensors) + '}'}{remark}"
        for (module, remark), tensors in modules.items()
    ]
    return f"{len(remarks)} {what}: {', '.join(items)}" if items else ""


def _with_nearest(names, candidates):
    """`{name: remark}`: the nearest of the candidates that ends like it, where there is one."""
    if min(len(names), len(candidates)) > MOST_COMPARED:
        return dict.fromkeys(names, "")
    by_ending = {}
    for candidate in candidates:
        by_ending.setdefault(_ending(candidate), []).append(candidate)
    close = {name: difflib.get_close_matches(name, by_ending.get(_ending(name), ()), n=1) for name in names}
    return {name: f" (nearest {near[0]})" if near else "" for name, near in close.items()}


def _ending(name):
    return name.rpartition(".")[2]


def _check_variance(entry, tensor, file):
    if entry.epsilon is None:
        return
    least = float(tensor.min())
    if least < 0:
        raise UserError(f"{file}: {entry.name} has a variance of {least:g}; the file is damaged, download it again")
    # Numbers below the smallest normal one count as 0 in TensorFlow.
    if entry.epsilon == 0 and least < SMALLEST:
        raise UserError(
            f"{file}: {entry.name} has a variance of {least:g} and the epsilon is 0, a division by zero; if the file "
            "is whole, add --set model.backbone.norm_epsilon=1e-5"
        )
