"""Which detections may be made of all anchors."""

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from keras_fpn.export.undecided.states import OUT, Possible, above, cut, large_enough, nms_states, within_the_best
from keras_fpn.layers.dense_suppressions import ClassAgnosticDenseDetections, SoftDenseDetections
from keras_fpn.ops import boxes as box_ops

if TYPE_CHECKING:
    from keras_fpn.layers.dense_detections import DenseDetectionLayer


def of_stage(
    stage: Any, features: dict[str, tf.Tensor], state: dict[str, Any], possible: dict[str, Possible], room: float
) -> dict[str, Possible]:
    """The rule of a stage with `dense_head`, `anchors` and a `DenseDetectionLayer` in `detections`."""
    inputs = state["inputs"]
    predictions, anchors = stage.dense_head(features), stage.anchors.on(features, inputs["images"])
    sizes = inputs["image_sizes"]
    return {"detections": of_layer(stage.detections, predictions, anchors, sizes, stage.num_classes, room)}


def of_layer(
    layer: "DenseDetectionLayer",
    predictions: dict[str, dict[str, tf.Tensor]],
    anchors: dict[str, tf.Tensor],
    image_sizes: tf.Tensor,
    num_classes: int,
    room: float,
) -> Possible:
    """`Possible` detections of one image; arguments are those of the layer, a batch of one, and `room` for scores."""
    levels = []
    for level, own in anchors.items():
        given = {name: tf.cast(of_levels[level], tf.float32) for name, of_levels in predictions.items()}
        given["class_logits"] = given["class_logits"][..., :num_classes]
        ranks = layer.rank(given)
        boxes = layer.decode(given, own[None])[0].numpy()
        rows, states = cut(tf.reshape(ranks, [-1]).numpy(), layer.pre_nms_top_k, room)
        scores = layer.score(tf.gather(tf.reshape(ranks, [-1]), rows)).numpy()
        states = np.minimum(states, above(scores, layer.score_threshold, room))
        levels.append((boxes[rows // num_classes], scores, rows % num_classes, states))
    boxes, scores, classes, states = (np.concatenate(parts) for parts in zip(*levels, strict=True))
    clipped = box_ops.clip(tf.constant(boxes), image_sizes[0]).numpy()
    suppressed = clipped if layer.clip == "before_nms" else boxes
    if isinstance(layer, SoftDenseDetections):
        scores = _lowered(layer, suppressed, scores, classes, states, num_classes, room)
        states = np.minimum(states, above(scores, layer.score_threshold, room))
    else:
        groups = np.zeros_like(classes) if isinstance(layer, ClassAgnosticDenseDetections) else classes
        for group in np.unique(groups):
            rows = np.flatnonzero(groups == group)
            states[rows] = nms_states(suppressed[rows], scores[rows], states[rows], layer.nms_threshold, room)
    states = within_the_best(scores, states, layer.max_detections, room)
    if not layer.keep_empty:
        states = np.minimum(states, large_enough(clipped, 0.0))
    return Possible.of(clipped, scores, states, classes)


def _lowered(layer, boxes, scores, classes, states, num_classes, room):
    """`[N]` scores after soft suppression: no box is dropped by another, and which lowers which, scores decide."""
    scores = np.where(states == OUT, -np.inf, scores).astype(np.float32)
    lowered = layer.lowered(
        tf.constant(boxes[None]), tf.constant(scores[None]), tf.constant(classes[None], tf.int32), num_classes,
        layer.score_threshold - room,
    )  # fmt: skip
    return lowered[0].numpy()
