"""Non-maximum suppression for runtimes without control flow: every shape static, one NonMaxSuppressionV4 a group."""

import numpy as np
import tensorflow as tf

AWAY = -1e6  # pixels; further from images than any box, and a float32 that has room for halves


def nms_mask(
    boxes: tf.Tensor, scores: tf.Tensor, iou_threshold: float, max_kept: int, score_threshold: float = float("-inf")
) -> tf.Tensor:
    """`nms.nms_mask` for static shapes, unrolled over classes and groups: the same arguments and the same answer.

    LiteRT's kernel differs from TensorFlow's in three rules, which are worked around here. It suppresses at an IoU
    that equals the threshold: it is given the next float32, and left out at a threshold of 1, past which it answers
    nonsense. It takes equal scores in any order: it is given ranks, of which no two are equal. It lets empty boxes
    suppress each other: they are moved away, each to a place of its own.

    Args:
        boxes: `[G, N, 4]` float32, static.
        scores: `[G, C, N]` float32, static.
        iou_threshold, max_kept, score_threshold: see `nms.nms_mask`.

    Returns:
        `[G, C, N]` bool.
    """
    (_, classes, number), shape = scores.shape, scores.shape
    boxes = tf.reshape(tf.tile(boxes[:, None], [1, classes, 1, 1]), [-1, number, 4])
    return tf.reshape(_kept(boxes, tf.reshape(scores, [-1, number]), iou_threshold, max_kept, score_threshold), shape)


def _kept(boxes, scores, iou_threshold, max_kept, score_threshold):
    """`[G, N]` bool, of boxes `[G, N, 4]` and scores `[G, N]` of groups of one class each."""
    groups, number = scores.shape
    max_kept = min(max_kept, number)
    scores, order = tf.math.top_k(_usable_scores(boxes, scores, score_threshold), number)
    boxes = tf.gather(boxes, order, batch_dims=1)
    boxes = _without_empty(tf.where(scores[..., None] > float("-inf"), boxes, 0.0))
    ranks = tf.where(scores > float("-inf"), tf.range(number, 0, -1, tf.float32), 0.0)
    above = float(np.nextafter(np.float32(iou_threshold), np.float32(2)))
    kept, counts = _suppress_each(boxes, ranks, above, max_kept) if above <= 1 else _first_of_each(ranks, max_kept)
    kept = tf.gather(order, kept, batch_dims=1)  # [G, most], indices into N
    kept += tf.range(groups)[:, None] * number
    kept = tf.where(tf.range(max_kept) < counts[:, None], kept, groups * number)  # padding, past the end
    hits = tf.scatter_nd(tf.reshape(kept, [-1, 1]), tf.ones([groups * max_kept], tf.int32), [groups * number + 1])
    return tf.reshape(hits[:-1], [groups, number]) > 0


def _usable_scores(boxes, scores, score_threshold):
    """Scores, minus infinity where a box cannot survive."""
    # NaN compares false and infinity is larger than the largest. Each by itself: LiteRT's maximum of many drops NaN.
    is_finite = tf.reduce_all(tf.abs(boxes) <= tf.float32.max, axis=-1)
    return tf.where(is_finite & (scores > score_threshold), scores, float("-inf"))


def _without_empty(boxes):
    """`[G, N, 4]` with each box of no area replaced by a unit square that meets no other box."""
    is_empty = (boxes[..., 2] == boxes[..., 0]) | (boxes[..., 3] == boxes[..., 1])
    place = AWAY + 2.0 * np.arange(boxes.shape[1], dtype=np.float32)
    square = np.stack([place, np.full_like(place, AWAY), place + 1.0, np.full_like(place, AWAY + 1.0)], axis=-1)
    return tf.where(is_empty[..., None], square, boxes)


def _first_of_each(ranks, max_kept):
    """As `_suppress_each` where no box suppresses another."""
    first = tf.tile(tf.range(max_kept)[None], [ranks.shape[0], 1])
    return first, tf.reduce_sum(tf.cast(ranks[:, :max_kept] > 0, tf.int32), axis=1)


def _suppress_each(boxes, ranks, iou_threshold, max_kept):
    """Kept indices `[G, most]` and their numbers `[G]`, group by group; only ranks above 0 take part."""
    each = [
        tf.raw_ops.NonMaxSuppressionV4(
            boxes=group_boxes,
            scores=group_ranks,
            max_output_size=max_kept,
            iou_threshold=iou_threshold,
            score_threshold=0.0,
            pad_to_max_output_size=True,
        )
        for group_boxes, group_ranks in zip(tf.unstack(boxes), tf.unstack(ranks), strict=True)
    ]
    return tf.stack([kept for kept, _ in each]), tf.stack([count for _, count in each])
