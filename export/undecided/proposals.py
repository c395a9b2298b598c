"""Which proposals may be made."""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from keras_fpn.export.undecided.states import Possible, above, cut, large_enough, nms_states, within_the_best
from keras_fpn.ops import boxes as box_ops

if TYPE_CHECKING:
    from keras_fpn.layers.proposals import ProposalLayer


def of_stage(
    stage: Any, features: dict[str, tf.Tensor], state: dict[str, Any], possible: dict[str, Possible], room: float
) -> dict[str, Possible]:
    """The rule of a stage with `score_anchors` and a `ProposalLayer` in `proposals`: "proposals", scored by logits."""
    inputs = state["inputs"]
    return {"proposals": of_layer(stage.proposals, stage.score_anchors(features, inputs), inputs["image_sizes"], room)}


def of_objects(
    stage: Any, features: dict[str, tf.Tensor], state: dict[str, Any], possible: dict[str, Possible], room: float
) -> dict[str, Possible]:
    """The rule of such a stage whose proposals are the detections, scored by probabilities."""
    found = of_stage(stage, features, state, possible, room)["proposals"]
    return {"detections": dataclasses.replace(found, scores=tf.sigmoid(found.scores).numpy())}


def of_layer(
    layer: "ProposalLayer", scored: dict[str, dict[str, tf.Tensor]], image_sizes: tf.Tensor, room: float
) -> Possible:
    """`Possible` proposals of one image, scored by logits.

    Args:
        layer: a `ProposalLayer`.
        scored: what it is called with: `{"objectness": {level: [1, A_l]}, "deltas": {level: [1, A_l, 4]}, "anchors":
            {level: [A_l, 4]}}`.
        image_sizes: `[1, 2]` height and width, pixels.
        room: what logits may move by.
    """
    levels = []
    for level, anchors in scored["anchors"].items():
        logits = tf.cast(scored["objectness"][level][0], tf.float32).numpy()
        rows, states = cut(logits, layer.pre_nms_top_k_test, room)
        deltas = tf.gather(tf.cast(scored["deltas"][level][0], tf.float32), rows)
        boxes = box_ops.decode(deltas, tf.gather(anchors, rows), layer.box_weights)
        boxes = box_ops.clip(boxes, image_sizes[0]).numpy()
        states = np.minimum(states, large_enough(boxes, layer.min_size))
        probabilities = tf.sigmoid(logits[rows]).numpy()
        states = np.minimum(states, above(probabilities, layer.score_threshold, room))
        levels.append((boxes, logits[rows], nms_states(boxes, logits[rows], states, layer.nms_threshold, room)))
    boxes, logits, states = (np.concatenate(parts) for parts in zip(*levels, strict=True))
    return Possible.of(boxes, logits, within_the_best(logits, states, layer.post_nms_top_k_test, room))
