"""Four images in one."""

from typing import TYPE_CHECKING

from keras_fpn.data.augmentations.augmentation import (
    FILL,
    Augmentation,
    AugmentationSettings,
    Range,
    Scene,
    fold,
    uniform,
)
from keras_fpn.parts.settings import Probability

if TYPE_CHECKING:
    import tensorflow as tf

    from keras_fpn.data.augmentations.augmentation import Picture, Rows

_MIDDLE = (0.25, 0.75)  # of the frame, where the four images meet
_QUARTERS = ((False, False), (False, True), (True, False), (True, True))  # below and right of the middle


class MosaicSettings(AugmentationSettings):
    """`scale`: [low, high] of the size of each of the four, 1 fitting the whole frame. `visible`: the share of its box
    that is seen, at least, of an object that stays.
    """

    scale: Range = [0.4, 1.0]
    visible: Probability = 0.3


class Mosaic(Augmentation):
    """The image and three others of the data set around a random point, each cut to its quarter.

    After YOLOv4 (Bochkovskiy et al. 2020, section 3.3) and YOLOv5. The frame has the size that the image itself would
    have been resized to; where an image ends before its quarter does, it is grey. Objects stay by the rule of a crop.
    """

    name, settings, operations = "mosaic", MosaicSettings, ("crop", "join")

    def apply(self, image: "tf.Tensor", rows: "Rows", seed: "tf.Tensor", scene: Scene) -> "Picture":
        """See `Augmentation`."""
        import tensorflow as tf

        frame = scene.frame(tf.shape(image)[:2])
        shares = tf.unstack(uniform(fold(seed, 0), [2], *_MIDDLE))
        middle = [
            tf.clip_by_value(tf.cast(share * tf.cast(side, tf.float32), tf.int32), 1, tf.maximum(side - 1, 1))
            for share, side in zip(shares, frame, strict=True)
        ]
        fields = list(rows)

        @tf.function(autograph=False, reduce_retracing=True)  # traced once for the four
        def tile(image, values, is_second, seed):
            picture = image, dict(zip(fields, values, strict=True))
            image, rows = self._tile(picture, _Quarter(frame, middle, tf.unstack(is_second)), seed, scene)
            return image, [rows[field] for field in fields]

        tiles, values = [], []
        for number, is_second in enumerate(_QUARTERS):
            picture = (image, rows) if number == 0 else scene.other(fold(seed, number))
            own = [picture[1][field] for field in fields]
            one, own = tile(picture[0], own, tf.constant(is_second), fold(seed, 4 + number))
            tiles.append(one)
            values.append(own)
        whole = tf.concat([tf.concat(tiles[:2], axis=1), tf.concat(tiles[2:], axis=1)], axis=0)
        return whole, {field: field.join(parts) for field, parts in zip(fields, zip(*values, strict=True), strict=True)}

    def _tile(self, picture, quarter, seed, scene):
        """An image cut to a quarter, and its rows in pixels of the whole frame."""
        import tensorflow as tf

        from keras_fpn.data import transforms, visibility

        draws = tf.unstack(uniform(seed, [3]))
        low, high = self.options.scale
        factor = tf.cast(low + draws[0] * (high - low), tf.float64)
        height, width = tf.unstack(tf.shape(picture[0])[:2])
        size = transforms.fit_size(height, width, *(tf.cast(side, tf.float64) * factor for side in quarter.frame))
        image, rows = scene.resize(*picture, size)
        window = quarter.window(size, draws[1:])
        image, rows = transforms.view(image, rows, window, FILL, visibility.kept(rows, window, self.options.visible))
        return image, transforms.crop_rows(rows, quarter.frame_from_here())


class _Quarter:
    """One of the four parts of a frame (height, width) that meet in its middle (y, x).

    Args:
        is_second: of each axis, whether it is the part beyond the middle; bool scalars.
    """

    def __init__(self, frame, middle, is_second):
        import tensorflow as tf

        self.frame, self.is_second = frame, is_second
        self.starts = [tf.where(second, point, 0) for point, second in zip(middle, is_second, strict=True)]
        sides = zip(frame, middle, is_second, strict=True)
        self.lengths = [tf.where(second, side - point, point) for side, point, second in sides]

    def window(self, size, draws):
        """Part of an image of a size that fills the quarter: somewhere, or at the middle where it is smaller."""
        import tensorflow as tf

        from keras_fpn.data import transforms

        starts = []
        for side, length, is_second, draw in zip(size, self.lengths, self.is_second, draws, strict=True):
            room = side - length
            drawn = tf.minimum(tf.cast(draw * tf.cast(room + 1, tf.float32), tf.int32), room)
            starts.append(tf.where(room >= 0, drawn, tf.where(is_second, 0, room)))
        return transforms.Window(*starts, *self.lengths)

    def frame_from_here(self):
        """The frame as a window on the quarter's image, beyond which it reaches."""
        from keras_fpn.data import transforms

        return transforms.Window(*(-start for start in self.starts), *self.frame)
