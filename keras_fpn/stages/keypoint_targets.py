"""Targets and loss of the keypoint head (Mask R-CNN, section 5), by the arithmetic of torchvision and detectron2.

B images, G objects, S samples, R RoIs, K keypoints, m side of a heat map.
"""

from collections.abc import Mapping

import tensorflow as tf

from keras_fpn.console.errors import UserError


def check_keypoints(targets: Mapping[str, tf.Tensor], num_keypoints: int) -> None:
    """Refuse targets without keypoints, or with another number of them.

    Raises:
        UserError: says which.
    """
    shape = tf.TensorShape(targets["keypoints"].shape) if "keypoints" in targets else tf.TensorShape([])
    if shape.rank != 4 or shape[-1] != 3:
        raise UserError('targets: "keypoints" [B, G, K, 3] is needed, x, y and visibility, see KeypointRCNN')
    if shape[2] not in (None, num_keypoints):
        raise UserError(
            f'targets: "keypoints" has {shape[2]} of each object, the model {num_keypoints}; make a model with'
            " num_keypoints of the data"
        )


def encode(
    keypoints: tf.Tensor, boxes: tf.Tensor, objects: tf.Tensor, side: int = 56
) -> tuple[tf.Tensor, tf.Tensor]:
    """Cell of each RoI's heat map in which each keypoint of its object lies.

    A keypoint on the right or lower border of the box belongs to the last cell. One that is hidden counts; one without
    a label, or outside the box, does not.

    Args:
        keypoints: `[B, G, K, 3]` x, y in pixels of the network's input, and visibility: 0 without a label, 1 hidden,
            2 visible.
        boxes: `[B, R, 4]` the RoIs as they are pooled, pixels of the network's input.
        objects: `[B, R]` row of each RoI's object among the G, -1 without.
        side: m.

    Returns:
        `labels` `[B, R, K]` int32, y * m + x, 0 where it does not count, and `is_valid` `[B, R, K]` bool.
    """
    # A row of padding, so that there is an object to point at.
    keypoints = tf.pad(tf.cast(keypoints, tf.float32), [[0, 0], [0, 1], [0, 0], [0, 0]])
    own = tf.gather(keypoints, tf.maximum(objects, 0), batch_dims=1)  # [B, R, K, 3]
    start, end = boxes[:, :, None, :2], boxes[:, :, None, 2:]
    points = own[..., :2]
    cells = tf.floor((points - start) * (side / (end - start)))
    cells = tf.where(points == end, side - 1.0, cells)
    is_valid = tf.reduce_all((cells >= 0.0) & (cells < side), axis=-1)
    is_valid &= (own[..., 2] > 0.0) & (objects >= 0)[..., None]
    cells = tf.cast(tf.where(is_valid[..., None], cells, 0.0), tf.int32)
    return cells[..., 1] * side + cells[..., 0], is_valid


def keypoint_rois(
    samples: Mapping[str, tf.Tensor], keypoints: tf.Tensor, side: int = 56
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The RoIs that there is something to learn from, of those that the box head was trained on.

    RoIs without a keypoint that counts add nothing to the loss of either source, and are left out as far as the fullest
    image allows: torchvision runs the head on all positives, detectron2 on those with a labelled keypoint inside.

    Args:
        samples: `{"boxes": [B, S, 4], "objects": [B, S] int32}`, see `roi_targets`.
        keypoints, side: see `encode`.

    Returns:
        `boxes` `[B, R, 4]`, and `labels` and `is_valid` `[B, R, K]` of them, see `encode`; R is at least 1.
    """
    labels, is_valid = encode(keypoints, samples["boxes"], samples["objects"], side)
    is_learnt = tf.cast(tf.reduce_any(is_valid, axis=-1), tf.int32)  # [B, S]
    number = tf.maximum(tf.reduce_max(tf.reduce_sum(is_learnt, axis=1)), 1)
    _, rows = tf.math.top_k(is_learnt, number)  # stable: in their order
    return tuple(tf.gather(part, rows, batch_dims=1) for part in (samples["boxes"], labels, is_valid))


def keypoint_loss(
    logits: tf.Tensor,
    labels: tf.Tensor,
    is_valid: tf.Tensor,
    *,
    normalizer: str,
    weight: float,
    positives_per_image: float,
) -> tf.Tensor:
    """Softmax cross-entropy over the cells of each heat map, of the keypoints that count.

    Args:
        logits: `[B, R, m, m, K]`.
        labels, is_valid: `[B, R, K]`, see `encode`.
        normalizer: "visible" divides the sum by how many keypoints count in the batch (torchvision, detectron2),
            "fixed" by those of B images full of positives, whether they are there or not (detectron2, with weight 4).
        weight: factor of the loss.
        positives_per_image: most positive samples of an image, for "fixed": 128.

    Returns:
        float32 scalar; 0 where no keypoint counts.

    Raises:
        ValueError: an unknown normalizer.
    """
    if normalizer not in ("visible", "fixed"):
        raise ValueError(f"normalizer must be visible or fixed, not {normalizer!r}")
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=flat_maps(logits))  # [B, R, K]
    total = tf.reduce_sum(tf.where(is_valid, losses, 0.0))
    if normalizer == "visible":
        return weight * tf.math.divide_no_nan(total, tf.reduce_sum(tf.cast(is_valid, tf.float32)))
    images = tf.cast(tf.shape(logits)[0], tf.float32)
    return weight * total / (images * logits.shape[-1] * positives_per_image)


def flat_maps(logits: tf.Tensor) -> tf.Tensor:
    """`[B, R, m, m, K]` -> `[B, R, K, m * m]` float32, cells row by row."""
    shape, (side, _, number) = tf.shape(logits), logits.shape[2:]
    cells = tf.reshape(tf.cast(logits, tf.float32), [shape[0], shape[1], side * side, number])
    return tf.transpose(cells, [0, 1, 3, 2])


def are_near(one: tf.Tensor, other: tf.Tensor, side: int) -> tf.Tensor:
    """Whether cells of a map of `side` x `side`, counted row by row, are one or neighbours, corners included."""
    rows, columns = one // side - other // side, one % side - other % side
    return (tf.abs(rows) <= 1) & (tf.abs(columns) <= 1)
