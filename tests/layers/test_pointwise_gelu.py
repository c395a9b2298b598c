"""A linear layer of each cell with a GELU: Keras' own convolution is the reference."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_fpn.layers.pointwise_gelu import PointwiseGELU


@pytest.mark.parametrize("sides", [(5, 7), (None, None)])
def test_it_is_the_convolution_of_keras_in_answers_and_gradients(sides):
    ours, theirs = PointwiseGELU(6), keras.layers.Conv2D(6, 1, activation="gelu")
    ours.build((None, *sides, 4)), theirs.build((None, *sides, 4))
    theirs.set_weights([tf.random.stateless_normal([1, 1, 4, 6], [1, 2]), np.linspace(-1, 1, 6)])
    ours.set_weights(theirs.get_weights())
    maps = tf.random.stateless_normal([2, 5, 7, 4], [3, 4])

    def answers(layer):
        @tf.function(input_signature=[tf.TensorSpec([None, *sides, 4])])
        def run(maps):
            with tf.GradientTape() as tape:
                tape.watch(maps)
                found = layer(maps)
                total = tf.reduce_sum(found**2)
            return found, *tape.gradient(total, [maps, *(variable.value for variable in layer.trainable_variables)])

        return run(maps)

    for one, other in zip(answers(ours), answers(theirs), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
    again = PointwiseGELU.from_config(ours.get_config())
    assert (again.filters, again.kernel_size, again.activation) == (6, (1, 1), keras.activations.gelu)
