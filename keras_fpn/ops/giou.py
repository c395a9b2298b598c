"""Generalised intersection over union (Rezatofighi et al., CVPR 2019)."""

import tensorflow as tf

EPSILON = 1e-7  # torchvision's: keeps boxes without an area from 0 / 0


def giou_loss(boxes: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """1 - GIoU of each pair, in [0, 2]: apart, the nearer the less. `[..., 4], [..., 4] -> [...]`"""
    lower = tf.maximum(boxes[..., :2], others[..., :2])
    upper = tf.minimum(boxes[..., 2:], others[..., 2:])
    common = tf.reduce_prod(tf.maximum(upper - lower, 0.0), axis=-1)
    union = _area(boxes) + _area(others) - common
    hull = tf.concat(
        [tf.minimum(boxes[..., :2], others[..., :2]), tf.maximum(boxes[..., 2:], others[..., 2:])], axis=-1
    )
    hull = _area(hull)
    return 1.0 - common / (union + EPSILON) + (hull - union) / (hull + EPSILON)


def _area(boxes):
    # Signed, where `box_ops.area` is not: a box that is learnt has a gradient when its sides have crossed, too.
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
