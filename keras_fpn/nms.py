"""Non-maximum suppression within groups, with outputs of a fixed size."""

import tensorflow as tf


def batched_nms(boxes, scores, groups, iou_threshold, max_outputs, score_threshold=float("-inf")):
    """Greedy suppression inside each group, best of all groups first.

    Boxes of different groups (levels for proposals, classes for detections) never suppress each other: each
    group is moved to a place of its own before one common pass, as detectron2's and torchvision's `batched_nms`
    do. A box is suppressed by a better one if their IoU is greater than, not equal to, the threshold.

    Args:
        boxes: `[N, 4]` float32, N >= 1; one that is not finite never comes out.
        scores: `[N]` float32; of equal scores the lower index comes first. NaN never comes out.
        groups: `[N]` int, >= 0.
        iou_threshold: IoU above which the worse box goes.
        max_outputs: number of indices returned.
        score_threshold: only scores above it are kept.

    Returns:
        `indices`, `[max_outputs]` int32, best first, padded with 0, and `count`, how many of them are valid.
    """
    # One coordinate of a diverged model must not make the moves below, and with them every IoU, not a number.
    is_usable = tf.reduce_all(tf.math.is_finite(boxes), axis=-1) & ~tf.math.is_nan(scores)
    boxes = tf.where(is_usable[:, None], boxes, 0.0)
    # Move whole groups by more than the widest extent, counted from the least coordinate: few bits are lost.
    extent = tf.reduce_max(boxes) - tf.reduce_min(boxes) + 1.0
    moved = boxes + (tf.cast(groups, boxes.dtype) * extent)[:, None]
    return tf.raw_ops.NonMaxSuppressionV4(
        boxes=moved,
        scores=tf.where(is_usable, scores, float("-inf")),
        max_output_size=max_outputs,
        iou_threshold=iou_threshold,
        score_threshold=score_threshold,
        pad_to_max_output_size=True,
    )
