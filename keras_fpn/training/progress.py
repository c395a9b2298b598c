"""How far an optimizer is: its step and its learning rate, on one device and on several.

Under a `tf.distribute` strategy a variable has a copy on each device, which is no number until it is read as a tensor.
"""

import keras
import tensorflow as tf


def step_of(model: keras.Model) -> int:
    """Return how many steps the model's optimizer has made."""
    return int(tf.convert_to_tensor(model.optimizer.iterations))


def learning_rate_of(model: keras.Model) -> float:
    """Return the learning rate of the step that comes next."""
    return float(tf.convert_to_tensor(model.optimizer.learning_rate))
