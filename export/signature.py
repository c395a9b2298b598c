"""The detector as one TensorFlow function of its inputs."""

from typing import TYPE_CHECKING

import tensorflow as tf

from keras_fpn.export.description import Description

if TYPE_CHECKING:
    from keras_fpn.models.detector import Detector


def as_function(model: "Detector", description: Description) -> tf.types.experimental.PolymorphicFunction:
    """A `tf.function` of the inputs, by position in the description's order, to the model's detections.

    A program may leave an input of a static graph as it was made, unset: sizes that its frame has not are the frame's.

    Args:
        model: a `Detector`.
        description: its `Description`, with the dtypes and shapes of the artefact.
    """
    specs = [tf.TensorSpec(one["shape"], one["dtype"], name=name) for name, one in description.inputs.items()]

    @tf.function(input_signature=specs, autograph=False)
    def detect(*inputs):
        given = dict(zip(description.inputs, inputs, strict=True))
        if description.frame is not None:
            given["image_sizes"] = _sizes_or_frame(given["image_sizes"], description.frame)
        return model(given, training=False)

    return detect


def _sizes_or_frame(sizes, frame):
    is_inside = tf.reduce_all((sizes >= 1) & (sizes <= frame), axis=1, keepdims=True)
    return tf.where(is_inside, sizes, frame)


def of_any_size(model: "Detector") -> tf.types.experimental.PolymorphicFunction:
    """A `tf.function` of `{name: tensor}`, for batches of images of any size; it is not kept with the model."""
    return tf.function(lambda inputs: model(inputs, training=False), input_signature=[model.input_specs()])
