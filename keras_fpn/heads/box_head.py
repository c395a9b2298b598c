"""The second stage's head: convolutions, if any, and fully connected layers on each crop (paper, section 4.2)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras

from keras_fpn.heads.box_head_names import CHECKPOINT_NAMES
from keras_fpn.heads.convolutions import build_convolutions, convolve, make_convolutions
from keras_fpn.layers.fixed_arguments import FixedArguments
from keras_fpn.parts.checkpoint_names import ClassRows

if TYPE_CHECKING:
    import tensorflow as tf

INITIALIZERS = ("xavier", "torch_linear")


def dense(
    units: int, initializer: str, name: str, activation: str | None = None, stddev: float | None = None
) -> keras.layers.Dense:
    """A fully connected layer of a head, to be built by `build_dense`: hidden with `stddev` None, else a predictor.

    Raises:
        ValueError: for an unknown `initializer`.
    """
    if initializer not in INITIALIZERS:
        raise ValueError(f"initializer must be one of {INITIALIZERS}, not {initializer!r}")
    kernel = _initializer(initializer, stddev)
    return keras.layers.Dense(units, activation=activation, kernel_initializer=kernel, name=name)


def build_dense(layer: keras.layers.Dense, inputs: int, initializer: str) -> None:
    """Make the variables of a layer of `dense` that reads so many inputs."""
    if initializer == "torch_linear":
        bound = inputs**-0.5  # torch draws the bias like the kernel
        layer.bias_initializer = keras.initializers.RandomUniform(-bound, bound)
    layer.build((None, inputs))


def predictors(
    num_classes: int, initializer: str, background_logits: int, background_boxes: int, class_agnostic_boxes: bool
) -> tuple[keras.layers.Dense, keras.layers.Dense]:
    """The two layers that every head ends in: class logits and box deltas."""
    logits = dense(num_classes + background_logits, initializer, "class_logits", stddev=0.01)
    boxes = 1 if class_agnostic_boxes else num_classes + background_boxes
    return logits, dense(boxes * 4, initializer, "box_deltas", stddev=0.001)


def check_predictors(background_logits: int, background_boxes: int, class_agnostic_boxes: bool) -> None:
    """Refuse numbers of predictors that there cannot be.

    Raises:
        ValueError: says which.
    """
    if background_logits < 1 or background_boxes < 0 or (class_agnostic_boxes and background_boxes):
        raise ValueError("background_logits must be 1 or more, background_boxes 0 or more, 0 if class_agnostic_boxes")


def class_rows(head: keras.layers.Layer) -> dict[str, ClassRows]:
    """`ClassRows` of the two layers, of the logits alone where all classes share a box."""
    rows = {"class_logits": ClassRows(1, head.background_logits)}
    return rows if head.class_agnostic_boxes else rows | {"box_deltas": ClassRows(4, head.background_boxes)}


def predict(head: keras.layers.Layer, hidden: "tf.Tensor", shape: Sequence[Any]) -> "tuple[tf.Tensor, tf.Tensor]":
    """Class logits and deltas of a head's hidden vectors `[B * R, units]`, in the form of its crops' `[B, R, ...]`."""
    logits = keras.ops.reshape(head.class_logits(hidden), (*shape[:2], head.class_logits.units))
    deltas = keras.ops.reshape(head.box_deltas(hidden), (*shape[:2], head.box_deltas.units // 4, 4))
    return logits, deltas[:, :, : head.num_classes]


def _initializer(name, stddev):
    if name == "torch_linear":
        return keras.initializers.VarianceScaling(1.0 / 3.0, "fan_in", "uniform")  # U(+-1 / sqrt(fan_in))
    if stddev is None:
        return keras.initializers.VarianceScaling(1.0, "fan_in", "uniform")
    return keras.initializers.RandomNormal(stddev=stddev)


@keras.saving.register_keras_serializable("keras_fpn")
class BoxHead(FixedArguments, keras.layers.Layer):
    """Crops -> class logits and box deltas of each class, or of all.

    The paper's head is two fully connected layers; that of torchvision's v2 models and of detectron2's FPN baselines
    with group norm is four convolutions and one.

    Args:
        num_classes: K, without background.
        units: width of the fully connected layers.
        initializer: "xavier" (Detectron, detectron2: hidden layers XavierFill, class scores N(0, 0.01), boxes
            N(0, 0.001)) or "torch_linear" (torchvision: `nn.Linear`'s default everywhere). Convolutions are He-normal
            by their fan-out in both.
        conv_layers: number of 3x3 convolutions before the fully connected layers.
        conv_channels: channels of each of them.
        fc_layers: number of fully connected layers, 1 or 2.
        norm: normalisation after each convolution, which then has no bias, a kind of `build_norm`; or None.
        norm_epsilon: its epsilon.
        background_logits: logits after the K of the classes. The first is the background; further ones count in the
            softmax and are no class (torchvision's COCO predictor has 91 rows for 80 classes: 11).
        background_boxes: boxes after the K of the classes, that nobody reads; kept so that weights go back to where
            they came from bit for bit. None with `class_agnostic_boxes`.
        class_agnostic_boxes: one box of whatever it is, instead of one for each class.

    Raises:
        ValueError: for an unknown `initializer` or a number of layers, logits or boxes out of range.
        UserError: for an unknown `norm`, or an epsilon of 0 with statistics that are learnt.
    """

    checkpoint_names = CHECKPOINT_NAMES

    def __init__(
        self,
        num_classes,
        units=1024,
        initializer="xavier",
        conv_layers=0,
        conv_channels=256,
        fc_layers=2,
        norm=None,
        norm_epsilon=1e-5,
        background_logits=1,
        background_boxes=0,
        class_agnostic_boxes=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if fc_layers not in (1, 2) or conv_layers < 0:
            raise ValueError("fc_layers must be 1 or 2, conv_layers not negative")
        check_predictors(background_logits, background_boxes, class_agnostic_boxes)
        self.num_classes = num_classes
        self.units = units
        self.initializer = initializer
        self.conv_layers = conv_layers
        self.conv_channels = conv_channels
        self.fc_layers = fc_layers
        self.norm = norm
        self.norm_epsilon = norm_epsilon
        self.background_logits = background_logits
        self.background_boxes = background_boxes
        self.class_agnostic_boxes = class_agnostic_boxes
        self._make_layers()

    def _make_layers(self):
        self.convolutions, self.norms = make_convolutions(
            self.conv_layers, self.conv_channels, self.norm, self.norm_epsilon, "box_head"
        )
        self.fc1 = dense(self.units, self.initializer, "fc1", "relu")
        self.fc2 = dense(self.units, self.initializer, "fc2", "relu") if self.fc_layers == 2 else None
        self.class_logits, self.box_deltas = predictors(
            self.num_classes,
            self.initializer,
            self.background_logits,
            self.background_boxes,
            self.class_agnostic_boxes,
        )

    @property
    def class_rows(self) -> dict[str, ClassRows]:
        return class_rows(self)

    def build(self, crops_shape: tuple[Any, ...]) -> None:
        maps_shape = build_convolutions(self, crops_shape)
        build_dense(self.fc1, maps_shape[1] * maps_shape[2] * maps_shape[3], self.initializer)
        for layer in (self.fc2, self.class_logits, self.box_deltas):
            if layer is not None:
                build_dense(layer, self.units, self.initializer)

    def call(
        self, crops: "tf.Tensor", training: bool = False, is_valid: "tf.Tensor | None" = None
    ) -> "tuple[tf.Tensor, tf.Tensor]":
        """Classify and refine.

        Args:
            crops: `[B, R, h, w, C]`.
            training: whether live batch normalisation learns its statistics.
            is_valid: `[B, R]` bool, False for crops that only pad their image: they stay out of the statistics. All
                count without.

        Returns:
            class logits `[B, R, K + background_logits]`, the background at K, and deltas `[B, R, K, 4]`,
            or `[B, R, 1, 4]` if `class_agnostic_boxes`.
        """
        shape = keras.ops.shape(crops)
        maps = keras.ops.reshape(crops, (shape[0] * shape[1], *shape[2:]))
        maps = convolve(self, maps, training, is_valid)
        flat = keras.ops.reshape(maps, (shape[0] * shape[1], self.fc1.kernel.shape[0]))
        return predict(self, self.hidden(flat, training, is_valid), shape)

    def hidden(self, flat: "tf.Tensor", training: bool, is_valid: "tf.Tensor | None") -> "tf.Tensor":
        """Crops `[B * R, h * w * C]` after the fully connected layers, `[B * R, units]`; see `call`."""
        hidden = self.fc1(flat)
        return hidden if self.fc2 is None else self.fc2(hidden)
