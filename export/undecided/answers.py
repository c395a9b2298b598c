"""The rules by the type of a stage, and the walk through a model's stages that has each rule asked."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_fpn.export.type_table import TypeTable
from keras_fpn.export.undecided import dense, detections, keypoints, proposals, segments
from keras_fpn.export.undecided.states import IN, SCORE_ROOM, Possible, certain
from keras_fpn.stages.classify import ClassifyStage
from keras_fpn.stages.dense import DenseStage
from keras_fpn.stages.keypoint import KeypointStage
from keras_fpn.stages.propose import ObjectsStage, ProposeStage
from keras_fpn.stages.segment import SegmentStage
from keras_fpn.stages.stage import Stage

if TYPE_CHECKING:
    import tensorflow as tf

    from keras_fpn.export.findings import Bounds
    from keras_fpn.models.detector import Detector

RULES = TypeTable(
    "undecided rule",
    {
        ProposeStage: proposals.of_stage,
        ObjectsStage: proposals.of_objects,
        ClassifyStage: detections.of_stage,
        DenseStage: dense.of_stage,
        SegmentStage: segments.of_stage,
    },
)
# Of the values of a stage's fields: which of them rounding leaves open.
VALUES = TypeTable("rule of undecided values", {KeypointStage: keypoints.of_stage})


@dataclasses.dataclass(frozen=True)
class Answer:
    """All that an image's detections may be, in no order.

    Attributes:
        boxes: `[N, 4]` pixels of the image given.
        scores: `[N]`.
        classes: `[N]`, 0 of a model without classes.
        is_certain: `[N]` bool: whatever the rounding, this one is there; the others may be.
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    is_certain: np.ndarray


def register_undecided(stage_type: type[Stage], rule: Callable[..., dict[str, Possible]]) -> None:
    """Say which decisions of a stage rounding may turn.

    `rule(stage, features, state, possible, room)` gives what the stage may leave, `{key: Possible}`, for one image:
    features and state are the model's own, as the stage left it, `possible` is what the stages before may have left (of
    a key that is not in it, what is in the state is certain), and scores and logits may move by `room`.

    Args:
        stage_type: class of stages; types derived from it have the rule, too, unless they have their own.
        rule: see above.

    Raises:
        UserError: the type has another rule.
    """
    RULES.add(stage_type, rule)


def answer(
    model: "Detector", inputs: "dict[str, tf.Tensor]", room: float = SCORE_ROOM, ratio: float | np.ndarray = 1.0
) -> Answer:
    """The `Answer` of a `Detector` to one image.

    Args:
        inputs: of the model, tensors of a batch of one: `images` RGB 0..255, `image_sizes`, ...
        room: what scores and logits may move by.
        ratio: `[4]`, by which its boxes are multiplied.
    """
    possible: dict[str, Possible] = {}
    before: dict[str, Any] = {}
    for stage, features, state in model.steps(inputs):
        rule = RULES.of(stage)
        if rule is not None:
            possible |= rule(stage, features, state, possible, room)
        else:
            possible = {key: rows for key, rows in possible.items() if _keeps(before[key], state[key])}
        before = state
    found = possible.get("detections") or certain(state["detections"], "num_detections")
    return Answer(found.boxes * ratio, found.scores, found.classes, found.states == IN)


def are_open(
    model: "Detector",
    inputs: "dict[str, tf.Tensor]",
    name: str,
    boxes: np.ndarray,
    values: np.ndarray,
    bound: float,
    bounds: "Bounds | None" = None,
) -> np.ndarray:
    """Whether the model's own numbers leave open what an artefact says of detections that both have.

    Args:
        model: a `Detector`.
        inputs: of the model, tensors of a batch of one.
        name: of an output field.
        boxes: `[N, 4]` of the model's detections, in pixels of its inputs.
        values: `[N, *shape]` of the artefact, in the same pixels.
        bound: how far values may be apart and count as the same.
        bounds: instead of `bound` and of rounding, the `Bounds` of a lower precision.

    Returns:
        bool that broadcasts against the values without their last axis; False where the field's stage has no rule.
    """
    for stage, features, _ in model.steps(inputs):
        if name in {field.name for field in stage.fields} and (rule := VALUES.of(stage)) is not None:
            return rule(stage, features, boxes, values, bound, bounds)
    return np.zeros(len(boxes), bool)


def _keeps(before, after):
    """Whether rows are the same, but for fields that are added."""
    return all(name in after and np.array_equal(value, after[name]) for name, value in before.items())
