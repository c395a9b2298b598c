"""The head of the C4 baseline: ResNet's conv5 on each crop of C4 (He et al., CVPR 2016; rows a of tables 2 and 3).

    [14 x 14 crops of C4] --all blocks of conv5, the first with stride 2--> [7 x 7] --mean--> class logits, box deltas
"""

from typing import TYPE_CHECKING, Any

import keras

from keras_fpn.backbones.resnet_names import detectron2_blocks
from keras_fpn.heads.box_head import build_dense, check_predictors, class_rows, predict, predictors
from keras_fpn.heads.box_head_names import BOXES, CLASS_SCORES
from keras_fpn.layers.fixed_arguments import FixedArguments
from keras_fpn.parts.checkpoint_names import ClassRows

if TYPE_CHECKING:
    import tensorflow as tf


@keras.saving.register_keras_serializable("keras_fpn")
class Conv5Head(FixedArguments, keras.layers.Layer):
    """Crops -> class logits and box deltas, called like `BoxHead` and with the same outputs.

    Its normalisation and what of it is trained are the backbone's: frozen statistics stay as they are, live ones
    learn from the valid crops alone, and `freeze_at` 5 trains the predictors only.

    Args:
        num_classes: K, without background.
        conv5: the stage, a model of its own: see `backbones.resnet.build_conv5`.
        initializer: of the two predictors, see `BoxHead`.
        background_logits, background_boxes, class_agnostic_boxes: see `BoxHead`.

    Raises:
        ValueError: for an unknown `initializer` or a number of logits or boxes out of range.
    """

    checkpoint_names = {
        "detectron2": {"class_logits": CLASS_SCORES, "box_deltas": BOXES} | detectron2_blocks("roi_heads."),
    }

    def __init__(
        self,
        num_classes,
        conv5,
        initializer="xavier",
        background_logits=1,
        background_boxes=0,
        class_agnostic_boxes=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_predictors(background_logits, background_boxes, class_agnostic_boxes)
        self.num_classes = num_classes
        self.conv5 = conv5
        self.initializer = initializer
        self.background_logits = background_logits
        self.background_boxes = background_boxes
        self.class_agnostic_boxes = class_agnostic_boxes
        self.class_logits, self.box_deltas = predictors(
            num_classes, initializer, background_logits, background_boxes, class_agnostic_boxes
        )

    @property
    def class_rows(self) -> dict[str, ClassRows]:
        return class_rows(self)

    def build(self, crops_shape: tuple[int | None, ...]) -> None:
        for layer in (self.class_logits, self.box_deltas):
            build_dense(layer, self.conv5.output.shape[-1], self.initializer)

    def call(
        self, crops: "tf.Tensor", training: bool = False, is_valid: "tf.Tensor | None" = None
    ) -> "tuple[tf.Tensor, tf.Tensor]":
        """Classify and refine.

        Args:
            crops: `[B, R, h, w, C]`, 14 x 14 bins of C4 in the paper.
            training: whether live batch normalisation learns its statistics.
            is_valid: `[B, R]` bool, False for crops that only pad their image: they stay out of the statistics. All
                count without.

        Returns:
            class logits `[B, R, K + background_logits]`, the background at K, and deltas `[B, R, K, 4]`,
            or `[B, R, 1, 4]` if `class_agnostic_boxes`.
        """
        shape = keras.ops.shape(crops)
        maps = keras.ops.reshape(crops, (shape[0] * shape[1], *shape[2:]))
        hidden = keras.ops.mean(self._convolve(maps, training, is_valid), axis=(1, 2))
        return predict(self, hidden, shape)

    def _convolve(self, maps, training, is_valid):
        if len(self.conv5.inputs) == 1:  # frozen statistics, for which all crops are alike
            return self.conv5(maps, training=training)
        if is_valid is None:
            is_valid = keras.ops.ones(keras.ops.shape(maps)[:1], "bool")
        return self.conv5([maps, keras.ops.reshape(is_valid, (-1, 1, 1))], training=training)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"conv5": keras.saving.serialize_keras_object(self.conv5)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Conv5Head":
        return cls(**config | {"conv5": keras.saving.deserialize_keras_object(config["conv5"])})
