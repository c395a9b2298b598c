"""The mask head: convolutions on each crop, twice its side, and a mask for each class (Mask R-CNN, figure 4, right)."""

from typing import TYPE_CHECKING, Any

import keras

from keras_fpn.heads.convolutions import build_convolutions, convolve, he_normal, make_convolutions
from keras_fpn.heads.mask_head_names import CHECKPOINT_NAMES
from keras_fpn.layers.fixed_arguments import FixedArguments
from keras_fpn.parts.checkpoint_names import ClassRows

if TYPE_CHECKING:
    import tensorflow as tf

INITIALIZERS = ("c2_msra", "kaiming_normal")


@keras.saving.register_keras_serializable("keras_fpn")
class MaskHead(FixedArguments, keras.layers.Layer):
    """Crops -> mask logits of every class, at twice the crops' side.

    3x3 convolutions with ReLU, a 2x2 transposed convolution of stride 2 with ReLU, a 1x1 convolution to the logits.

    Args:
        num_classes: K, without background.
        conv_layers: number of 3x3 convolutions.
        channels: of each of them and of the transposed one.
        norm: normalisation after each 3x3 convolution, which then has no bias, a kind of `build_norm`; or None.
        norm_epsilon: its epsilon.
        initializer: "c2_msra" (detectron2: He-normal by the fan-out, the predictor N(0, 0.001), biases 0) or
            "kaiming_normal" (torchvision: the predictor He-normal, too, and the biases of the last two layers drawn as
            torch draws them, U(+-1 / sqrt(fan_in))).
        class_agnostic: one mask of whatever it is, instead of one for each class.
        background_masks: masks after the K of the classes, that nobody reads; kept so that weights go back to where
            they came from bit for bit (torchvision's COCO predictor has 91 rows for 80 classes: 11). None with
            `class_agnostic`.

    Raises:
        ValueError: for an unknown `initializer`, a number of layers or masks out of range, or background masks of a
            head that tells no classes apart.
        UserError: for an unknown `norm`, or an epsilon of 0 with statistics that are learnt.
    """

    checkpoint_names = CHECKPOINT_NAMES

    def __init__(
        self,
        num_classes,
        conv_layers=4,
        channels=256,
        norm=None,
        norm_epsilon=1e-5,
        initializer="c2_msra",
        class_agnostic=False,
        background_masks=0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if initializer not in INITIALIZERS:
            raise ValueError(f"initializer must be one of {INITIALIZERS}, not {initializer!r}")
        if conv_layers < 0 or background_masks < 0 or (class_agnostic and background_masks):
            raise ValueError("conv_layers and background_masks must not be negative, the latter 0 if class_agnostic")
        self.num_classes = num_classes
        self.conv_layers = conv_layers
        self.channels = channels
        self.norm = norm
        self.norm_epsilon = norm_epsilon
        self.initializer = initializer
        self.class_agnostic = class_agnostic
        self.background_masks = background_masks
        self._make_layers()

    def _make_layers(self):
        normal = keras.initializers.RandomNormal(stddev=0.001)
        self.convolutions, self.norms = make_convolutions(
            self.conv_layers, self.channels, self.norm, self.norm_epsilon, "mask_head"
        )
        self.deconv = keras.layers.Conv2DTranspose(
            self.channels, 2, strides=2, activation="relu", kernel_initializer=he_normal(), name="deconv"
        )
        last = he_normal() if self.initializer == "kaiming_normal" else normal
        self.mask_logits = keras.layers.Conv2D(self.num_masks, 1, kernel_initializer=last, name="mask_logits")

    @property
    def num_masks(self) -> int:
        """Masks of a crop: K and those of the background, or 1."""
        return 1 if self.class_agnostic else self.num_classes + self.background_masks

    @property
    def class_rows(self) -> dict[str, ClassRows]:
        """See `parts.checkpoint_names`."""
        return {} if self.class_agnostic else {"mask_logits": ClassRows(1, self.background_masks)}

    def build(self, crops_shape: tuple[Any, ...]) -> None:
        shape = build_convolutions(self, crops_shape)
        if self.initializer == "kaiming_normal":
            # torch takes for the fan-in of a transposed convolution what it gives: channels out, times 2 x 2.
            for layer, fan_in in ((self.deconv, 4 * self.channels), (self.mask_logits, self.channels)):
                layer.bias_initializer = keras.initializers.RandomUniform(-(fan_in**-0.5), fan_in**-0.5)
        self.deconv.build(shape)
        self.mask_logits.build((*shape[:3], self.channels))

    def call(
        self, crops: "tf.Tensor", training: bool = False, is_valid: "tf.Tensor | None" = None
    ) -> "tf.Tensor":
        """Segment.

        Args:
            crops: `[B, R, h, w, C]`.
            training: whether live batch normalisation learns its statistics.
            is_valid: `[B, R]` bool, False for crops that only pad their image: they stay out of the statistics. All
                count without.

        Returns:
            Logits `[B, R, 2h, 2w, K + background_masks]`, or of one mask if `class_agnostic`.
        """
        shape = keras.ops.shape(crops)
        maps = keras.ops.reshape(crops, (shape[0] * shape[1], *shape[2:]))
        logits = self.mask_logits(self.deconv(convolve(self, maps, training, is_valid)))
        return keras.ops.reshape(logits, (*shape[:2], 2 * shape[2], 2 * shape[3], self.num_masks))
