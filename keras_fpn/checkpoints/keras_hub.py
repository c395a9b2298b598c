"""Presets of KerasHub's RetinaNet: torchvision's weights in Keras' layout, given back torchvision's names.

A preset is a folder, as `save_to_preset` of KerasHub 0.32 writes it:

    config.json          the backbone and the pyramid, of which the blocks of the ResNet are read
    model.weights.h5     their weights
    task.weights.h5      those of the two heads

Keras names what is in a file by class and number. In a ResNet with bottlenecks the numbers run through the blocks, and
a shortcut comes before the last convolution of its block.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from keras_fpn.checkpoints.tensors import StoredTensor, numeric_type
from keras_fpn.console.errors import UserError

CONFIG, MODEL, TASK = "config.json", "model.weights.h5", "task.weights.h5"
_AGAIN = "save or download the preset again"
_READ = "a preset of a RetinaNet on a ResNet with bottlenecks is read"
# torchvision's names of the variables of a layer, in the order of the file; a convolution has the first, or two.
_VARIABLES = ("weight", "bias", "running_mean", "running_var")
# KerasHub names the heads by their order.
_HEADS = {
    "layers/prediction_head": ("head.regression_head", "bbox_reg"),
    "layers/prediction_head_1": ("head.classification_head", "cls_logits"),
}


def is_preset(path: Path) -> bool:
    """Whether a path is the folder of a detector that KerasHub saved."""
    return path.is_dir() and (path / CONFIG).is_file() and (path / TASK).is_file()


def num_bytes(path: Path) -> int:
    """Size of the weights of a preset."""
    return sum((path / name).stat().st_size for name in (MODEL, TASK))


def stored(path: Path) -> dict[str, StoredTensor]:
    """The tensors of a preset under torchvision's names, as torch lays them out.

    Raises:
        UserError: it is another detector's, or lacks a tensor; the error does not name the folder.
    """
    import h5py  # only here: what takes no preset need not wait for it

    blocks = _blocks(path)
    if not (path / MODEL).is_file():
        raise UserError(f"has no {MODEL}; {_AGAIN}")
    tensors: dict[str, StoredTensor] = {}
    with h5py.File(path / MODEL) as model, h5py.File(path / TASK) as task:
        layers = [(model, *layer) for layer in (*_resnet(blocks), *_pyramid())]
        layers += [(task, *layer) for layer in _heads(task)]
        for file, place, name in layers:
            tensors |= _layer(file, place, name)
    return tensors


def _blocks(path):
    """Numbers of the blocks of the stages of the ResNet."""
    try:
        config = json.loads((path / CONFIG).read_text())
        kind, encoder = config["class_name"], config["config"].get("image_encoder", {})
        settings = encoder.get("config", {})
        is_right = kind == "RetinaNetBackbone" and encoder["class_name"] == "ResNetBackbone"
    except (ValueError, KeyError, AttributeError, TypeError):
        raise UserError(f"has a {CONFIG} that is none of KerasHub's; {_AGAIN}") from None
    if not is_right or settings.get("block_type") != "bottleneck_block" or settings.get("use_pre_activation"):
        network = f"{encoder.get('class_name')} {settings.get('block_type', '')}".strip()
        raise UserError(f"is KerasHub's {kind} on {network}; {_READ}")
    return settings["stackwise_num_blocks"]


def _resnet(blocks: list[int]) -> Iterator[tuple[str, str]]:
    """`(place in the file, torchvision's name)` of its convolutions and norms."""
    names = [("conv1", "bn1")]
    for stage, number in enumerate(blocks, start=1):
        for block in range(number):
            inside = [(f"conv{index}", f"bn{index}") for index in (1, 2, 3)]
            if block == 0:
                inside.insert(2, ("downsample.0", "downsample.1"))
            place = f"layer{stage}.{block}"
            names += [(f"{place}.{convolution}", f"{place}.{norm}") for convolution, norm in inside]
    for number, (convolution, norm) in enumerate(names):
        yield _numbered("layers/functional/layers/conv2d", number), f"backbone.body.{convolution}"
        yield _numbered("layers/functional/layers/batch_normalization", number), f"backbone.body.{norm}"


def _pyramid():
    for number in range(3):
        yield _of_pyramid("lateral", number), f"backbone.fpn.inner_blocks.{number}.0"
        yield _of_pyramid("output", number), f"backbone.fpn.layer_blocks.{number}.0"
    for number, level in enumerate(("p6", "p7"), start=3):
        yield _of_pyramid("output", number), f"backbone.fpn.extra_blocks.{level}"


def _of_pyramid(kind, number):
    return _numbered(f"layers/feature_pyramid/{kind}_conv_layers/conv2d", number)


def _heads(task):
    for place, (name, predictor) in _HEADS.items():
        for number in range(len(task.get(f"{place}/conv_layers", ()))):
            yield _numbered(f"{place}/conv_layers/conv2d", number), f"{name}.conv.{number}.0"
        for number in range(len(task.get(f"{place}/group_norm_layers", ()))):
            norm = _numbered(f"{place}/group_norm_layers/group_normalization", number)
            yield norm, f"{name}.conv.{number}.1"
        yield f"{place}/prediction_layer", f"{name}.{predictor}"


def _numbered(place, number):
    return f"{place}_{number}" if number else place


def _layer(file, place, name):
    """`{torchvision's name: StoredTensor}` of a layer."""
    if f"{place}/vars" not in file:
        raise UserError(f"has no {place} in {Path(file.filename).name}; {_AGAIN}")
    found = file[f"{place}/vars"]
    named = zip(sorted(found, key=int), _VARIABLES, strict=False)
    return {f"{name}.{variable}": _tensor(found[number]) for number, variable in named}


def _tensor(dataset):
    """Tensor in a file that is closed by then, read only once its size was held against the file's."""
    path, place, axes = dataset.file.filename, dataset.name, (3, 2, 0, 1) if dataset.ndim == 4 else (0,)
    shape = tuple(dataset.shape[axis] for axis in axes[: dataset.ndim])

    def read():
        import h5py

        with h5py.File(path) as file:
            return np.asarray(file[place]).transpose(axes[: len(shape)])

    return StoredTensor(shape, numeric_type(dataset.dtype.str), read)
