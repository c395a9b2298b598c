"""Recognition of a published file: its source, its kind, the configuration that it belongs to."""

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import numpy as np

from keras_fpn.checkpoints import detectron2, foreign, torchvision
from keras_fpn.checkpoints.published import PublishedKind, kind_of
from keras_fpn.checkpoints.published.identity import Identity
from keras_fpn.console.errors import UserError
from keras_fpn.console.naming import nearest

SOURCES = {"torchvision": torchvision, "detectron2": detectron2}


def source_of(tensors: Mapping[str, np.ndarray], file: Path, name: str | None = None) -> ModuleType:
    """The module of the source of a file.

    Args:
        tensors: `{name: array}` of the file.
        file: its path.
        name: what the user says.

    Raises:
        UserError: nobody's file that is read here, or an unknown name.
    """
    if name is not None:
        if name not in SOURCES:
            raise UserError(f"--source {name}: unknown{nearest(name, SOURCES)}")
        return SOURCES[name]
    for source in SOURCES.values():
        if source.is_source_of(tensors):
            return source
    raise foreign.refusal(tensors, file)


def recognise(
    source: ModuleType, tensors: Mapping[str, np.ndarray], file: Path, forced: bool = False
) -> tuple[type[PublishedKind], Identity]:
    """Tell what a file is.

    Args:
        source: the module of its source.
        tensors: with current names.
        file: its path.
        forced: the user says whose it is, so that what is missing is told tensor by tensor.

    Returns:
        `(PublishedKind, Identity)`.

    Raises:
        UserError: an architecture that is not converted, unless `forced`.
    """
    kind = kind_of(source.NAME, tensors)
    if not forced:
        foreign.refuse_other_heads(tensors, file, kind)
        stem, convolution = source.resnet_convolutions(tensors)
        foreign.refuse_other_blocks(tensors, stem, convolution, file)
    backbone = kind.backbone(tensors) or source.backbone_of(tensors)
    if not (backbone or forced):
        raise UserError(f"{file}: its backbone has the blocks of no network here; {foreign.readable()}")
    return kind, kind.recognise(tensors, backbone, file)
