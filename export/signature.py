"""The detector as one TensorFlow function of the inputs that a description names."""

import tensorflow as tf


def as_function(model, description):
    """A `tf.function` of the inputs, by position in the description's order, to the model's detections.

    Args:
        model: a `Detector`.
        description: its `Description`, with the dtypes and shapes of the artefact.
    """
    specs = [tf.TensorSpec(one["shape"], one["dtype"], name=name) for name, one in description.inputs.items()]

    @tf.function(input_signature=specs, autograph=False)
    def detect(*inputs):
        return model(dict(zip(description.inputs, inputs, strict=True)), training=False)

    return detect
