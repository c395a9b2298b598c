"""Base of per-object fields: everything that the data pipeline does with it, said in one place."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_fpn.data import columns
from keras_fpn.data.objects import Objects
from keras_fpn.parts import output_fields
from keras_fpn.parts.output_fields import OutputField
from keras_fpn.parts.settings import Settings

if TYPE_CHECKING:
    import tensorflow as tf

    from keras_fpn.data.coco import Record
    from keras_fpn.data.transforms import Window


OPERATIONS = ("flip", "crop", "join", "cover")  # the hooks that a field may refuse; all can be resized


class RowField:
    """Rows of numbers that an image has, and where they go when its pixels go somewhere.

    The hooks that work on tensors import TensorFlow themselves, so that a field can be declared and read without it.
    Rows are `[n, *shape]` of `dtype`; sizes are `(height, width)` in pixels.

    Attributes:
        name: key of a batch.
        part: "targets" or "inputs" of a batch, where the key is.
        dtype: of the numbers, a name such as "int32".
        shape: of one row; None of an axis whose length is the image's own.
        padding: what the rows are filled up with.
        refuses: what cannot be done to an image whose rows these are, hooks of this class: `{one of OPERATIONS: why, a
            sentence without its subject}`. `load_coco` refuses what would use one of them.
    """

    name: str
    part: str
    dtype: str = "float32"
    shape: tuple[int | None, ...] = ()
    padding: float = 0
    refuses: Mapping[str, str] = MappingProxyType({})

    def flip(self, rows: "tf.Tensor", size: "tf.Tensor") -> "tf.Tensor":
        """Rows of the image mirrored left and right; by default as they are.

        Args:
            size: of the image, int32 tensors.
        """
        return rows

    def scale(self, rows: "tf.Tensor", old_size: "Sequence[tf.Tensor]", new_size: "Sequence[tf.Tensor]") -> "tf.Tensor":
        """Rows of the image resized from `old_size` to `new_size`, each axis by its ratio; by default as they are."""
        return rows

    def crop(self, rows: "tf.Tensor", window: "Window", boxes: "tf.Tensor") -> "tf.Tensor":
        """Rows of the image cut to a window; by default as they are.

        Args:
            window: `transforms.Window`, which may reach beyond the image: above and left of it by a negative top and
                left, where an image is put somewhere in a larger one.
            boxes: `[n, 4]` x1, y1, x2, y2 of the objects before the cut.
        """
        return rows

    def join(self, parts: "Sequence[tf.Tensor]") -> "tf.Tensor":
        """Rows of an image that several were put together to, from theirs; by default one after the other.

        Axes whose length is the image's own are padded to the longest.
        """
        import tensorflow as tf

        for axis in (axis for axis, side in enumerate(self.shape, start=1) if side is None):
            sides = [tf.shape(part)[axis] for part in parts]
            most = tf.reduce_max(sides)
            parts = [self._lengthened(part, axis, most - side) for part, side in zip(parts, sides, strict=True)]
        return tf.concat(parts, axis=0)

    def cover(
        self, rows: "tf.Tensor", is_seen: "tf.Tensor", boxes: "tf.Tensor", new_boxes: "tf.Tensor"
    ) -> "tf.Tensor":
        """Rows of objects of which something else hides parts; by default as they are.

        Args:
            is_seen: `[n, 56, 56]` bool, which bins of its box of each object nothing hides.
            boxes: `[n, 4]` x1, y1, x2, y2 of the objects before.
            new_boxes: `[n, 4]` boxes around what is left of each.
        """
        return rows

    def is_shown(self, rows: "tf.Tensor", window: "Window") -> "tf.Tensor | None":
        """`[n]` bool, of which objects a window shows something, from their rows before the crop; see `is_left`.

        Args:
            window: as of `crop`.
        """
        return None

    def is_left(self, rows: "tf.Tensor") -> "tf.Tensor | None":
        """`[n]` bool, which objects a crop has left, from their rows after it; None where this field has no say."""
        return None

    def without_lost(self, rows: "tf.Tensor", is_left: "tf.Tensor") -> "tf.Tensor":
        """Rows after a crop that left of the m objects those with `is_left` `[m]`; all, if the rows are no objects."""
        return rows

    def pad(self, rows: "tf.Tensor", count: int) -> "tf.Tensor":
        """Rows filled up to `count`, or as they are where there are as many."""
        import tensorflow as tf

        missing = tf.maximum(count - tf.shape(rows)[0], 0)
        return self._lengthened(rows, 0, missing)

    def _lengthened(self, rows, axis, missing):
        """Rows with the padding behind them along an axis."""
        import tensorflow as tf

        paddings = [[0, missing if each == axis else 0] for each in range(len(self.shape) + 1)]
        return tf.pad(rows, paddings, constant_values=tf.constant(self.padding, self.dtype))

    def none(self) -> "tf.Tensor":
        """No rows at all, `[0, *shape]`, with 0 for None."""
        import tensorflow as tf

        return tf.zeros([0, *(side or 0 for side in self.shape)], self.dtype)


class ObjectField(RowField):
    """A number, or an array of them, that each object has: read from an annotation file, given as a target.

    A field by the name of a key whose numbers stand in the annotations is a subclass with a `name` and a `dtype`, made
    known by `register_object_field`. It overrides what is different for it.

    Attributes:
        settings: a class of `Settings` whose keys are settings of the data, too, `data.KEY` in a configuration: a field
            that needs to be told something takes it in `with_settings`.
        counted: words for what `amount` counts, such as "labelled corners".
        least: an image with a smaller amount is not trained on.
        kept_dtype, kept_shape: of one object in memory, where it is not `dtype` and `shape` (see `unpack`). A
            `kept_shape` that begins with None is of objects of different lengths: `read` gives a `columns.Ragged`.
    """

    part = "targets"
    settings: type[Settings] = Settings
    counted: str = ""
    least: int = 0
    kept_dtype: str | None = None
    kept_shape: tuple[int | None, ...] | None = None

    def with_settings(self, **settings: Any) -> "ObjectField":
        """The field as the settings of the data want it; by default itself.

        Args:
            settings: values of keys of its `settings`, those that are given.
        """
        return self

    def amount(self, rows: np.ndarray) -> int | None:
        """How much of the field there is to learn from in an image; None, of most fields, where that is not counted.

        Args:
            rows: of the image, as they are kept in memory.
        """
        return None

    def for_categories(self, categories: "Sequence[Mapping[str, Any]]", source: str) -> "ObjectField":
        """The field as a data set has it, whose categories say how many numbers there are or what they mean.

        By default itself. What it returns reads the objects and stands in the data set's `fields`.

        Args:
            categories: entries of "categories", in the order of the classes.
            source: the annotations, for errors.

        Raises:
            UserError: the categories do not say what the field needs.
        """
        return self

    def check_same_as(self, other: "ObjectField", source: str, other_source: str) -> None:
        """Refuse a data set whose numbers mean others than those of this one, where the two belong together.

        By default they mean the same. Both fields are of `for_categories`.

        Args:
            other: this field of the other data set.
            source, other_source: the annotations of each, for errors.

        Raises:
            UserError: they differ; names both.
        """

    def categories_to_measure(self, categories: "Sequence[dict]") -> list[dict]:
        """Entries of "categories" with what evaluation needs to know of the field; by default as they are."""
        return list(categories)

    def shown_by(self) -> OutputField | None:
        """The output field by whose `of_truth` pictures of the data show it; None where they do not.

        By default the registered one of its name, or that lists its name among the `truths`.
        """
        return output_fields.showing(self.name)

    def read(self, objects: Objects) -> tuple[Any, np.ndarray]:
        """Read the column of this field; by default the finite numbers that the annotations have under its name.

        Args:
            objects: with "boxes", "classes" and "is_crowd" among its columns.

        Returns:
            `([n, *kept_shape] of kept_dtype, [n] bool: which objects are sound)`; the others are left out.

        Raises:
            UserError: an annotation says something that cannot be trusted; names the file, the annotation, the mend.
        """
        column = objects.numbers(self.name, self.dtype, tuple(side for side in self.shape if side is not None))
        is_finite = np.isfinite(column).all(axis=tuple(range(1, column.ndim)))
        return column, objects.sound_or_refused(
            is_finite, lambda index: f'its "{self.name}" is not finite', "correct it, or leave such objects out"
        )

    def unpack(self, rows: "tf.Tensor") -> "tf.Tensor":
        """Rows `[n, *shape]` from what is kept of them in memory, `[n, *kept_shape]`; by default as they are.

        What is kept as `columns.Ragged` comes as a `tf.RaggedTensor`.
        """
        return rows

    def without_lost(self, rows: "tf.Tensor", is_left: "tf.Tensor") -> "tf.Tensor":
        """See `RowField`."""
        import tensorflow as tf

        return tf.boolean_mask(rows, is_left)

    def source(self, records: "Sequence[Record]") -> "Callable[[tf.Tensor], tf.Tensor]":
        """Function from the number of a record to its rows, in TensorFlow operations."""
        import tensorflow as tf

        column, limits = columns.join([record.fields[self.name] for record in records])
        rows, limits = columns.reader(column), tf.constant(limits)
        return lambda index: self.unpack(rows(limits[index, 0], limits[index, 1]))

    def of_batch(self, rows: "tf.Tensor") -> "dict[str, tf.Tensor]":
        """Entries of one example that the rows become, at least one: `{key: tensor}`."""
        return {self.name: self.pad(rows, 1)}

    def batch_padding(self) -> dict[str, Any]:
        """Padding of the keys of `of_batch` in a batch: `{key: value}`."""
        import tensorflow as tf

        return {self.name: tf.constant(self.padding, self.dtype)}
