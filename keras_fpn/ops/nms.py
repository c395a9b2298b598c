"""Non-maximum suppression of many classes of many images, each by itself."""

import tensorflow as tf


def nms_mask(
    boxes: tf.Tensor, scores: tf.Tensor, iou_threshold: float, max_kept: int, score_threshold: float = float("-inf")
) -> tf.Tensor:
    """Greedy suppression inside each class of each group: which boxes are among the best that no better one suppresses.

    Boxes of different classes, or of different groups (levels, images), never meet, so that every IoU is of the
    coordinates as they are. Moving them apart for one common pass (detectron2, and torchvision below a
    thousand boxes) would round them, and an IoU near the threshold could fall on its other side. A box is
    suppressed by a better one if their IoU is greater than, not equal to, the threshold.

    Args:
        boxes: `[G, N, 4]` float32, those of all classes of a group; one that is not finite is neither kept nor
            suppresses.
        scores: `[G, C, N]` float32; of equal scores the lower index is the better. NaN and minus infinity are never
            kept.
        iou_threshold: IoU above which the worse box goes.
        max_kept: boxes kept of a class of a group, at most.
        score_threshold: only scores above it are kept.

    Returns:
        `[G, C, N]` bool.
    """
    is_finite = tf.reduce_all(tf.math.is_finite(boxes), axis=-1)
    boxes = tf.where(is_finite[..., None], boxes, 0.0)
    scores = tf.where(is_finite[:, None] & ~tf.math.is_nan(scores), scores, float("-inf"))
    # Most classes are absent from most images: only those with a candidate are worth a pass.
    present = tf.where(tf.reduce_any(scores > score_threshold, axis=-1))  # [n, 2], group and class

    def one_class(place):
        kept, count = tf.raw_ops.NonMaxSuppressionV4(
            boxes=boxes[place[0]],
            scores=scores[place[0], place[1]],
            max_output_size=max_kept,
            iou_threshold=iou_threshold,
            score_threshold=score_threshold,
            pad_to_max_output_size=True,
        )
        return kept, tf.range(max_kept) < count

    signature = (tf.TensorSpec([max_kept], tf.int32), tf.TensorSpec([max_kept], tf.bool))
    kept, is_kept = tf.map_fn(one_class, present, fn_output_signature=signature)
    rows = tf.boolean_mask(tf.repeat(present[:, None], max_kept, axis=1), is_kept)
    places = tf.concat([rows, tf.cast(tf.boolean_mask(kept, is_kept), tf.int64)[:, None]], axis=1)  # [kept, 3]
    return tf.scatter_nd(places, tf.ones_like(places[:, 0], tf.int32), tf.shape(scores, tf.int64)) > 0


def best(boxes: tf.Tensor, scores: tf.Tensor, count: int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """The `count` best boxes of each image, in order.

    Args:
        boxes: `[B, N, 4]`.
        scores: `[B, N]`, minus infinity where there is no box; of equal scores the lower index comes first.
        count: boxes returned.

    Returns:
        boxes `[B, count, 4]` and scores `[B, count]`, both 0 past the last; indices `[B, count]` int32 into N; and how
        many are valid, `[B]` int32.
    """
    boxes = tf.pad(boxes, [[0, 0], [0, count], [0, 0]])
    scores = tf.pad(scores, [[0, 0], [0, count]], constant_values=float("-inf"))
    top_scores, indices = tf.math.top_k(scores, count)
    is_valid = top_scores > float("-inf")
    top_boxes = tf.where(is_valid[..., None], tf.gather(boxes, indices, batch_dims=1), 0.0)
    numbers = tf.reduce_sum(tf.cast(is_valid, tf.int32), axis=-1)
    return top_boxes, tf.where(is_valid, top_scores, 0.0), indices, numbers
