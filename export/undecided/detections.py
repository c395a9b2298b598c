"""Which detections may be made of proposals."""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from keras_fpn.export.undecided.states import Possible, above, certain, large_enough, nms_states, within_the_best
from keras_fpn.layers.class_agnostic_detections import ClassAgnosticDetections
from keras_fpn.layers.soft_detections import SoftDetections
from keras_fpn.ops import boxes as box_ops

if TYPE_CHECKING:
    from keras_fpn.layers.detections import DetectionLayer


def of_stage(
    stage: Any, features: dict[str, tf.Tensor], state: dict[str, Any], possible: dict[str, Possible], room: float
) -> dict[str, Possible]:
    """The rule of a stage with `predict` and a `DetectionLayer` in `detections`: "detections" of the proposals."""
    proposals = possible.get("proposals") or certain(state["proposals"], "num_proposals")
    if not len(proposals.boxes):
        return {"detections": proposals}
    given = {
        "boxes": tf.constant(proposals.boxes[None], tf.float32), "num_proposals": tf.constant([len(proposals.boxes)])
    }  # fmt: skip
    rois, logits, deltas = stage.predict(features, given, state["inputs"])
    proposals = dataclasses.replace(proposals, boxes=np.asarray(rois["boxes"][0]))
    return {"detections": of_layer(stage.detections, proposals, logits, deltas, state["inputs"]["image_sizes"], room)}


def of_layer(
    layer: "DetectionLayer",
    proposals: Possible,
    class_logits: tf.Tensor,
    deltas: tf.Tensor,
    image_sizes: tf.Tensor,
    room: float,
) -> Possible:
    """`Possible` detections of one image.

    Args:
        layer: a `DetectionLayer`.
        proposals: `Possible` ones, R of them.
        class_logits: `[1, R, K + N]`, and
        deltas: `[1, R, K or 1, 4]` of them, see `DetectionLayer`.
        image_sizes: `[1, 2]` height and width, pixels.
        room: what scores may move by.
    """
    class_logits, deltas = class_logits[0], deltas[0]
    scores = tf.nn.softmax(tf.cast(class_logits, tf.float32)).numpy()[:, : layer.num_classes]  # [R, K]
    anchors = tf.constant(proposals.boxes[:, None], tf.float32)
    boxes = box_ops.decode(tf.cast(deltas, tf.float32), anchors, layer.box_weights)
    boxes = np.broadcast_to(box_ops.clip(boxes, image_sizes), (*scores.shape, 4))  # [R, K, 4]
    if isinstance(layer, SoftDetections):
        scores = _lowered(layer, boxes, scores, room)
    every = np.arange(scores.shape[1])
    found = []
    for labels in [every] if isinstance(layer, ClassAgnosticDetections) else np.split(every, len(every)):
        rows, columns = np.nonzero(scores[:, labels] > layer.score_threshold - room)
        of_group, own = boxes[rows, labels[columns]], scores[rows, labels[columns]]
        states = np.minimum(proposals.states[rows], above(own, layer.score_threshold, room))
        states = np.minimum(states, large_enough(of_group, layer.min_size))
        if not isinstance(layer, SoftDetections):
            states = nms_states(of_group, own, states, layer.nms_threshold, room)
        found.append((of_group, own, labels[columns], states))
    boxes, scores, classes, states = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return Possible.of(boxes, scores, within_the_best(scores, states, layer.max_detections, room), classes)


def _lowered(layer, boxes, scores, room):
    """`[R, K]` scores after soft suppression: no box is dropped by another, and which lowers which, scores decide."""
    usable = tf.where(box_ops.larger_than(boxes, layer.min_size), scores, 0.0)
    return layer.lowered(boxes[None], usable[None], layer.score_threshold - room)[0].numpy()
