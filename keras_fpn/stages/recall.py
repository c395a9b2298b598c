"""How much of what a stage was trained on it gets right."""

import tensorflow as tf


def recall(is_right: tf.Tensor, is_positive: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Share of the positives that are right, and how many positives there are."""
    number = tf.reduce_sum(tf.cast(is_positive, tf.float32))
    right = tf.reduce_sum(tf.cast(is_right & is_positive, tf.float32))
    return tf.math.divide_no_nan(right, number), number
