"""The layers with weights of a model, stage by stage, and those of a file laid out as the model's are.

ResNet's conv5 is the last stage of a whole backbone, but part of the head in the C4 baseline, whose backbone ends
at C4: the same layers, in another stage.
"""

from typing import NamedTuple

import keras

from keras_fpn.detector import PARTS, Detector
from keras_fpn.errors import UserError


class Layout(NamedTuple):
    """The layers of a file.

    Attributes:
        stages: `{stage: layers}`, where the model has their like.
        left: `{stage: layers}` that the model has no place for, whatever their names.
    """

    stages: dict
    left: dict


def stages(model):
    """`{stage: [layers with weights]}` of a detector or of a backbone."""
    if not isinstance(model, Detector):
        return {"backbone": _layers(model)}
    parts = {stage: getattr(model, stage, None) for stage in PARTS}
    return {stage: _layers(layer) for stage, layer in parts.items() if layer is not None}


def laid_out(source, model, file) -> Layout:
    """The layers of `source` where `model` has their like.

    Args:
        source: a detector or a backbone.
        model: the detector that is to take its weights.
        file: where the source comes from, for errors.

    Raises:
        UserError: the model's backbone goes on where the file's ends.
    """
    theirs, left = stages(source), {}
    ours, our_head, their_head = model.backbone, head_name(model), head_name(source)
    backbone = source.backbone if isinstance(source, Detector) else source
    if their_head not in (None, our_head):
        left["box_head"] = theirs.pop("box_head")
    if missing := sorted(set(ours.output) - set(backbone.output)):
        if their_head == "conv5" and our_head != "conv5" and missing == ["C5"]:
            conv5 = _layers(source.box_head.conv5)
            theirs["backbone"] += conv5
            left["box_head"] = [layer for layer in left.get("box_head", []) if layer not in conv5]
        elif backbone.name == ours.name:
            raise UserError(
                f"{file}: its backbone ends at {max(backbone.output)}, the model's goes on to {missing[-1]};"
                " give weights of a whole backbone"
            )
        return Layout(theirs, left)
    beyond = _beyond(backbone, ours.output)
    theirs["backbone"] = [layer for layer in theirs["backbone"] if layer not in beyond]
    if our_head == "conv5" and beyond:
        theirs["box_head"] = beyond
    elif beyond:
        left["backbone"] = beyond
    return Layout(theirs, left)


def head_name(model):
    """`box_head.name` of a detector's settings, None of a model without such a head."""
    return model.settings.get("box_head", {}).get("name") if isinstance(model, Detector) else None


def _beyond(backbone, levels):
    """The layers with weights that none of these maps needs."""
    if set(backbone.output) == set(levels):
        return []
    cut = keras.Model(backbone.input, {level: backbone.output[level] for level in levels})
    needed = _layers(cut)
    return [layer for layer in _layers(backbone) if layer not in needed]


def _layers(stage):
    inside = stage._flatten_layers(include_self=False)
    return [layer for layer in inside if layer.weights and not isinstance(layer, keras.Model)]
