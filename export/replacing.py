"""One way of computing put in the place of another, on a layer of a twin."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


def replace(layer: "keras.layers.Layer", name: str, old: Callable, new: Callable) -> None:
    """Set what a layer computes by where that is `old`; the own way of a derived type stands.

    Args:
        layer: of a twin.
        name: of the attribute: a function, or a method of the layer's class.
        old: what is replaced, such as `RoIAlign.crop`.
        new: called as `layer.name`.
    """
    if getattr(type(layer), name) is old:
        setattr(layer, name, new)
