"""Certain and undecided boxes of a detector's answer: the last digits of float32 decide the latter.

Two runtimes round differently, so a score a hair from a threshold, an overlap a hair from another, or one of two equal
scores at the end of a full list may fall on either side. Here the model's decisions are taken again with room for
that: every one comes out as certain, or as undecided where its numbers stand too near. A box that only one runtime
gives is no fault if it is among the undecided ones, and only then.

    states        certain, undecided, out: thresholds, cuts and suppression with room for rounding
    proposals     the rule of what proposes
    detections    the rule of what classifies proposals
    dense         the rule of what classifies all anchors
    segments      the rule of segments' best positions
    keypoints     the rule of the places of keypoints
    answers       the rules by the type of a stage, and the walk through a model's stages

A stage without a rule has no undecided rows: what it gives is what the model gives, for certain. Rows that
it only adds a field to stay as certain as they were; what the field says of them may itself be left open by rounding,
where a rule of the stage's values says so.
"""

from keras_fpn.export.undecided.answers import Answer, answer, are_open, register_undecided
from keras_fpn.export.undecided.states import IN, OUT, UNDECIDED, Possible, nms_states, within_the_best

__all__ = [
    "IN", "OUT", "UNDECIDED", "Answer", "Possible", "answer", "are_open", "register_undecided", "nms_states",
    "within_the_best",
]  # fmt: skip
