"""Settings of every detector's images: how their pixels are normalised and how they are resized."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat

from keras_fpn.parts.settings import Settings, Side, Triple


class PixelSettings(Settings):
    """Of `PixelNormalization`: order of the channels, mean and standard deviation in 0..255, in that order.

    A backbone that was trained on pixels of its own (`backbones.settings`) has those instead of the profile's.
    """

    channel_order: Literal["RGB", "BGR"] = "BGR"
    mean: Triple = [103.53, 116.28, 123.675]
    std: Annotated[list[PositiveFloat], Field(min_length=3, max_length=3)] = [1.0, 1.0, 1.0]
    conventions = ("channel_order", "mean", "std")
    elsewhere = {"torchvision": {"channel_order": "RGB"}}
    is_written = True
    profiles = {
        # ImageNet statistics of torchvision, times 255: our pixels are 0..255.
        "torchvision": {"channel_order": "RGB", "mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]},
        "paper": {"mean": [102.9801, 115.9465, 122.7717]},
    }


class ResizeSettings(Settings):
    """The rule for the size of images, wherever image files are read.

    The shorter side becomes `min_side` pixels, or less where the longer would pass `max_side`; `rounding` and
    `interpolation`: see `data.transforms`. Batches are padded to multiples of `size_divisor`.
    """

    min_side: Side = 800
    max_side: Side = 1333
    rounding: Literal["half_up", "floor"] = "half_up"
    interpolation: Literal["pillow", "bilinear"] = "pillow"
    size_divisor: Side = 32
    elsewhere = {"torchvision": {"rounding": "floor", "interpolation": "bilinear"}}
    is_written = True
    profiles = {"torchvision": {"rounding": "floor", "interpolation": "bilinear"}}
