"""Soft suppression: a better box lowers the scores of those that it overlaps (Bodla et al., ICCV 2017)."""

import tensorflow as tf

from keras_fpn.ops import boxes as box_ops

DECAYS = ("linear", "gaussian")


def soft_scores(
    boxes: tf.Tensor,
    scores: tf.Tensor,
    decay: str,
    max_kept: int,
    score_threshold: float,
    *,
    iou_threshold: float,
    sigma: float,
) -> tf.Tensor:
    """Scores of the boxes that are picked of each group, one after the other, the best of what is left each time.

    After a box is picked the scores of the others left are multiplied by a factor of their IoU with it: "linear"
    1 - IoU where the IoU is greater than the threshold, else 1; "gaussian" exp(-IoU^2 / sigma). What is no longer above
    the score threshold is not picked.

    Args:
        boxes: `[G, N, 4]` float32; one that is not finite is neither picked nor lowers others.
        scores: `[G, N]` float32, 0 or more; of equal ones the lower index is picked first.
        decay: "linear" or "gaussian".
        max_kept: boxes picked of a group, at most.
        score_threshold: only scores above it are picked.
        iou_threshold: of "linear".
        sigma: of "gaussian".

    Returns:
        `[G, N]`, the score that each had when it was picked, minus infinity of those that never were.
    """
    is_usable = tf.reduce_all(tf.math.is_finite(boxes), axis=-1) & ~tf.math.is_nan(scores)
    left = is_usable & (scores > score_threshold)
    # Most classes are absent from most images.
    groups = tf.where(tf.reduce_any(left, axis=-1))
    own = [tf.gather_nd(part, groups) for part in (tf.where(is_usable[..., None], boxes, 0.0), scores, left)]

    def factor(iou):
        if decay == "gaussian":
            return tf.exp(-tf.square(iou) / sigma)
        return tf.where(iou > iou_threshold, 1.0 - iou, 1.0)

    def step(number, scores, left, picked):
        best = tf.argmax(tf.where(left, scores, float("-inf")), axis=-1)
        is_best = tf.one_hot(best, tf.shape(scores)[1], on_value=True, off_value=False) & left
        picked = tf.where(is_best, scores, picked)
        iou = box_ops.pairwise_iou(tf.gather(own[0], best, batch_dims=1)[:, None], own[0])[:, 0]
        # Of a group with nothing left the factor changes nothing that is read.
        scores = scores * factor(iou)
        return number + 1, scores, left & ~is_best & (scores > score_threshold), picked

    def goes_on(number, scores, left, picked):
        return (number < max_kept) & tf.reduce_any(left)

    start = (0, own[1], own[2], tf.fill(tf.shape(own[1]), float("-inf")))
    picked = tf.while_loop(goes_on, step, start)[-1]
    return tf.tensor_scatter_nd_update(tf.fill(tf.shape(scores), float("-inf")), groups, picked)
