"""A half of a data set as columns, whatever is wrong in it."""

import dataclasses
import functools
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from keras_fpn.data.box_forms import as_xywh, clipped_corners
from keras_fpn.data.checks import entry_columns
from keras_fpn.data.checks.finding import EXAMPLES, Example, Finding, Kind
from keras_fpn.data.checks.picture_file import PictureFile
from keras_fpn.data.coco import CocoDataset
from keras_fpn.data.entry_values import text_of
from keras_fpn.data.instances import root_category, section

_SECTIONS = ("images", "annotations", "categories")

Words = Callable[[int], str]


@dataclass(frozen=True, eq=False)
class HalfTable:
    """The m images, n annotations and k categories of a half, and their columns.

    Attributes:
        name: of the half, such as "train".
        source: its annotation file.
        folder: its image folder.
        images, annotations, categories: the entries of the file; without those that are no objects at all, and the
            parent category of Roboflow's exports. Without annotations where a `CocoDataset` was read, which keeps none.
        odd: `{section: how many of its entries were no objects}`.
        sizes: `[m, 2]` float64 height and width in pixels, NaN where the file does not say them.
        rows: `[n]` int64 row of the image that an object is on, -1 where there is none.
        classes: `[n]` int64 row of its category, -1 where there is none.
        boxes: `[n, 4]` float64 x, y, width, height in pixels.
        has_box: `[n]` bool, whether it has four numbers as its box.
        crowd: `[n]` int8 0 or 1, -1 where "iscrowd" is neither.
        form: of the boxes in the file, see `box_forms`.
        files: of the pictures, for examples; empty where none was looked for.
        rest: what else the file holds, such as "licenses".
    """

    name: str
    source: str
    folder: str
    images: Sequence[Mapping[str, Any]]
    annotations: Sequence[Mapping[str, Any]]
    categories: Sequence[Mapping[str, Any]]
    odd: Mapping[str, int]
    sizes: np.ndarray
    rows: np.ndarray
    classes: np.ndarray
    boxes: np.ndarray
    has_box: np.ndarray
    crowd: np.ndarray
    form: str = "xywh"
    files: Sequence[PictureFile | None] = ()
    rest: Mapping[str, Any] = field(default_factory=dict)

    @functools.cached_property
    def image_keys(self) -> list[Hashable]:
        """The ids of the images, see `entry_columns.keys`."""
        return entry_columns.keys([image.get("id") for image in self.images])

    @functools.cached_property
    def category_keys(self) -> list[Hashable]:
        """The ids of the categories, see `entry_columns.keys`."""
        return entry_columns.keys([category.get("id") for category in self.categories])

    @functools.cached_property
    def class_names(self) -> list[str]:
        """The names of the categories, the id where there is none."""
        return [text_of(each.get("name")) or f"category {each.get('id')!r}" for each in self.categories]

    @functools.cached_property
    def of_objects(self) -> np.ndarray:
        """`[n, 2]` height and width of the image of each object, NaN where there is none."""
        sizes = np.concatenate([self.sizes, np.full((1, 2), np.nan)])
        return sizes[self.rows]

    @functools.cached_property
    def corners(self) -> np.ndarray:
        """`[n, 4]` x1, y1, x2, y2 clipped to the image, as training clips them."""
        return clipped_corners(self.boxes, self.of_objects).astype(np.float64)

    @functools.cached_property
    def is_finite(self) -> np.ndarray:
        """`[n]` bool: which have a box of four finite numbers."""
        return self.has_box & np.isfinite(self.boxes).all(1)

    @functools.cached_property
    def has_extent(self) -> np.ndarray:
        """`[n]` bool: which have a box with width and height."""
        return self.is_finite & (self.boxes[:, 2] > 0) & (self.boxes[:, 3] > 0)

    @functools.cached_property
    def is_sound(self) -> np.ndarray:
        """`[n]` bool: which have an image, a category, and a box with a part in the image."""
        corners = self.corners
        is_inside = (corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1])  # False with NaN
        return self.has_extent & is_inside & (self.rows >= 0) & (self.classes >= 0)

    @functools.cached_property
    def is_object(self) -> np.ndarray:
        """`[n]` bool: the sound ones that are no crowds."""
        return self.is_sound & (self.crowd != 1)

    def find_objects(
        self, kind: Kind, which: np.ndarray, words: Words | None = None, detail: str = ""
    ) -> list[Finding]:
        """A finding of annotations, none where there are none.

        Args:
            which: `[n]` bool.
            words: what is wrong with the annotation of an index.
        """
        return self._found(kind, which, self.object_example if self.annotations else None, words, detail)

    def find_images(
        self, kind: Kind, which: np.ndarray, words: Words | None = None, detail: str = ""
    ) -> list[Finding]:
        """A finding of images, see `find_objects`; `which` is `[m]` bool."""
        return self._found(kind, which, self.image_example, words, detail)

    def find_classes(
        self, kind: Kind, which: np.ndarray, words: Words | None = None, detail: str = ""
    ) -> list[Finding]:
        """A finding of categories, see `find_objects`; `which` is `[k]` bool."""
        return self._found(kind, which, self.class_example, words, detail)

    def find_whole(self, kind: Kind, detail: str = "", count: int = 1) -> list[Finding]:
        """A finding of the half as such."""
        return [Finding(kind, self.name, count, (), detail)]

    def _found(self, kind, which, example, words, detail):
        indices = np.flatnonzero(which)
        if not len(indices):
            return []
        shown = [] if example is None else indices[:EXAMPLES].tolist()
        examples = [example(index, words(index) if words else "") for index in shown]
        return [Finding(kind, self.name, len(indices), examples, detail, indices)]

    def object_example(self, index: int, detail: str = "") -> Example:
        """An annotation as an example."""
        entry, row, label = self.annotations[index], int(self.rows[index]), int(self.classes[index])
        image = self.image_example(row) if row >= 0 else Example(image_id=entry.get("image_id"))
        has_pixels = self.form != "xywh" and self.has_box[index]
        return dataclasses.replace(
            image,
            annotation_id=entry.get("id"),
            box=self.boxes[index].tolist() if has_pixels else entry.get("bbox"),
            class_name=self.class_names[label] if label >= 0 else None,
            detail=detail,
        )

    def image_example(self, row: int, detail: str = "") -> Example:
        """An image as an example."""
        image = self.images[row]
        name, file = image.get("file_name"), self.files[row] if self.files else None
        size = self.sizes[row]
        return Example(
            image_id=image.get("id"),
            file_name=name if isinstance(name, str) else None,
            file=file,
            size=(int(size[0]), int(size[1])) if np.isfinite(size).all() else None,
            detail=detail,
        )

    def class_example(self, row: int, detail: str = "") -> Example:
        """A category as an example."""
        return Example(class_name=self.class_names[row], detail=detail)


def table_of_content(
    name: str, source: str, folder: str, content: Any, boxes: str = "xywh", crowds: str = "ignore"
) -> HalfTable:
    """The table of what `formats.read_content` gives.

    Args:
        boxes, crowds: how it is read, see `read_coco`.

    Raises:
        UserError: it is no instances file at all.
    """
    raw = {key: section(source, content, key) for key in _SECTIONS}
    kept = {key: [each for each in raw[key] if isinstance(each, dict)] for key in _SECTIONS}
    odd = {key: len(raw[key]) - len(kept[key]) for key in _SECTIONS if len(raw[key]) > len(kept[key])}
    root = root_category(kept["categories"], kept["annotations"])
    images, entries = kept["images"], kept["annotations"]
    categories = [category for category in kept["categories"] if category is not root]
    rows, classes = (
        entry_columns.places(
            entry_columns.keys([entry.get(key) for entry in entries]),
            entry_columns.keys([each.get("id") for each in known]),
        )
        for key, known in (("image_id", images), ("category_id", categories))
    )
    found, has_box = entry_columns.four_numbers([entry.get("bbox") for entry in entries])
    sizes = _sizes(images)
    if boxes != "xywh":
        with np.errstate(invalid="ignore", over="ignore"):
            found = as_xywh(found, np.concatenate([sizes, np.full((1, 2), np.nan)])[rows], boxes)
    crowd = np.zeros(len(entries), np.int8) if crowds == "objects" else entry_columns.crowds(entries)
    rest = {key: value for key, value in content.items() if key not in _SECTIONS}
    return HalfTable(
        name, source, folder, images, entries, categories, odd, sizes, rows, classes, found, has_box, crowd, boxes,
        rest=rest,
    )  # fmt: skip


def _sizes(images) -> np.ndarray:
    sizes = np.stack([entry_columns.numbers(images, key) for key in ("height", "width")], 1)
    with np.errstate(invalid="ignore"):
        is_size = (sizes >= 1) & (sizes < 2**31) & (sizes == np.floor(sizes))
    return np.where(is_size, sizes, np.nan)


def table_of_data_set(name: str, data_set: CocoDataset) -> HalfTable:
    """The table of a data set that was read, whose boxes are clipped and sound; it has no annotations to show."""
    records = data_set.records
    boxes, classes, crowd = (
        np.concatenate([record.fields[key] for record in records]) for key in ("boxes", "classes", "is_crowd")
    )
    corners = boxes.astype(np.float64)
    rows = np.repeat(np.arange(len(records)), [len(record.boxes) for record in records])
    pairs = zip(data_set.category_ids, data_set.class_names, strict=True)
    return HalfTable(
        name,
        data_set.annotations,
        data_set.images,
        [{"id": record.image_id, "file_name": record.file_name} for record in records],
        (),
        [{"id": number, "name": each} for number, each in pairs],
        {},
        np.array([(record.height, record.width) for record in records], np.float64).reshape(-1, 2),
        rows,
        classes.astype(np.int64),
        np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1),
        np.ones(len(rows), bool),
        crowd.astype(np.int8),
    )
