"""Gaussian blur."""

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field

from keras_fpn.data.augmentations.augmentation import AugmentationSettings, Range, uniform
from keras_fpn.data.augmentations.keras_layers import KerasLayerAugmentation

if TYPE_CHECKING:
    import tensorflow as tf


def _odd(value):
    if value % 2 == 0:
        raise ValueError("give an odd number")
    return value


class BlurSettings(AugmentationSettings):
    """`sigma`: [low, high] of the Gaussian's standard deviation, in pixels of the resized image. `kernel_size`: pixels
    across that it takes in, odd: 9 hold 97 % of a Gaussian of sigma 2.
    """

    sigma: Range = [0.1, 2.0]
    kernel_size: Annotated[int, Field(ge=3, le=65), AfterValidator(_odd)] = 9


class Blur(KerasLayerAugmentation):
    """Blur by a Gaussian; beyond its border an image goes on as its last pixels."""

    name, layer_name, since, settings = "blur", "RandomGaussianBlur", "3.9", BlurSettings

    def layer_arguments(self) -> dict[str, Any]:
        """Rows first: a pass along each axis does with 2 k products what one over both needs k^2 for."""
        return {"kernel_size": (self.options.kernel_size, 1)}

    def build(self) -> None:
        """See `Augmentation`."""
        super().build()
        self.columns = self.new_layer(kernel_size=(1, self.options.kernel_size))

    def change(self, image: "tf.Tensor", seed: "tf.Tensor") -> "tf.Tensor":
        """See `PixelAugmentation`."""
        import tensorflow as tf

        sigma = uniform(seed, [1], *self.options.sigma)
        transformation = {"blur_factor": tf.tile(sigma, [2]), "should_apply_blur": tf.constant([True])}
        reach = self.options.kernel_size // 2
        size = tf.shape(image)[:2]
        # The layer would take what is beyond the border for black.
        image = _with_border(_with_border(image, size[0], reach, axis=0), size[1], reach, axis=1)
        image = self.columns.transform_images(self.transform(image, transformation)[None], transformation)[0]
        return image[reach : reach + size[0], reach : reach + size[1]]


def _with_border(image, side, reach, axis):
    import tensorflow as tf

    return tf.gather(image, tf.clip_by_value(tf.range(-reach, side + reach), 0, side - 1), axis=axis)
