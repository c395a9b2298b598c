"""Keypoints of objects: places by name, each visible, hidden, or not labelled."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveFloat

from keras_fpn.console.errors import UserError
from keras_fpn.data import keypoint_entries
from keras_fpn.data.fields.field import ObjectField
from keras_fpn.data.keypoint_lists import KeypointList, checked_sigmas, flip_order, keypoint_list
from keras_fpn.data.keypoint_sides import swapping_pairs
from keras_fpn.data.objects import Objects, short
from keras_fpn.data.segmentations import SIDE
from keras_fpn.parts.keypoint_fields import KeypointPlaces
from keras_fpn.parts.settings import Settings

if TYPE_CHECKING:
    import tensorflow as tf

    from keras_fpn.data.transforms import Window

_CANNOT_SWAP = (
    "cannot tell which keypoints swap sides: {why}, and data.keypoint_flips gives no pairs of names ([] where none"
    " swaps)"
)
_Pair = Annotated[list[str], Field(min_length=2, max_length=2)]


class KeypointSettings(Settings):
    """`keypoint_flips`: pairs of names of keypoints that swap when an image is mirrored, [] where none does; null:
    those of the categories ("keypoint_flips"), or names that differ in left and right alone. `keypoint_sigmas`:
    pycocotools' of each keypoint, or one number for all of them; null: those of the categories ("sigmas"), or COCO's of
    its 17. `min_keypoints`: images with fewer labelled keypoints, of all their objects together, are not trained on.
    """

    keypoint_flips: list[_Pair] | None = None
    keypoint_sigmas: PositiveFloat | list[PositiveFloat] | None = None
    min_keypoints: NonNegativeInt = 0


class Keypoints(ObjectField):
    """`[K, 3]` x, y in pixels and v of each keypoint: 2 visible, 1 labelled though hidden, 0 not labelled.

    The conventions are detectron2's: what is not labelled is 0, 0, 0, and what a change moves beyond the border of the
    image is not labelled any more. One that something else hides stays labelled, which is what COCO
    means by 1: the head learns to tell where it must be.

    Args:
        offset: added to x and y of the annotations, which COCO gives as numbers of pixels: 0.5 goes by their centres
            (detectron2), 0 takes them as they are (torchvision).
        flips: pairs of names that swap when an image is mirrored; None: what the categories say, or else by left and
            right in the names.
        sigmas: of evaluation, one for all keypoints or one for each; None: what the categories say.
        least: labelled keypoints of an image that is trained on: 1 in detectron2, 10 in torchvision's references.
        known: the keypoints of a data set, see `for_categories`.

    Attributes:
        names, skeleton, skeletons, of_classes: of `KeypointList`, of a data set.
    """

    name, shape, settings, counted = "keypoints", (0, 3), KeypointSettings, "labelled keypoints"

    def __init__(
        self,
        offset: float = 0.0,
        flips: Sequence[Sequence[str]] | None = None,
        sigmas: float | Sequence[float] | None = None,
        known: KeypointList | None = None,
        least: int = 0,
    ):
        self.offset, self.flips, self.sigmas, self.known, self.least = offset, flips, sigmas, known, least
        if known is None:
            return
        self.names, self.skeleton, self.of_classes = known.names, known.skeleton, known.of_classes
        self.skeletons = known.skeletons
        self.shape = (len(known.names), 3)
        pairs = next((each for each in (flips, known.flips) if each is not None), swapping_pairs(known.names))
        self.order = None if pairs is None else flip_order(known.names, pairs)
        if self.order is None:
            why = f"none of {short(known.names)} has its other side by left and right"
            self.refuses = MappingProxyType({"flip": _CANNOT_SWAP.format(why=why)})

    def with_settings(self, **settings: Any) -> "Keypoints":
        """The same with what the settings give over what it was made with."""
        flips, sigmas = settings.get("keypoint_flips"), settings.get("keypoint_sigmas")
        flips, sigmas = (self.flips if flips is None else flips), (self.sigmas if sigmas is None else sigmas)
        return Keypoints(self.offset, flips, sigmas, self.known, settings.get("min_keypoints", self.least))

    def for_categories(self, categories: Sequence[Mapping[str, Any]], source: str) -> "Keypoints":
        """With K, the names and the skeleton of the categories, which have one list of keypoints or none."""
        return Keypoints(self.offset, self.flips, self.sigmas, keypoint_list(categories, source), self.least)

    def check_same_as(self, other: ObjectField, source: str, other_source: str) -> None:
        """See `ObjectField`; the names must be the same, in their order."""
        if self.names != getattr(other, "names", None):
            raise UserError(
                f"{other_source}: its keypoints {short(getattr(other, 'names', ()))} are not those of {source},"
                f" {short(self.names)}; give both one list, in one order"
            )

    def amount(self, rows: np.ndarray) -> int:
        """The labelled keypoints of all objects, hidden ones too, as the sources count them."""
        return int((rows[..., 2] > 0).sum())

    def categories_to_measure(self, categories: Sequence[dict]) -> list[dict]:
        """With the sigmas that were given for those of the categories."""
        if self.sigmas is None:
            return list(categories)
        sigmas = list(checked_sigmas(self.sigmas, self.shape[0], "data.keypoint_sigmas"))
        return [{**each, "sigmas": sigmas} if each.get("keypoints") else each for each in categories]

    def shown_by(self) -> KeypointPlaces:
        """See `ObjectField`."""
        return KeypointPlaces(self.names, self.skeleton, self.offset, skeletons=self.skeletons)

    def read(self, objects: Objects) -> tuple[np.ndarray, np.ndarray]:
        """COCO's "keypoints", x, y, v of each; of an object without them none is labelled.

        Those outside of the image are not labelled, those outside of the box stay as they are.
        """
        number = self.shape[0]
        column = np.zeros((len(objects), number, 3))
        for row, entry in enumerate(objects.entries):
            places = keypoint_entries.places_of(entry, number)
            if places is None:
                raise UserError(
                    f"{objects.name(row)}: {keypoint_entries.not_numbers(entry, number)}; write x, y, v of each of the"
                    f" {number} keypoints of its category"
                )
            column[row] = places
        has, wrong = self._has_keypoints(objects), {}
        for row in np.flatnonzero(~self._is_plain(column, objects, has)).tolist():
            wrong[row] = keypoint_entries.what_is_wrong(column[row], objects.entries[row], bool(has[row]))
        is_sound = objects.sound_or_refused(
            np.array([wrong.get(row) is None for row in range(len(objects))], bool),
            lambda row: str(wrong[row]),
            "correct it, or leave such objects out",
        )
        column[~is_sound] = 0
        return self._in_image(column, objects.sizes), is_sound

    def _has_keypoints(self, objects) -> np.ndarray:
        """`[n]` bool, of which objects the category has keypoints."""
        has = np.array([len(points) > 0 for points in self.of_classes], bool)
        return has[np.asarray(objects.columns["classes"], int)]

    def _is_plain(self, column, objects, has) -> np.ndarray:
        """`[n]` bool, of which objects nothing needs a second look."""
        counts = np.array([keypoint_entries.number_labelled(entry) for entry in objects.entries], object)
        labelled = (column[..., 2] > 0).sum(1)
        with np.errstate(invalid="ignore"):
            is_known = np.isin(column[..., 2], (0, 1, 2)).all(1)
        return is_known & np.isfinite(column).all((1, 2)) & (counts == labelled) & (has | (labelled == 0))

    def _in_image(self, column, sizes) -> np.ndarray:
        """The numbers as the pipeline has them: with the offset, nothing labelled outside of the image."""
        places = column[..., :2] + self.offset
        is_inside = ((places >= 0) & (places <= sizes[:, None, ::-1])).all(-1)
        is_labelled = (column[..., 2] > 0) & is_inside
        rows = np.concatenate([places, column[..., 2:]], axis=-1)
        return np.where(is_labelled[..., None], rows, 0).astype(np.float32)

    def flip(self, rows: "tf.Tensor", size: "tf.Tensor") -> "tf.Tensor":
        """x -> width - x, and the keypoints of the left are those of the right."""
        import tensorflow as tf

        if self.order is None:
            raise UserError(f"keypoints: a mirrored image {self.refuses['flip']}; give them")
        x, y, v = tf.unstack(tf.gather(rows, self.order, axis=1), axis=-1)
        return _labelled(tf.stack([tf.cast(size[1], rows.dtype) - x, y, v], axis=-1), v > 0)

    def scale(self, rows: "tf.Tensor", old_size: "Sequence[tf.Tensor]", new_size: "Sequence[tf.Tensor]") -> "tf.Tensor":
        """See `RowField`."""
        import tensorflow as tf

        y, x = (tf.cast(new_size[axis], rows.dtype) / tf.cast(old_size[axis], rows.dtype) for axis in (0, 1))
        return rows * tf.stack([x, y, tf.ones_like(x)])

    def crop(self, rows: "tf.Tensor", window: "Window", boxes: "tf.Tensor") -> "tf.Tensor":
        """In pixels of the window; what it does not show is not labelled."""
        import tensorflow as tf

        left, top, width, height = (
            tf.cast(side, rows.dtype) for side in (window.left, window.top, window.width, window.height)
        )
        x, y, v = tf.unstack(rows, axis=-1)
        x, y = x - left, y - top
        is_inside = (x >= 0) & (x <= width) & (y >= 0) & (y <= height)
        return _labelled(tf.stack([x, y, v], axis=-1), (v > 0) & is_inside)

    def cover(
        self, rows: "tf.Tensor", is_seen: "tf.Tensor", boxes: "tf.Tensor", new_boxes: "tf.Tensor"
    ) -> "tf.Tensor":
        """A keypoint in a hidden bin of the object's box is labelled still, and not visible: v 1."""
        import tensorflow as tf

        x, y, v = tf.unstack(rows, axis=-1)
        x1, y1, x2, y2 = tf.split(boxes, 4, axis=1)
        places = [(x - x1) / (x2 - x1), (y - y1) / (y2 - y1)]
        is_inside = tf.reduce_all([(place >= 0) & (place <= 1) for place in places], axis=0)
        column, row = (tf.clip_by_value(tf.cast(place * SIDE, tf.int32), 0, SIDE - 1) for place in places)
        bins = tf.reshape(is_seen, [-1, SIDE * SIDE])
        is_hidden = is_inside & ~tf.gather(bins, row * SIDE + column, batch_dims=1)
        return tf.stack([x, y, tf.where(is_hidden, tf.minimum(v, 1.0), v)], axis=-1)


def _labelled(rows, is_labelled):
    import tensorflow as tf

    return tf.where(is_labelled[..., None], rows, tf.zeros_like(rows))
