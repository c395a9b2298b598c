"""Mean and variance of what counts in the batches of all devices together."""

import tensorflow as tf


def synchronized_moments(inputs: tf.Tensor, counts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and variance of the last axis over all other axes, and over the replicas of a `tf.distribute` strategy.

    As if all were on one device. Keras weighs devices alike, whatever number each has, and synchronises nothing where
    it is told what counts (3.15).

    Args:
        inputs: `[..., C]` float32 or float64.
        counts: `[...]` bool, whether a vector counts.

    Returns:
        mean and variance `[C]`, both 0 where nothing counts on any replica.
    """
    axes = list(range(inputs.shape.rank - 1))
    values = tf.where(counts[..., None], inputs, 0.0)
    number = tf.maximum(_over_replicas(tf.reduce_sum(tf.cast(counts, inputs.dtype))), 1.0)
    mean = _over_replicas(tf.reduce_sum(values, axes)) / number
    squares = tf.where(counts[..., None], tf.square(inputs - mean), 0.0)
    return mean, _over_replicas(tf.reduce_sum(squares, axes)) / number


def _over_replicas(values):
    replica = tf.distribute.get_replica_context()
    return values if replica is None else replica.all_reduce(tf.distribute.ReduceOp.SUM, values)
