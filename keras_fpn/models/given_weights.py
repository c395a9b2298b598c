"""Weights as an argument of a model: `FasterRCNN(3, weights="fasterrcnn_resnet50_fpn_v2")`.

The files are read by a room that builds on this one. It is asked by its name, when there are weights.
"""

import importlib
import inspect
import os
from typing import Any

_READER = "keras_fpn.checkpoints.beginning"


class TakesWeights(type):
    """Makes the models of a class, those with `weights` by what the file of these says; see `Detector`."""

    def __call__(cls, *args: Any, weights: str | os.PathLike | None = None, **kwargs: Any) -> Any:
        if weights is None:
            return super().__call__(*args, **kwargs)
        begun = importlib.import_module(_READER).begun
        return begun(cls, weights, _by_name(cls, args, kwargs), super().__call__)


def _by_name(cls, args, kwargs) -> dict[str, Any]:
    """Arguments of the constructor by their names."""
    signature = inspect.signature(cls.__init__)
    given = dict(signature.bind_partial(None, *args, **kwargs).arguments)
    del given[next(iter(signature.parameters))]
    for name, parameter in signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            given |= given.pop(name, {})
    return given
