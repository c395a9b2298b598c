"""Histograms of a data set: sizes and shapes of objects and pictures, objects of images and of classes."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from keras_fpn.data.checks.boxes import resized_corners
from keras_fpn.data.checks.categories import class_counts
from keras_fpn.data.checks.half_table import HalfTable
from keras_fpn.data.checks.subject import Subject

_SIDES = (0, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, np.inf)
_RATIOS = (0, 0.125, 0.25, 0.5, 0.8, 1.25, 2, 4, 8, np.inf)
_NUMBERS = (0, 1, 2, 3, 5, 10, 20, 50, 100, np.inf)
_PICTURE_SIDES = (0, 128, 256, 512, 640, 800, 1024, 1333, 2048, 4096, np.inf)


class Histogram(NamedTuple):
    """Numbers of things by a value.

    Attributes:
        title: of the things and the value, with its unit.
        edges: `[b + 1]` of the bins, each from its edge to the next; the last may be infinite.
        counts: `[b]`.
    """

    title: str
    edges: tuple[float, ...]
    counts: tuple[int, ...]

    @property
    def labels(self) -> list[str]:
        """The bins in words, such as "16 to 32"."""
        return [_label(low, high) for low, high in zip(self.edges[:-1], self.edges[1:], strict=True)]

    def to_json(self) -> dict[str, Any]:
        """The histogram, as JSON takes it: an open end is null."""
        edges = [edge if np.isfinite(edge) else None for edge in self.edges]
        return {"title": self.title, "edges": edges, "counts": list(self.counts)}


def _label(low, high):
    if not np.isfinite(high):
        return f"{low:g} +"
    return f"{low:g}" if high == low + 1 else f"{low:g} to {high:g}"


def histograms(subject: Subject) -> dict[str, Histogram]:
    """The distributions of a half by name; those after the resize only where its rule is known."""
    table = subject.table
    corners = table.corners[table.is_object]
    extents = corners[:, 2:] - corners[:, :2]
    of_images = np.bincount(table.rows[table.is_object], minlength=len(table.images))
    known = table.sizes[np.isfinite(table.sizes).all(1)]
    sides = np.sqrt(extents.prod(1))
    found = {
        "object_sides": _counted("objects by the root of their area, pixels of the file", sides, _SIDES),
        "aspect_ratios": _counted("objects by height over width", extents[:, 1] / extents[:, 0], _RATIOS),
        "objects_of_images": _counted("images by the number of their objects", of_images, _NUMBERS),
        "picture_sides": _counted("images by the root of their area, pixels", np.sqrt(known.prod(1)), _PICTURE_SIDES),
    }
    if subject.resize is not None:
        resized = resized_corners(table, subject.resize)[table.is_object]
        sides = np.sqrt((resized[:, 2:] - resized[:, :2]).prod(1))
        title = "objects by the root of their area, pixels after the resize"
        found["resized_object_sides"] = _counted(title, sides, _SIDES)
    return found


def class_sizes(table: HalfTable) -> Mapping[str, int]:
    """Objects of each class by its name, the commonest first; of two of one name together."""
    counts = class_counts(table)
    found: dict[str, int] = {}
    for row in np.argsort(-counts, kind="stable").tolist():
        name = table.class_names[row]
        found[name] = found.get(name, 0) + int(counts[row])
    return found


def _counted(title, values, edges) -> Histogram:
    counts = np.histogram(values, np.array(edges))[0]
    return Histogram(title, tuple(map(float, edges)), tuple(counts.tolist()))
