"""Which layers of a model train, where that was said by hand: `layer.trainable = False`, as people freeze in Keras.

Keras keeps it in no file, and an optimizer whose variables are not those that it was saved with starts anew.
"""

from collections.abc import Collection, Iterator

import keras

from keras_fpn.console.errors import UserError


def layers_by_path(model: keras.Model) -> dict[str, keras.layers.Layer]:
    """`{"backbone/res2_block1_conv1": layer, ...}` of every layer, those that hold others before these."""
    found: dict[str, keras.layers.Layer] = {}
    for path, layer in _walk("", model):
        found.setdefault(path, layer)
    return found


def _walk(path: str, layer: keras.layers.Layer) -> Iterator[tuple[str, keras.layers.Layer]]:
    for inside in layer._flatten_layers(recursive=False, include_self=False):
        own = f"{path}{inside.name}"
        yield own, inside
        yield from _walk(f"{own}/", inside)


def untrained(model: keras.Model) -> list[str]:
    """The paths of the layers that do not train."""
    return [path for path, layer in layers_by_path(model).items() if not layer.trainable]


def set_untrained(model: keras.Model, paths: Collection[str]) -> None:
    """Let the layers of some paths not train, and all others train.

    Raises:
        UserError: the model has no such layer.
    """
    layers = layers_by_path(model)
    unknown = sorted(set(paths) - set(layers))
    if unknown:
        raise UserError(f"untrained_layers: the model has no layer {unknown[0]!r}; save the model again")
    for path, layer in layers.items():  # those that hold others first: they set these, too
        if layer.trainable != (path not in paths):
            layer.trainable = path not in paths
