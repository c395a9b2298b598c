"""Images put somewhere in a larger frame: small objects out of large ones."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from keras_fpn.data.augmentations.augmentation import FILL, Augmentation, AugmentationSettings, Scene, fold, uniform

if TYPE_CHECKING:
    import tensorflow as tf

    from keras_fpn.data.augmentations.augmentation import Picture, Rows


class ZoomOutSettings(AugmentationSettings):
    """`factor`: the frame has up to so many times the sides of the image (SSD's expansion has 4)."""

    factor: Annotated[float, Field(ge=1, le=16)] = 2.0


class ZoomOut(Augmentation):
    """The image at a random place of a frame of its shape, which is grey around it.

    The expansion of SSD (Liu et al., ECCV 2016, section 3.6). It costs no memory: the frame has the size that the image
    would have been resized to, and the image goes into it in one step.
    """

    name, settings, operations = "zoom_out", ZoomOutSettings, ("crop",)

    def apply(self, image: "tf.Tensor", rows: "Rows", seed: "tf.Tensor", scene: Scene) -> "Picture":
        """See `Augmentation`."""
        import tensorflow as tf

        from keras_fpn.data import transforms

        frame = scene.frame(tf.shape(image)[:2])
        factor = tf.cast(uniform(fold(seed, 0), [], 1.0, self.options.factor), tf.float64)
        size = transforms.fit_size(frame[0], frame[1], *(tf.cast(side, tf.float64) / factor for side in frame))
        image, rows = scene.resize(image, rows, size)
        draws = tf.unstack(uniform(fold(seed, 1), [2]))
        top, left = (
            -tf.minimum(tf.cast(draw * tf.cast(room + 1, tf.float32), tf.int32), room)
            for draw, room in zip(draws, (frame[0] - size[0], frame[1] - size[1]), strict=True)
        )
        return transforms.view(image, rows, transforms.Window(top, left, *frame), FILL)
