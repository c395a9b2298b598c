"""What a detector's answer holds for certain, and which boxes of it hang on the last digits of float32.

Two runtimes round differently, so a score a hair from a threshold, an overlap a hair from another, or one of two equal
scores at the end of a full list may fall on either side. Here the model's decisions are taken again with room for
that: every one comes out as certain, or as undecided where its numbers stand too near. A box that only one runtime
gives is no fault if it is among the undecided ones, and only then.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from keras_fpn import boxes as box_ops
from keras_fpn.export.agreement import overlaps_with

SCORE_ROOM = 1e-4  # what scores and logits may move by, at most
OVERLAP_ROOM = 1e-3  # and IoUs
SIDE_ROOM = 1e-3  # and sides of boxes, pixels
MOST_BEYOND_CUT = 4000  # candidates of a level that are looked at though they stand behind its cut, in a tie with it

OUT, UNDECIDED, IN = 0, 1, 2


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


def answer(model, inputs, room=SCORE_ROOM, ratio=1.0):
    """The `Answer` of a `Detector` to one image.

    Args:
        inputs: of the model, tensors of a batch of one: `images` RGB 0..255, `image_sizes`, ...
        room: what scores and logits may move by.
        ratio: `[4]`, by which its boxes are multiplied.
    """
    features = model.features(inputs)
    find = _segments if "segments" in model.settings else _boxes
    found = find(model, features, inputs, room)
    return dataclasses.replace(found, boxes=found.boxes * ratio)


def _boxes(model, features, inputs, room):
    boxes, logits, states = (_given if model.needs_proposals else _proposals)(model, features, inputs, room)
    if not hasattr(model, "detections"):
        return _without_classes(boxes, logits, states)
    if not len(boxes):
        return Answer(boxes, logits, np.zeros(0, np.int32), states == IN)
    class_logits, deltas = model.classify(features, tf.constant(boxes[None], tf.float32))
    return _detections(model.detections, boxes, states, class_logits[0], deltas[0], inputs["image_sizes"], room)


def _without_classes(boxes, logits, states):
    return Answer(boxes, tf.sigmoid(logits).numpy(), np.zeros(len(boxes), np.int32), states == IN)


def _segments(model, features, inputs, room):
    layout, logits = model.lay_out(features), model.segment_head(features)
    logits = tf.cast(tf.concat([logits[level][0] for level in features], axis=0), tf.float32).numpy()
    height, width = inputs["image_sizes"][0].numpy()
    inside = np.flatnonzero((layout.centres.numpy() < [width, height]).all(-1))
    rows, states = _cut(logits[inside], model.settings["segments"]["max_detections"], room)
    rows = inside[rows]
    return _without_classes(layout.windows.numpy()[rows], logits[rows], states)


def _given(model, features, inputs, room):
    """Boxes, logits and states as of `_proposals`: what is given is there for certain."""
    number = int(inputs["num_proposals"][0])
    return inputs["proposals"][0, :number].numpy(), np.zeros(number, np.float32), np.full(number, IN)


def _proposals(model, features, inputs, room):
    """Boxes `[N, 4]`, logits `[N]` and states `[N]` of the proposals that may be made; none of them is OUT."""
    rpn, image_sizes = model.score_anchors(features, inputs), inputs["image_sizes"]
    layer, levels = model.proposals, []
    for level, anchors in rpn["anchors"].items():
        logits = tf.cast(rpn["objectness"][level][0], tf.float32).numpy()
        rows, states = _cut(logits, layer.pre_nms_top_k_test, room)
        deltas = tf.gather(tf.cast(rpn["deltas"][level][0], tf.float32), rows)
        boxes = box_ops.decode(deltas, tf.gather(anchors, rows), layer.box_weights)
        boxes = box_ops.clip(boxes, image_sizes[0]).numpy()
        states = np.minimum(states, _large_enough(boxes, layer.min_size))
        probabilities = tf.sigmoid(logits[rows]).numpy()
        states = np.minimum(states, _above(probabilities, layer.score_threshold, room))
        levels.append((boxes, logits[rows], survivors(boxes, logits[rows], states, layer.nms_threshold, room)))
    boxes, logits, states = (np.concatenate(parts) for parts in zip(*levels, strict=True))
    states = within_the_best(logits, states, layer.post_nms_top_k_test, room)
    return boxes[states > OUT], logits[states > OUT], states[states > OUT]


def _detections(layer, proposals, states, class_logits, deltas, image_sizes, room):
    scores = tf.nn.softmax(tf.cast(class_logits, tf.float32)).numpy()[:, : deltas.shape[1]]  # [R, K]
    boxes = box_ops.decode(tf.cast(deltas, tf.float32), tf.constant(proposals[:, None], tf.float32), layer.box_weights)
    boxes = box_ops.clip(boxes, image_sizes).numpy()  # [R, K, 4]
    found = []
    for label in range(scores.shape[1]):
        rows = np.flatnonzero(scores[:, label] > layer.score_threshold - room)
        of_class, own = boxes[rows, label], scores[rows, label]
        own_states = np.minimum(states[rows], _above(own, layer.score_threshold, room))
        own_states = np.minimum(own_states, _large_enough(of_class, layer.min_size))
        own_states = survivors(of_class, own, own_states, layer.nms_threshold, room)
        found.append((of_class, own, np.full(len(rows), label), own_states))
    boxes, scores, classes, states = (np.concatenate(parts) for parts in zip(*found, strict=True))
    states = within_the_best(scores, states, layer.max_detections, room)
    kept = states > OUT
    return Answer(boxes[kept], scores[kept], classes[kept], states[kept] == IN)


def _cut(scores, count, room):
    """Rows that may be among the `count` best, and their states."""
    if len(scores) <= count:
        return np.arange(len(scores)), np.full(len(scores), IN)
    order = np.argsort(-scores, kind="stable")
    last_in, first_out = scores[order[count - 1]], scores[order[count]]
    rows = order[: count + MOST_BEYOND_CUT]
    rows = rows[scores[rows] >= last_in - room]
    return rows, np.where(scores[rows] > first_out + room, IN, UNDECIDED)


def _above(scores, threshold, room):
    if threshold <= 0.0:  # of probabilities: none is dropped
        return np.full(len(scores), IN)
    return np.where(np.abs(scores - threshold) <= room, UNDECIDED, np.where(scores > threshold, IN, OUT))


def _large_enough(boxes, min_size):
    sides = (boxes[:, 2:] - boxes[:, :2]).min(-1)
    return np.where(np.abs(sides - min_size) <= SIDE_ROOM, UNDECIDED, np.where(sides > min_size, IN, OUT))


def survivors(boxes, scores, states, iou_threshold, room=SCORE_ROOM):
    """States after greedy suppression, whichever way scores and overlaps are rounded.

    Args:
        boxes: `[N, 4]`.
        scores: `[N]`.
        states: `[N]` OUT, UNDECIDED or IN, before it.
        iou_threshold: IoU above which the worse of two boxes goes.
        room: what scores may move by.

    Returns:
        `[N]` states: OUT if a better box that is IN for certain overlaps it by more than the threshold for certain;
        UNDECIDED if one may.
    """
    boxes, scores, states = boxes.astype(np.float64), scores.astype(np.float64), states.copy()
    for row in np.argsort(-scores, kind="stable"):
        if states[row] == OUT:
            continue
        # Those in a tie with it that come later still have the state they began with.
        rivals = np.flatnonzero((scores >= scores[row] - room) & (states > OUT))
        rivals = rivals[rivals != row]
        overlaps = overlaps_with(boxes[rivals], boxes[row])
        is_certain = (states[rivals] == IN) & (scores[rivals] > scores[row] + room)
        if (overlaps[is_certain] > iou_threshold + OVERLAP_ROOM).any():
            states[row] = OUT
        elif (overlaps > iou_threshold - OVERLAP_ROOM).any():
            states[row] = UNDECIDED
    return states


def within_the_best(scores, states, count, room=SCORE_ROOM):
    """States after the `count` best are taken of all that are there; those past the last place for certain are OUT."""
    order = np.sort(scores[states > OUT].astype(np.float64))
    certain = np.sort(scores[states == IN].astype(np.float64))
    own = scores.astype(np.float64)
    better = len(certain) - np.searchsorted(certain, own + room, side="right")  # for certain
    perhaps = len(order) - np.searchsorted(order, own - room, side="left") - 1  # and itself
    return np.where(better >= count, OUT, np.where(perhaps >= count, np.minimum(states, UNDECIDED), states))
