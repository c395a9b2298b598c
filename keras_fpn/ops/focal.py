"""The focal loss (RetinaNet, section 3)."""

import tensorflow as tf


def sigmoid_focal_loss(logits: tf.Tensor, labels: tf.Tensor, alpha: float, gamma: float) -> tf.Tensor:
    """Logistic loss of which what is easy counts little: `alpha_t (1 - p_t)^gamma (-log p_t)`, elementwise.

    Args:
        logits: of any shape, float32.
        labels: of the same shape, 1.0 or 0.0.
        alpha: weight of the positives; 1 - alpha is that of the negatives.
        gamma: how much less the easy ones count; with 0 all count alike.
    """
    probability = tf.sigmoid(logits)
    missed = probability + labels - 2.0 * probability * labels  # 1 - p_t
    weight = alpha * labels + (1.0 - alpha) * (1.0 - labels)
    losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits)
    return weight * _power(missed, gamma) * losses


def _power(base, exponent):
    # A square is quicker than a power, and its gradient is finite at 0.
    return tf.square(base) if exponent == 2.0 else tf.pow(base, exponent)
