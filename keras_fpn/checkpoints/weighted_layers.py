"""The layers with weights of a model, part by part, and those of a file laid out as the model's are.

ResNet's conv5 is the end of a whole backbone, but part of the head in the C4 baseline, whose backbone ends
at C4: the same layers, in another part.
"""

import os
from typing import NamedTuple

import keras

from keras_fpn.console.errors import UserError
from keras_fpn.models.detector import Detector


class LaidOut(NamedTuple):
    """The layers of a file.

    Attributes:
        parts: `{part: layers}`, where the model has their like.
        left: `{part: layers}` that the model has no place for, whatever their names.
    """

    parts: dict
    left: dict


def parts(model: keras.Model) -> dict[str, keras.layers.Layer]:
    """`{name: layer or functional model}` of what of a detector has weights; a backbone is its own."""
    if not isinstance(model, Detector):
        return {"backbone": model}
    return model.parts


def layers_by_part(model: keras.Model) -> dict[str, list[keras.layers.Layer]]:
    """`{part: [layers with weights]}` of a detector or of a backbone."""
    return {name: layers_of(part) for name, part in parts(model).items()}


def laid_out(source: keras.Model, model: Detector, file: str | os.PathLike) -> LaidOut:
    """The layers of `source` where `model` has their like.

    Args:
        source: a detector or a backbone.
        model: the detector that is to take its weights.
        file: where the source comes from, for errors.

    Raises:
        UserError: the model's backbone goes on where the file's ends.
    """
    theirs, left = layers_by_part(source), {}
    ours, our_head, their_head = model.backbone, head_name(model), head_name(source)
    backbone = source.backbone if isinstance(source, Detector) else source
    if their_head not in (None, our_head):
        left["box_head"] = theirs.pop("box_head")
    if missing := sorted(set(ours.output) - set(backbone.output)):
        if their_head == "conv5" and our_head != "conv5" and missing == ["C5"]:
            conv5 = layers_of(source.box_head.conv5)
            theirs["backbone"] += conv5
            left["box_head"] = [layer for layer in left.get("box_head", []) if layer not in conv5]
        elif backbone.name == ours.name:
            raise UserError(
                f"{file}: its backbone ends at {max(backbone.output)}, the model's goes on to {missing[-1]};"
                " give weights of a whole backbone"
            )
        return LaidOut(theirs, left)
    beyond = _beyond(backbone, ours.output)
    theirs["backbone"] = [layer for layer in theirs["backbone"] if layer not in beyond]
    if our_head == "conv5" and beyond:
        theirs["box_head"] = beyond
    elif beyond:
        left["backbone"] = beyond
    return LaidOut(theirs, left)


def head_name(model: keras.Model) -> str | None:
    """`box_head.name` of a detector's settings, None of a model without such a head."""
    return model.settings.get("box_head", {}).get("name") if isinstance(model, Detector) else None


def backbone_norms(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers that normalise with `backbone.norm_epsilon`: the backbone's, and those of conv5 in a head."""
    layers = layers_by_part(model)["backbone"]
    if head_name(model) == "conv5":
        layers = layers + layers_of(model.box_head.conv5)
    return [layer for layer in layers if hasattr(layer, "moving_variance")]


def _beyond(backbone, levels):
    """The layers with weights that none of these maps needs."""
    if set(backbone.output) == set(levels):
        return []
    cut = keras.Model(backbone.input, {level: backbone.output[level] for level in levels})
    needed = layers_of(cut)
    return [layer for layer in layers_of(backbone) if layer not in needed]


def layers_of(part: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The layers of a part that have weights of their own; it may be one of them."""
    return [layer for layer in part._flatten_layers() if own_weights(layer)]


def own_weights(layer: keras.layers.Layer) -> list[keras.Variable]:
    """The weights of a layer without those of the layers in it."""
    inside = {id(weight) for each in layer._flatten_layers(include_self=False) for weight in each.weights}
    return [weight for weight in layer.weights if id(weight) not in inside]
