"""Base of augmentations: a change of a training image, and of its objects' rows with it, drawn anew for each.

Nothing here keeps a state or imports TensorFlow before it is used. What an augmentation draws follows from the seed,
the place in the stream and its own name: another one beside it changes none of its draws, and a stream that starts at
batch N is the uninterrupted one from there on.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field, PositiveFloat

from keras_fpn.parts.settings import Probability, Settings

if TYPE_CHECKING:
    import tensorflow as tf

    from keras_fpn.data.fields import RowField

    Rows = dict[RowField, tf.Tensor]
    Picture = tuple[tf.Tensor, Rows]

FILL = 114  # grey level where no image reaches: the mean of ImageNet's pixels, as YOLOv5 has it


def _rising(values):
    if values[0] > values[1]:
        raise ValueError("give the lower number first")
    return values


_Two = Field(min_length=2, max_length=2)
Range = Annotated[list[PositiveFloat], _Two, AfterValidator(_rising)]
Shares = Annotated[list[Annotated[float, Field(gt=0, le=1)]], _Two, AfterValidator(_rising)]


class AugmentationSettings(Settings):
    """Of every augmentation. `probability`: that an image is changed; 0 is off. `until`: the share of the run after
    which none is any more, so that it ends on images as evaluation has them.
    """

    probability: Probability = 0.0
    until: Annotated[float, Field(gt=0, le=1)] = 1.0


@dataclass(frozen=True)
class Scene:
    """All that an augmentation may ask for besides the image itself.

    Attributes:
        frame: size [2] int32 -> the (height, width) that an image of this size will be resized to, of scale jitter the
            one that fills the canvas. An image that has it already is not resized again.
        resize: (image, rows, (height, width)) -> both at this size, by the interpolation of the stream.
        other: seed [2] int64 -> image and rows of a record of the data set, drawn with it.
    """

    frame: "Callable[[tf.Tensor], Sequence[tf.Tensor]]"
    resize: "Callable[[tf.Tensor, Rows, Sequence[tf.Tensor]], Picture]"
    other: "Callable[[tf.Tensor], Picture]"


class Augmentation:
    """A change of images and of where their objects are, done with a probability.

    A new one is a subclass with a `name` and an `apply`, made known by `register_augmentation`; its settings are then
    the section `data.augment.NAME` of a configuration.

    Args:
        options: its settings.

    Attributes:
        settings: the class of its settings.
        operations: which hooks of the fields it uses, of `fields.OPERATIONS`: a field that cannot follow one of them
            refuses the augmentation.
    """

    name: str
    settings: type[AugmentationSettings] = AugmentationSettings
    operations: tuple[str, ...] = ()

    def __init__(self, options: AugmentationSettings):
        self.options: Any = options  # of the class `settings`

    @property
    def needs_fields(self) -> tuple[str, ...]:
        """Names of per-object fields that it needs, whether or not the model is given them."""
        return ()

    def build(self) -> None:
        """Make what must not be made inside a graph, once for each stream."""

    def apply(self, image: "tf.Tensor", rows: "Rows", seed: "tf.Tensor", scene: Scene) -> "Picture":
        """Change one image, in pure TensorFlow operations.

        Args:
            image: `[height, width, 3]` RGB 0..255, uint8 or float32; the same dtype comes back.
            rows: `{field: [n, ...]}` of its objects.
            seed: `[2]` int64, for stateless draws (`uniform`, `fold`).
            scene: what else there is.
        """
        raise NotImplementedError

    def apply_to_some(
        self, image: "tf.Tensor", rows: "Rows", seed: "tf.Tensor", scene: Scene, is_on: "tf.Tensor"
    ) -> "Picture":
        """The image changed with the probability of the settings; an image with objects never becomes one without.

        Args:
            seed: of the place in the stream; that of this augmentation is made of it.
            is_on: bool scalar, whether its part of the run is not over.
        """
        import tensorflow as tf

        seed = fold(seed, zlib.crc32(self.name.encode()))

        def changed():
            new_image, new_rows = self.apply(image, rows, fold(seed, 1), scene)
            is_emptied = has_objects(rows) & ~has_objects(new_rows)
            return choose_picture(is_emptied, lambda: (image, rows), lambda: (new_image, new_rows))

        is_drawn = is_on & (uniform(fold(seed, 0), []) < self.options.probability)
        return choose_picture(is_drawn, changed, lambda: (tf.identity(image), rows))


class PixelAugmentation(Augmentation):
    """A change of colours alone, at the size that the model sees; objects stay where they are."""

    def change(self, image: "tf.Tensor", seed: "tf.Tensor") -> "tf.Tensor":
        """Change the pixels of one image.

        Args:
            image: `[height, width, 3]` float32 RGB 0..255; so is what comes back. The stream rounds it to whole grey
                levels (half up) after the last of these augmentations, where its images are uint8.
            seed: `[2]` int64.
        """
        raise NotImplementedError

    def apply(self, image: "tf.Tensor", rows: "Rows", seed: "tf.Tensor", scene: Scene) -> "Picture":
        """See `Augmentation`."""
        return self.change(image, seed), rows


def fold(seed: "tf.Tensor", number: int) -> "tf.Tensor":
    """Seed `[2]` int64 of its own for each number, made of another."""
    import tensorflow as tf

    return tf.random.experimental.stateless_fold_in(seed, tf.constant(number, tf.int64))


def uniform(seed: "tf.Tensor", shape: "Sequence[int | tf.Tensor]", low: float = 0.0, high: float = 1.0) -> "tf.Tensor":
    """Numbers from `low` to below `high`, float32, that follow from the seed alone."""
    import tensorflow as tf

    return low + tf.random.stateless_uniform(shape, seed) * (high - low)


def uniform_below(seed: "tf.Tensor", limit: int) -> "tf.Tensor":
    """A whole number from 0 to below `limit`, int64 scalar, that follows from the seed alone."""
    import tensorflow as tf

    return tf.random.stateless_uniform([], seed, minval=0, maxval=limit, dtype=tf.int64)


def column(rows: "Rows", name: str) -> "tf.Tensor":
    """Rows of the field of a name, "boxes", "classes" and "is_crowd" always being there."""
    return next(own for field, own in rows.items() if field.name == name)


def has_objects(rows: "Rows") -> "tf.Tensor":
    """Whether there is an object that is no crowd, a bool scalar."""
    import tensorflow as tf

    return tf.reduce_any(column(rows, "is_crowd") == 0)


def choose_picture(
    condition: "tf.Tensor", first: "Callable[[], Picture]", second: "Callable[[], Picture]"
) -> "Picture":
    """`first()` or `second()`, only the one that is chosen being computed; both have the same fields."""
    import tensorflow as tf

    fields: list[RowField] = []

    def flat(choice):
        image, rows = choice()
        fields[:] = rows
        return [image, *rows.values()]

    image, *values = tf.cond(condition, lambda: flat(first), lambda: flat(second))
    return tf.ensure_shape(image, [None, None, 3]), dict(zip(fields, values, strict=True))
