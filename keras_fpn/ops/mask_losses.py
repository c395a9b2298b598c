"""The loss of masks of RoIs."""

import tensorflow as tf


def mask_loss(logits: tf.Tensor, targets: tf.Tensor, is_object: tf.Tensor) -> tf.Tensor:
    """Logistic loss of masks, a mean over the pixels of all RoIs that are of an object (Mask R-CNN, section 3).

    Args:
        logits: `[B, P, s, s]`, of the class of each RoI's object.
        targets: `[B, P, s, s]` in [0, 1]; taken as they are, soft ones too.
        is_object: `[B, P]` bool; what is told of the others is not read.

    Returns:
        A float32 scalar; 0 where there is no object.
    """
    losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=tf.cast(logits, tf.float32))
    each = tf.where(is_object, tf.reduce_mean(losses, axis=[2, 3]), 0.0)
    return tf.math.divide_no_nan(tf.reduce_sum(each), tf.reduce_sum(tf.cast(is_object, tf.float32)))
