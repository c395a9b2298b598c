"""Changes of pixels by Keras' own layers, driven by stateless draws.

A layer draws from a generator of its own, a variable: inside `tf.data` that is a state, which no resumed run has again.
So only its arithmetic is used, `transform_images`, with numbers that are drawn here, and no variable gets into a graph.
"""

from typing import TYPE_CHECKING, Any

from keras_fpn.console.errors import UserError
from keras_fpn.data.augmentations.augmentation import PixelAugmentation

if TYPE_CHECKING:
    import tensorflow as tf


class KerasLayerAugmentation(PixelAugmentation):
    """A change that a layer of `keras.layers` makes.

    Attributes:
        layer_name: its class in `keras.layers`.
        since: the first version of Keras that has it.
    """

    layer_name: str
    since = "3.8"

    def layer_arguments(self) -> dict[str, Any]:
        """Arguments of the layer; its range of random factors is not used."""
        return {"factor": 0.0}

    def build(self) -> None:
        """Make the layer: it has a variable, which must not be made inside a graph."""
        self.layer = self.new_layer(**self.layer_arguments())

    def new_layer(self, **arguments: Any) -> Any:
        """Layer of the class, in float32 whatever Keras' policy is.

        Raises:
            UserError: this Keras has none.
        """
        import keras

        kind = getattr(keras.layers, self.layer_name, None)
        if kind is None:
            raise UserError(
                f"data.augment.{self.name}: Keras {keras.__version__} has no {self.layer_name}; install"
                f" keras>={self.since}, or set data.augment.{self.name}.probability=0"
            )
        return kind(**arguments, data_format="channels_last", dtype="float32")

    def transform(self, image: "tf.Tensor", transformation: Any) -> "tf.Tensor":
        """`[height, width, 3]` float32 as the layer changes it by a transformation that was drawn here."""
        return self.layer.transform_images(image[None], transformation, training=True)[0]
