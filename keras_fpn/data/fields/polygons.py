"""Outlines of objects: the points of their polygons."""

from collections.abc import Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_fpn.console.errors import UserError
from keras_fpn.data import columns, segmentations
from keras_fpn.data.fields.field import ObjectField
from keras_fpn.data.objects import Objects
from keras_fpn.ops import masks

if TYPE_CHECKING:
    import tensorflow as tf

    from keras_fpn.data.transforms import Window

_LEAST = 0.5  # square pixels of an object that are shown where a bitmap as often has a pixel as it has none


class Polygons(ObjectField):
    """`[V, 3]` x, y in pixels and part of each point of an object's polygons; -1, all three, past the last.

    The parts are numbered 0, 1, ... in the order of the file; each is closed, its last point joined to its first, and
    the object is what lies in any of them. A crowd has no points. In memory a point takes 12 bytes: COCO's 860,000
    objects some 320 MB.
    """

    name, shape, padding = "polygons", (None, 3), -1
    refuses = MappingProxyType(
        {"cover": "hides parts of objects, and polygons cannot be cut so (model.mask_targets.rule=bitmask can)"}
    )

    def read(self, objects: Objects) -> tuple[Any, np.ndarray]:
        """Every object but crowds needs polygons as "segmentation"; without, or wholly outside, it is unsound."""
        sizes, is_crowd = objects.sizes.tolist(), np.asarray(objects.columns["is_crowd"]) == 1
        points: list[np.ndarray] = []
        lengths, is_inside = np.zeros(len(objects), np.int64), np.ones(len(objects), bool)
        problems = {}
        with segmentations.counted(len(objects)) as count:
            for index in np.flatnonzero(~is_crowd).tolist():
                given = _polygons(objects, index)
                problem = masks.what_is_wrong(given, *sizes[index])
                if problem:
                    problems[index] = problem
                    continue
                own = _points(given)
                points.append(own)
                lengths[index] = len(own)
                low, high = own[:, :2].min(0), own[:, :2].max(0)
                is_inside[index] = (high > 0).all() and (low < sizes[index][::-1]).all()
                count(index + 1)
        is_usable = segmentations.are_usable(objects, problems, "polygons are needed here", "add them")
        column = columns.Ragged.of(np.concatenate([np.zeros((0, 3), np.float32), *points]), lengths)
        return column, is_usable & objects.sound_or_refused(
            is_inside,
            lambda index: 'its "segmentation" lies outside its image',
            "correct it, or leave such objects out",
        )

    def unpack(self, rows: "tf.RaggedTensor") -> "tf.Tensor":
        """See `ObjectField`."""
        return rows.to_tensor(self.padding, shape=[None, None, 3])

    def flip(self, rows: "tf.Tensor", size: "tf.Tensor") -> "tf.Tensor":
        """See `RowField`."""
        return self._moved(rows, [-1.0, 1.0], [size[1], 0])

    def scale(self, rows: "tf.Tensor", old_size: "Sequence[tf.Tensor]", new_size: "Sequence[tf.Tensor]") -> "tf.Tensor":
        """See `RowField`."""
        import tensorflow as tf

        old, new = (tf.cast(tf.stack([size[1], size[0]]), tf.float32) for size in (old_size, new_size))
        return self._moved(rows, new / old, [0.0, 0.0])

    def is_shown(self, rows: "tf.Tensor", window: "Window") -> "tf.Tensor":
        """Objects of whose area at least half a pixel is in the window, which the box around it may be alone.

        One that has no such area, a crowd or points on a line, is left to the other fields.
        """
        from keras_fpn.data import outline_areas

        edges = outline_areas.edges_of(rows)
        return (edges.areas(window) >= _LEAST) | (edges.areas() < _LEAST)

    def crop(self, rows: "tf.Tensor", window: "Window", boxes: "tf.Tensor") -> "tf.Tensor":
        """Points in pixels of the window; they stay where they are beyond it, for lines run there."""
        return self._moved(rows, [1.0, 1.0], [-window.left, -window.top])

    def _moved(self, rows, factor, offset):
        """Rows at `x * factor + offset`, padding as it is."""
        import tensorflow as tf

        moved = rows[..., :2] * factor + tf.cast(tf.stack(offset), tf.float32)
        return tf.where(rows[..., 2:] >= 0, tf.concat([moved, rows[..., 2:]], axis=2), rows)


def _polygons(objects, index):
    """The "segmentation" of an object, which is not run lengths."""
    segmentation = objects.entries[index].get("segmentation")
    if isinstance(segmentation, dict) and segmentation:
        raise UserError(
            f'{objects.name(index)}: "segmentation" is run lengths, and masks are learnt from polygons here; set'
            " model.mask_targets.rule=bitmask"
        )
    return segmentation


def _points(segmentation):
    """`[V, 3]` float32 of one object."""
    parts = [np.array(polygon, np.float32).reshape(-1, 2) for polygon in segmentation]
    numbers = np.repeat(np.arange(len(parts), dtype=np.float32), [len(part) for part in parts])
    return np.concatenate([np.concatenate(parts), numbers[:, None]], axis=1)
