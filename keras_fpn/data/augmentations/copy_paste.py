"""Objects of another image, pasted."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from keras_fpn.data.augmentations.augmentation import (
    Augmentation,
    AugmentationSettings,
    Range,
    Scene,
    column,
    fold,
    uniform,
)
from keras_fpn.parts.settings import Probability

if TYPE_CHECKING:
    import tensorflow as tf

    from keras_fpn.data.augmentations.augmentation import Picture, Rows


class CopyPasteSettings(AugmentationSettings):
    """`shape`: objects are cut out by their masks, which every object's "segmentation" must then give, or with all that
    is in their boxes. `objects`: how many are pasted at most; the number is drawn. `scale`: [low, high] of the size of
    the image that they come from, 1 fitting the whole frame. `visible`: the share that is seen, at least, of a pasted
    object's box within the frame, and of another object that is partly hidden.
    """

    shape: Literal["masks", "boxes"] = "masks"
    objects: Annotated[int, Field(ge=1, le=1000)] = 10
    scale: Range = [0.5, 1.5]
    visible: Probability = 0.3


class CopyPaste(Augmentation):
    """Some objects of one other image of the data set, at the place that they have in it, shifted at random.

    After Ghiasi et al. (CVPR 2021), without their blending at the edges, which they found not to matter. Objects that
    are hidden in part have smaller boxes and masks, and those that are hidden too far are gone. Crowds are not pasted.
    """

    name, settings, operations = "copy_paste", CopyPasteSettings, ("crop", "join", "cover")

    @property
    def needs_fields(self) -> tuple[str, ...]:
        """See `Augmentation`."""
        return ("masks",) if self.options.shape == "masks" else ()

    def apply(self, image: "tf.Tensor", rows: "Rows", seed: "tf.Tensor", scene: Scene) -> "Picture":
        """See `Augmentation`."""
        import tensorflow as tf

        from keras_fpn.data import mask_grids

        frame = scene.frame(tf.shape(image)[:2])
        image, rows = scene.resize(image, rows, frame)
        other, other_rows = self._other(frame, seed, scene)
        chosen = self._choose(other_rows, fold(seed, 3))
        other_rows = {field: field.without_lost(own, chosen) for field, own in other_rows.items()}
        painted = mask_grids.paint(self._masks(other_rows), column(other_rows, "boxes"), *frame)
        rows = self._covered(rows, painted)
        joined = {field: field.join([own, other_rows[field]]) for field, own in rows.items()}
        return tf.where(painted[..., None], other, image), joined

    def _other(self, frame, seed, scene):
        """Another image somewhere over the frame, and the rows of those of its objects that may be pasted."""
        import tensorflow as tf

        from keras_fpn.data import transforms, visibility

        image, rows = scene.other(fold(seed, 0))
        factor = tf.cast(uniform(fold(seed, 1), [], *self.options.scale), tf.float64)
        height, width = tf.unstack(tf.shape(image)[:2])
        size = transforms.fit_size(height, width, *(tf.cast(side, tf.float64) * factor for side in frame))
        image, rows = scene.resize(image, rows, size)
        draws = tf.unstack(uniform(fold(seed, 2), [2]))
        # From all of what is too much cut off at one end to all of it at the other, or of what is missing added.
        starts = [
            tf.cast(tf.floor(draw * tf.cast(own - side, tf.float32) + 0.5), tf.int32)
            for draw, own, side in zip(draws, size, frame, strict=True)
        ]
        window = transforms.Window(*starts, *frame)
        is_kept = visibility.kept(rows, window, self.options.visible) & (column(rows, "is_crowd") == 0)
        return transforms.view(image, rows, window, 0, is_kept)

    def _choose(self, rows, seed):
        """`[n]` bool: from one of the objects to as many as the settings say, drawn."""
        import tensorflow as tf

        count = tf.shape(column(rows, "boxes"))[:1]
        wanted = 1 + tf.cast(uniform(fold(seed, 0), []) * self.options.objects, tf.int32)
        order = tf.argsort(uniform(fold(seed, 1), count))
        return tf.argsort(order) < wanted

    def _masks(self, rows):
        """Masks of the objects, `[n, S, S]` uint8; all of their boxes where these are what is cut out."""
        import tensorflow as tf

        from keras_fpn.data.segmentations import SIDE

        if self.options.shape == "masks":
            return column(rows, "masks")
        return tf.ones([tf.shape(column(rows, "boxes"))[0], SIDE, SIDE], tf.uint8)

    def _covered(self, rows, painted):
        """Rows of the objects that are still seen under what was pasted."""
        import tensorflow as tf

        from keras_fpn.data import mask_grids, transforms

        boxes, is_crowd = column(rows, "boxes"), column(rows, "is_crowd") == 1
        masks = self._masks(rows) > 0
        is_seen = ~mask_grids.sample(painted, boxes) | is_crowd[:, None, None]
        left = masks & is_seen
        share = tf.math.divide_no_nan(_count(left), _count(masks))
        new_boxes = mask_grids.shrink(boxes, masks, left)
        rows = {field: field.cover(own, is_seen, boxes, new_boxes) for field, own in rows.items()}
        return transforms.drop_lost(rows, is_crowd | (share >= self.options.visible))


def _count(bins):
    import tensorflow as tf

    return tf.reduce_sum(tf.cast(bins, tf.float32), axis=[1, 2])
