"""The number that the losses of all anchors are divided by."""

import keras
import tensorflow as tf

from keras_fpn.layers.fixed_arguments import FixedArguments

KINDS = ("moving_average", "image", "batch")


@keras.saving.register_keras_serializable("keras_fpn")
class LossNormalizer(FixedArguments, keras.layers.Layer):
    """How many positives the sum of an image's losses is divided by.

    Args:
        kind: "moving_average" (detectron2) of the positives of a batch over the steps, the step's own included, which
            is a state of the model; "image" (torchvision's RetinaNet) an image's own positives, times the images: a
            mean over images of sums over anchors; "batch" (torchvision's FCOS, the paper) the positives of the batch.
        initial: the average before the first step.
        momentum: the share of the old average.

    Raises:
        ValueError: for an unknown `kind`.
    """

    settings_group = "dense_losses"

    def __init__(self, kind="moving_average", initial=100.0, momentum=0.9, **kwargs):
        super().__init__(autocast=False, **kwargs)
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {KINDS}, not {kind!r}")
        self.kind = kind
        self.initial = initial
        self.momentum = momentum

    def build(self, counts_shape: tuple[int | None, ...]) -> None:
        # Of every kind, so that a model may be given another with the weights that it has.
        initial = keras.initializers.Constant(self.initial)
        self.average = self.add_weight(
            shape=(),
            initializer=initial,
            dtype="float32",
            trainable=False,
            autocast=False,
            aggregation="mean",
            name="average",
        )

    def call(self, counts: tf.Tensor, training: bool = False) -> tf.Tensor:
        """The divisor of each image's sum, `[B]` float32.

        Args:
            counts: `[B]` positives of each image.
            training: whether the average goes on.
        """
        counts = tf.cast(counts, tf.float32)
        if self.kind == "image":
            return tf.maximum(counts, 1.0) * tf.cast(tf.size(counts), tf.float32)
        total = tf.maximum(tf.reduce_sum(counts), 1.0)
        if self.kind == "batch":
            return tf.fill(tf.shape(counts), total)
        average = tf.convert_to_tensor(self.average.value)
        if training:
            average = self.momentum * average + (1.0 - self.momentum) * total
            self.average.assign(average)
        return tf.fill(tf.shape(counts), average)
