"""The head of a detector without proposals: two towers of convolutions on every level (RetinaNet, section 4)."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import keras

from keras_fpn.heads.dense_head_names import CHECKPOINT_NAMES
from keras_fpn.layers.fixed_arguments import FixedArguments
from keras_fpn.layers.group_normalization import GroupNormalization
from keras_fpn.parts.checkpoint_names import ClassRows

if TYPE_CHECKING:
    import tensorflow as tf

NORM_EPSILON = 1e-5  # torch's; Keras has 1e-3


@keras.saving.register_keras_serializable("keras_fpn")
class DenseHead(FixedArguments, keras.layers.Layer):
    """Levels -> class logits and box deltas of every anchor.

    Two towers of 3x3 convolutions with ReLU, each shared over the levels and none between the towers, and a 3x3
    convolution behind each. All are drawn from N(0, 0.01), biases are 0, but those of the logits: at first every
    anchor is of each class with the prior probability (RetinaNet, section 4.1).

    Args:
        num_classes: K, without background: there is none.
        num_anchors: A, in one cell.
        conv_layers: number of convolutions in a tower.
        channels: of each of them.
        norm: "group_norm" after each convolution of a tower, or None.
        norm_groups: groups of channels that it normalises together.
        norm_bias: whether a convolution before a normalisation has a bias.
        prior_probability: see above.
        unused_logits: logits after the K of an anchor, of classes that there are none of; they are trained as
            background, and kept so that weights go back to where they came from bit for bit (torchvision's COCO
            predictor has 91 rows for 80 classes: 11).

    Raises:
        ValueError: for an unknown `norm`, channels that are no multiple of its groups, or a number out of range.
    """

    checkpoint_names = CHECKPOINT_NAMES
    outputs_per_anchor = {"box_deltas": 4}  # besides the logits, in the order of the outputs
    first_outputs: Mapping[str, float] = {}  # of them, what each is at first where that is not 0

    def __init__(
        self,
        num_classes,
        num_anchors,
        conv_layers=4,
        channels=256,
        norm=None,
        norm_groups=32,
        norm_bias=True,
        prior_probability=0.01,
        unused_logits=0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if norm not in (None, "group_norm"):
            raise ValueError(f"norm must be group_norm or None, not {norm!r}")
        if norm and channels % norm_groups:
            raise ValueError(f"channels must be a multiple of the {norm_groups} groups, not {channels}")
        if unused_logits < 0 or not 0 < prior_probability < 1:
            raise ValueError("unused_logits must not be negative, and prior_probability between 0 and 1")
        self.num_classes = num_classes
        self.num_anchors = num_anchors
        self.conv_layers = conv_layers
        self.channels = channels
        self.norm = norm
        self.norm_groups = norm_groups
        self.norm_bias = norm_bias
        self.prior_probability = prior_probability
        self.unused_logits = unused_logits
        self._make_layers()

    def _make_layers(self):
        self.class_tower, self.class_norms = self._tower("class")
        self.box_tower, self.box_norms = self._tower("box")
        prior = keras.initializers.Constant(-math.log((1 - self.prior_probability) / self.prior_probability))
        self.class_logits = _convolution(self.num_anchors * self.num_logits, "class_logits", bias_initializer=prior)
        self.regressors = []
        for name, number in self.outputs_per_anchor.items():
            first = keras.initializers.Constant(self.first_outputs.get(name, 0.0))
            self.regressors.append(_convolution(self.num_anchors * number, name, bias_initializer=first))

    def _tower(self, name):
        has_bias = self.norm is None or self.norm_bias
        tower = [
            _convolution(self.channels, f"{name}_conv_{index}", use_bias=has_bias) for index in range(self.conv_layers)
        ]
        norms = [
            GroupNormalization(self.norm_groups, epsilon=NORM_EPSILON, name=f"{name}_norm_{index}")
            for index in range(self.conv_layers if self.norm else 0)
        ]
        return tower, norms

    @property
    def num_logits(self) -> int:
        """Logits of an anchor: K and those of no class."""
        return self.num_classes + self.unused_logits

    @property
    def class_rows(self) -> dict[str, ClassRows]:
        """See `parts.checkpoint_names`."""
        return {"class_logits": ClassRows(1, self.unused_logits, self.num_anchors)}

    def build(self, features_shape: Mapping[str, tuple[Any, ...]]) -> None:
        given = next(iter(features_shape.values()))
        hidden = (*given[:3], self.channels)
        for tower, norms in ((self.class_tower, self.class_norms), (self.box_tower, self.box_norms)):
            for index, layer in enumerate(tower):
                layer.build(hidden if index else given)
                if norms:
                    norms[index].build(hidden)
        for layer in (self.class_logits, *self.regressors):
            layer.build(hidden if self.conv_layers else given)

    def call(self, features: "Mapping[str, tf.Tensor]") -> "dict[str, dict[str, tf.Tensor]]":
        """Predict on every level.

        Args:
            features: `{level: [B, h, w, C]}`.

        Returns:
            `{"class_logits": {level: [B, h * w * A, K + unused_logits]}, "box_deltas": {level: [B, h * w * A, 4]}}` in
            the order (y, x, anchor), the order of the anchors.
        """
        outputs: dict[str, dict[str, Any]] = {"class_logits": {}, **{name: {} for name in self.outputs_per_anchor}}
        for level, feature in features.items():
            hidden = _convolve(feature, self.class_tower, self.class_norms)
            outputs["class_logits"][level] = self._of_anchors(self.class_logits(hidden), self.num_logits)
            hidden = _convolve(feature, self.box_tower, self.box_norms)
            for layer, (name, number) in zip(self.regressors, self.outputs_per_anchor.items(), strict=True):
                outputs[name][level] = self._of_anchors(layer(hidden), number)
        return outputs

    def _of_anchors(self, maps, number):
        shape = keras.ops.shape(maps)
        return keras.ops.reshape(maps, (-1, shape[1] * shape[2] * self.num_anchors, number))


def _convolution(filters, name, **options):
    normal = keras.initializers.RandomNormal(stddev=0.01)  # one for each: an initializer draws the same each time
    return keras.layers.Conv2D(filters, 3, padding="same", kernel_initializer=normal, name=name, **options)


def _convolve(maps, tower, norms):
    for index, layer in enumerate(tower):
        maps = layer(maps)
        maps = keras.ops.relu(norms[index](maps) if norms else maps)
    return maps
