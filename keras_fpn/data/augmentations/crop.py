"""Random crop that keeps objects."""

from typing import TYPE_CHECKING

from keras_fpn.data.augmentations.augmentation import (
    Augmentation,
    AugmentationSettings,
    Scene,
    Shares,
    choose_picture,
    column,
    fold,
    has_objects,
    uniform,
)
from keras_fpn.parts.settings import Probability

if TYPE_CHECKING:
    import tensorflow as tf

    from keras_fpn.data.augmentations.augmentation import Picture, Rows

_TRIES = 50  # windows drawn for an image, as SSD has it


class CropSettings(AugmentationSettings):
    """`scale`: [low, high] of the share that each side keeps, drawn for each. `visible`: the share that is seen, at
    least, of the box of every object whose centre is in the crop; a crop that cuts one further is not taken.
    """

    scale: Shares = [0.3, 1.0]
    visible: Probability = 0.3


class Crop(Augmentation):
    """A part of the image, which is then resized as an image of that size would be.

    After SSD (Liu et al., ECCV 2016, section 2.2): an object whose centre is in the crop stays, its box cut to it; of
    others there is nothing left. The first of 50 windows is taken that shows an object and cuts none further than the
    settings allow; without one the image stays whole. What is wide stays wide, and what is tall tall, so that batches
    that are grouped by it are still.
    """

    name, settings, operations = "crop", CropSettings, ("crop",)

    def apply(self, image: "tf.Tensor", rows: "Rows", seed: "tf.Tensor", scene: Scene) -> "Picture":
        """See `Augmentation`."""
        import tensorflow as tf

        from keras_fpn.data import transforms, visibility

        windows = self._windows(tf.shape(image)[:2], seed)
        is_fit = self._is_fit(rows, windows)
        window = transforms.Window(*tf.unstack(windows[tf.argmax(tf.cast(is_fit, tf.int32))]))

        def cut():
            is_kept = visibility.kept(rows, window, self.options.visible)
            return transforms.view(image, rows, window, 0, is_kept)

        return choose_picture(tf.reduce_any(is_fit), cut, lambda: (tf.identity(image), rows))

    def _windows(self, size, seed):
        """`[tries, 4]` int32 top, left, height, width within an image."""
        import tensorflow as tf

        share = uniform(fold(seed, 0), [_TRIES, 2], *self.options.scale)
        lengths = tf.clip_by_value(tf.cast(share * tf.cast(size, tf.float32) + 0.5, tf.int32), 1, size)
        shorter = tf.reduce_min(lengths, axis=1, keepdims=True)
        is_tall = size[0] > size[1]
        lengths = tf.where(tf.stack([is_tall, ~is_tall]), lengths, shorter)
        room = tf.cast(size - lengths + 1, tf.float32)
        starts = tf.minimum(tf.cast(uniform(fold(seed, 1), [_TRIES, 2]) * room, tf.int32), size - lengths)
        return tf.concat([starts, lengths], axis=1)

    def _is_fit(self, rows, windows):
        """`[tries]` bool: a window shows an object, where there are any, and cuts none too far."""
        import tensorflow as tf

        from keras_fpn.data import visibility

        is_object = column(rows, "is_crowd") == 0
        has_centre, share, is_pixel = visibility.seen(column(rows, "boxes"), tf.cast(windows, tf.float32))
        is_well = is_pixel & (share >= self.options.visible)
        shows = tf.reduce_any(is_object & has_centre & is_well, axis=1) | ~has_objects(rows)
        cuts = tf.reduce_any(is_object & has_centre & ~is_well, axis=1)
        return shows & ~cuts
