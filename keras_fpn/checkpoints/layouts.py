"""How a published file's tensors and our variables correspond: one entry for each, read and written through it.

A source (`torchvision`, `detectron2`) lists its entries; here they are filled from a file with every tensor accounted
for, or written back. Tensors have torch's layouts: convolution (out, in, height, width), linear (out, in).
"""

import dataclasses
import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import keras
import numpy as np

from keras_fpn.backbones.resnet import ARCHITECTURES
from keras_fpn.errors import UserError

VARIANCE = "running_var"
SMALLEST = float(np.finfo(np.float32).tiny)
MOST_COMPARED = 100  # names; where more differ the file is of another model, and no nearest name says anything


class Transform(NamedTuple):
    """How a tensor becomes the value of a variable, and how it gets back; the one undoes the other to the bit."""

    to_ours: Callable[[np.ndarray], np.ndarray]
    to_source: Callable[[np.ndarray], np.ndarray]


VECTOR = Transform(lambda tensor: tensor, lambda value: value)
CONVOLUTION = Transform(lambda tensor: tensor.transpose(2, 3, 1, 0), lambda value: value.transpose(3, 2, 0, 1))
# (channels, 1, height, width) there, (height, width, channels, 1) here.
DEPTHWISE = Transform(lambda tensor: tensor.transpose(2, 3, 0, 1), lambda value: value.transpose(2, 3, 0, 1))
LINEAR = Transform(np.transpose, np.transpose)


def flattened(size):
    """A linear layer on a flattened `[channels, size, size]` map; ours is flattened as `[size, size, channels]`."""

    def to_ours(tensor):
        units = tensor.shape[0]
        return tensor.reshape(units, -1, size, size).transpose(2, 3, 1, 0).reshape(-1, units)

    def to_source(value):
        units = value.shape[1]
        return value.reshape(size, size, -1, units).transpose(3, 2, 0, 1).reshape(units, -1)

    return Transform(to_ours, to_source)


def rows(order, number):
    """A linear layer, or its bias, of `number` rows there: our output j is row `order[j]`.

    Rows that are none of ours are dropped, and written back as zeros.
    """
    order = np.asarray(order)

    def to_source(value):
        tensor = np.zeros((number, *value.shape[:-1]), value.dtype)
        tensor[order] = value.T
        return tensor

    return Transform(lambda tensor: tensor[order].T, to_source)


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
    def shape(self):
        """Shape of the tensor in the file."""
        nothing = np.broadcast_to(np.float32(0), self.variable.shape)
        return self.transform.to_source(nothing).shape


@dataclasses.dataclass(frozen=True)
class Recognition:
    """What a file is taken for.

    Attributes:
        source: "torchvision" or "detectron2".
        kind: "faster_rcnn", "rpn" or "backbone".
        title: the model's name at its source.
        config: shipped configuration that it belongs to.
        settings: `{"model.group.key": value}`, what the file differs in from that configuration.
        notes: what the keys cannot tell and the user should know.
    """

    source: str
    kind: str
    title: str
    config: str
    settings: Mapping = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()


def layer_entries(layer, name, kernel=None, bias=VECTOR) -> Iterable[Entry]:
    """Entries of a convolution, a linear layer or a batch normalisation that is called `name` in the file.

    Args:
        kernel: transform of the kernel; that of the kind of convolution if not given.
        bias: transform of the bias.
    """
    if hasattr(layer, "moving_variance"):
        yield Entry(layer.gamma, f"{name}.weight", VECTOR)
        yield Entry(layer.beta, f"{name}.bias", VECTOR)
        yield Entry(layer.moving_mean, f"{name}.running_mean", VECTOR)
        yield Entry(layer.moving_variance, f"{name}.{VARIANCE}", VECTOR, layer.epsilon)
        return
    default = DEPTHWISE if isinstance(layer, keras.layers.DepthwiseConv2D) else CONVOLUTION
    yield Entry(layer.kernel, f"{name}.weight", kernel or default)
    if layer.bias is not None:
        yield Entry(layer.bias, f"{name}.bias", bias)


def load(entries, tensors, *, file, is_ignored=lambda name: False):
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


def written(entries):
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


def resnet_name(tensors, convolution):
    """The ResNet that the blocks in a file make, such as "resnet50", or None where they make none of ours.

    Args:
        convolution: pattern of the names of each block's convolutions, with groups `stage`, `block`, `number`.
    """
    blocks, bottleneck = {}, False
    for match in filter(None, (re.fullmatch(convolution, name) for name in tensors)):
        blocks.setdefault(match["stage"], set()).add(match["block"])
        bottleneck |= match["number"] == "3"
    counts = tuple(len(blocks[stage]) for stage in sorted(blocks))
    return next((name for name, found in ARCHITECTURES.items() if found == (bottleneck, counts)), None)


def common_size(tensors, places):
    """The size that most of `places`, `(name, axis)`, have, or None: one tensor that is wrong is no witness."""
    sizes = [tensors[name].shape[axis] for name, axis in places if name in tensors and tensors[name].ndim > axis]
    return next((size for size in sizes if 2 * sizes.count(size) > len(sizes)), None)
