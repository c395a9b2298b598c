"""Brightness, contrast, saturation, hue, and pictures without colour."""

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from keras_fpn.data.augmentations.augmentation import AugmentationSettings, uniform
from keras_fpn.data.augmentations.keras_layers import KerasLayerAugmentation
from keras_fpn.parts.settings import Probability

if TYPE_CHECKING:
    import tensorflow as tf


class BrightnessSettings(AugmentationSettings):
    """`factor` f: a number drawn from -255 f to 255 f is added to all pixels (0.125 is SSD's 32 grey levels)."""

    factor: Probability = 0.125


class ContrastSettings(AugmentationSettings):
    """`factor` f: the distance of pixels from the mean of their channel is multiplied by 1 - f to 1 + f."""

    factor: Probability = 0.5


class SaturationSettings(AugmentationSettings):
    """`factor` f: the saturation (HSV) of all pixels is multiplied by 1 - f to 1 + f, and 1 is the most."""

    factor: Probability = 0.5


class HueSettings(AugmentationSettings):
    """`factor` f: the hue (HSV) of all pixels is turned by -f to f of the circle (0.05 is SSD's 18 degrees)."""

    factor: Annotated[float, Field(ge=0, le=0.5)] = 0.05


class Brightness(KerasLayerAugmentation):
    """Add a number to all pixels, cut at 0 and 255."""

    name, layer_name, settings = "brightness", "RandomBrightness", BrightnessSettings

    def change(self, image: "tf.Tensor", seed: "tf.Tensor") -> "tf.Tensor":
        """See `PixelAugmentation`."""
        factor = self.options.factor
        return self.transform(image, {"rgb_delta": uniform(seed, [1, 1, 1, 1], -255 * factor, 255 * factor)})


class Contrast(KerasLayerAugmentation):
    """Multiply the distance from the mean of each channel, cut at 0 and 255."""

    name, layer_name, settings = "contrast", "RandomContrast", ContrastSettings

    def change(self, image: "tf.Tensor", seed: "tf.Tensor") -> "tf.Tensor":
        """See `PixelAugmentation`."""
        factor = self.options.factor
        return self.transform(image, {"contrast_factor": uniform(seed, [1, 1, 1, 1], 1 - factor, 1 + factor)})


class Saturation(KerasLayerAugmentation):
    """Multiply the saturation."""

    name, layer_name, settings = "saturation", "RandomSaturation", SaturationSettings

    def layer_arguments(self) -> dict[str, Any]:
        """Its `value_range` is what it cuts the saturation to, whatever the range of the pixels: theirs would let it
        pass 1, and colours below 0 come of it."""
        return {"factor": 0.5, "value_range": (0, 1)}

    def change(self, image: "tf.Tensor", seed: "tf.Tensor") -> "tf.Tensor":
        """See `PixelAugmentation`."""
        factor = self.options.factor
        return self.transform(image, {"factor": uniform(seed, [1], 1 - factor, 1 + factor)})


class Hue(KerasLayerAugmentation):
    """Turn the hue."""

    name, layer_name, settings = "hue", "RandomHue", HueSettings

    def layer_arguments(self) -> dict[str, Any]:
        """Pixels are 0..255."""
        return {"factor": 0.0, "value_range": (0, 255)}

    def change(self, image: "tf.Tensor", seed: "tf.Tensor") -> "tf.Tensor":
        """See `PixelAugmentation`."""
        factor = self.options.factor
        return self.transform(image, {"factor": uniform(seed, [1], -factor, factor)})


class Grayscale(KerasLayerAugmentation):
    """Give every channel 0.2989 R + 0.5870 G + 0.1140 B."""

    name, layer_name = "grayscale", "RandomGrayscale"

    def change(self, image: "tf.Tensor", seed: "tf.Tensor") -> "tf.Tensor":
        """See `PixelAugmentation`; nothing is drawn but whether it is done."""
        return self.transform(image, True)
