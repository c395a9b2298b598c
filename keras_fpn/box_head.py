"""The second stage's head: two fully connected layers on each crop (paper, section 4.2)."""

import keras

INITIALIZERS = ("xavier", "torch_linear")


def _initializer(name, stddev):
    """Kernel initialiser: of a hidden layer with `stddev` None, else of a predictor."""
    if name == "torch_linear":
        return keras.initializers.VarianceScaling(1.0 / 3.0, "fan_in", "uniform")  # U(+-1 / sqrt(fan_in))
    if stddev is None:
        return keras.initializers.VarianceScaling(1.0, "fan_in", "uniform")
    return keras.initializers.RandomNormal(stddev=stddev)


@keras.saving.register_keras_serializable("keras_fpn")
class BoxHead(keras.layers.Layer):
    """Crops -> class logits and class-specific box deltas.

    Args:
        num_classes: K, without background.
        units: width of both hidden layers.
        initializer: "xavier" (Detectron, detectron2: hidden layers XavierFill, class scores N(0, 0.01), boxes
            N(0, 0.001)) or "torch_linear" (torchvision: `nn.Linear`'s default everywhere).
    """

    def __init__(self, num_classes, units=1024, initializer="xavier", **kwargs):
        super().__init__(**kwargs)
        if initializer not in INITIALIZERS:
            raise ValueError(f"initializer must be one of {INITIALIZERS}, not {initializer!r}")
        self.num_classes = num_classes
        self.units = units
        self.initializer = initializer
        self.fc1, self.fc2 = self._dense(units, "fc1", "relu"), self._dense(units, "fc2", "relu")
        self.class_logits = self._dense(num_classes + 1, "class_logits", stddev=0.01)
        self.box_deltas = self._dense(num_classes * 4, "box_deltas", stddev=0.001)

    def _dense(self, units, name, activation=None, stddev=None):
        kernel = _initializer(self.initializer, stddev)
        return keras.layers.Dense(units, activation=activation, kernel_initializer=kernel, name=name)

    def build(self, crops_shape):
        fan_in = crops_shape[2] * crops_shape[3] * crops_shape[4]
        for layer, inputs in (
            (self.fc1, fan_in),
            (self.fc2, self.units),
            (self.class_logits, self.units),
            (self.box_deltas, self.units),
        ):
            if self.initializer == "torch_linear":
                bound = inputs**-0.5  # torch draws the bias like the kernel
                layer.bias_initializer = keras.initializers.RandomUniform(-bound, bound)
            layer.build((None, inputs))

    def call(self, crops):
        """Classify and refine.

        Args:
            crops: `[B, R, h, w, C]`.

        Returns:
            class logits `[B, R, K + 1]` with the background last, and deltas `[B, R, K, 4]`.
        """
        shape = keras.ops.shape(crops)
        flat = keras.ops.reshape(crops, (shape[0] * shape[1], shape[2] * shape[3] * shape[4]))
        hidden = self.fc2(self.fc1(flat))
        logits = keras.ops.reshape(self.class_logits(hidden), (*shape[:2], self.num_classes + 1))
        deltas = keras.ops.reshape(self.box_deltas(hidden), (*shape[:2], self.num_classes, 4))
        return logits, deltas

    def get_config(self):
        return super().get_config() | {
            "num_classes": self.num_classes,
            "units": self.units,
            "initializer": self.initializer,
        }
