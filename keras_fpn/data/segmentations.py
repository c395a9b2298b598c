"""COCO segmentations as small masks: of each object a grid of 56 x 56 bins over its own clipped box, a bit each.

A bin is part of the object where the object covers at least half of it. The coverage is exact: polygons are cut at the
lines of the grid and their areas added up, run lengths are averaged over the bins. Polygons of one object add up (COCO
writes the visible parts of an object so), and their direction does not matter. 860,000 objects, as COCO's training
images have, take 340 MB.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from keras_fpn.console.errors import UserError
from keras_fpn.console.progress import Count
from keras_fpn.data.objects import Objects
from keras_fpn.ops import masks

SIDE = 56  # bins across a mask
PACKED = SIDE * SIDE // 8  # bytes of a mask
NEEDED, ADD = "masks are needed here", "add it, polygons or run lengths of every object"  # of errors
_CHUNK = 256  # objects rasterised at a time: large enough for numpy, small enough for the caches
_HALF = 0.5 - 1e-6  # rounding must not decide where an edge runs through the middle of bins
_WORTH_A_BAR = 20_000  # objects: some seconds


def rasterise(segmentations: Sequence[Any], boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Masks of objects over their boxes.

    Args:
        segmentations: list of n, each a list of polygons `[x, y, x, y, ...]` or `{"size", "counts"}`, pixels of the
            image; sound (`masks.what_is_wrong`).
        boxes: `[n, 4]` x1, y1, x2, y2 in pixels, width and height above zero.
        sizes: `[n, 2]` height and width of the image of each.

    Returns:
        `[n, PACKED]` uint8, for `unpack`; all zero where the object covers nothing of its box.
    """
    packed = np.zeros((len(segmentations), PACKED), np.uint8)
    total = len(segmentations)
    with counted(total) as count:
        for start in range(0, total, _CHUNK):
            chunk = slice(start, start + _CHUNK)
            coverage = _coverage_of(segmentations[chunk], np.asarray(boxes[chunk], np.float64), sizes[chunk])
            packed[chunk] = pack(_at_least_half(coverage))
            count(min(start + _CHUNK, total))
    return packed


def counted(total: int) -> contextlib.AbstractContextManager[Callable[[int], None]]:
    """`console.progress.Count` of the masks of objects that are read, where these are many; else it tells nothing."""
    return Count("masks", total, "objects") if total >= _WORTH_A_BAR else contextlib.nullcontext(lambda done: None)


def pack(bins: np.ndarray) -> np.ndarray:
    """`[n, SIDE, SIDE]` bool or 0/1 -> `[n, PACKED]` uint8, the first bin in the highest bit."""
    return np.packbits(np.asarray(bins, bool).reshape(len(bins), SIDE * SIDE), axis=1)


def unpack(packed: np.ndarray) -> np.ndarray:
    """`[n, PACKED]` uint8 -> `[n, SIDE, SIDE]` uint8 of 0 and 1."""
    return np.unpackbits(packed, axis=1).reshape(len(packed), SIDE, SIDE)


def _at_least_half(coverage):
    """Bins covered by half or more; of an object too thin to cover half of any, those that it covers most."""
    most = coverage.max(axis=(1, 2), keepdims=True)
    return (coverage >= np.minimum(_HALF, most / 2)) & (coverage > 1e-6)


def _coverage_of(segmentations, boxes, sizes):
    """`[n, SIDE, SIDE]` share of each bin that the object covers."""
    corners, owners = [], []  # of all polygons: in bins of the owner's box, the first repeated at the end
    coverage = np.zeros((len(segmentations), SIDE, SIDE))
    for index, segmentation in enumerate(segmentations):
        if isinstance(segmentation, dict):
            coverage[index] = _coverage_of_pixels(segmentation, boxes[index], sizes[index])
            continue
        start, extent = boxes[index, :2], boxes[index, 2:] - boxes[index, :2]
        for polygon in segmentation:
            points = (np.array(polygon, np.float64).reshape(-1, 2) - start) * (SIDE / extent)
            corners.append(np.concatenate([points, points[:1]]))
            owners.append(index)
    if corners:
        objects, firsts = np.unique(owners, return_index=True)
        coverage[objects] = np.add.reduceat(np.abs(_signed_areas(corners)).clip(0, 1), firsts)
    return np.minimum(coverage, 1)


def _signed_areas(polygons) -> np.ndarray:
    """Area of each polygon inside each bin, positive or negative by its direction: `[n, SIDE, SIDE]`.

    Each edge is cut at the rows and then at the columns of the grid. A piece covers the part of its bin to the right of
    it, and its height of all bins further to the right: a sum along the row.
    """
    lengths = np.array([len(points) - 1 for points in polygons])
    starts = np.concatenate([points[:-1] for points in polygons])
    ends = np.concatenate([points[1:] for points in polygons])
    owners = np.repeat(np.arange(len(polygons)), lengths)
    starts, ends, owners, rows = _cut(starts, ends, owners, axis=1)
    inside = (rows >= 0) & (rows < SIDE)
    pieces = _cut(starts[inside], ends[inside], owners[inside] * SIDE + rows[inside], axis=0)
    starts, ends, places, columns = pieces
    height = ends[:, 1] - starts[:, 1]
    columns = columns.clip(0, SIDE)  # from the left border to its right: all of the row; beyond the other: nothing
    left = ((starts[:, 0] + ends[:, 0]) / 2 - columns).clip(0, 1)
    bins = places * (SIDE + 2) + columns
    size = len(polygons) * SIDE * (SIDE + 2)
    areas = np.bincount(bins, height * (1 - left), size) + np.bincount(bins + 1, height * left, size)
    return areas.reshape(len(polygons), SIDE, SIDE + 2).cumsum(axis=2)[:, :, :SIDE]


def _cut(starts, ends, keys, axis):
    """Edges cut at the lines 0 .. SIDE of the grid across an axis.

    Returns:
        (starts, ends, keys, which interval along the axis each piece lies in: -1 before the grid, SIDE after it).
    """
    near, far = np.minimum(starts[:, axis], ends[:, axis]), np.maximum(starts[:, axis], ends[:, axis])
    low, high = (np.floor(place).clip(-1, SIDE).astype(np.int64) for place in (near, far))
    number = high - low + 1
    edge = np.repeat(np.arange(len(starts)), number)
    interval = np.arange(len(edge)) - np.repeat(np.cumsum(number) - number - low, number)
    start, way = starts[edge], (ends - starts)[edge]
    along = way[:, axis]
    flat = np.where(along == 0, 1, along)
    # Where along the edge, 0 to 1, it enters and leaves the interval.
    first, last = ((interval + line - start[:, axis]) / flat for line in (0, 1))
    first = np.where(interval == low[edge], np.where(along >= 0, 0, 1), first)
    last = np.where(interval == high[edge], np.where(along >= 0, 1, 0), last)
    back = along < 0
    first, last = np.where(back, last, first), np.where(back, first, last)
    return start + way * first[:, None], start + way * last[:, None], keys[edge], interval


def _coverage_of_pixels(segmentation, box, size):
    """Share of each bin that a run-length encoded mask covers: the mean of the pixels below it."""
    height, width = (int(side) for side in size)
    mask = masks.decode(masks.from_annotation(segmentation, height, width))
    rows, columns = _averages(box[1], box[3], height), _averages(box[0], box[2], width)
    return rows @ mask @ columns.T


def _averages(start, end, size):
    """`[SIDE, size]`: how much of each bin between `start` and `end` each pixel of an axis makes up."""
    edges = np.linspace(start, end, SIDE + 1)
    pixels = np.arange(size)
    shared = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return shared.clip(0) / (edges[1] - edges[0])


def unusable(annotations: Iterable[Mapping[str, Any]], sizes: np.ndarray) -> Iterator[tuple[int, str]]:
    """`(number, what is wrong)` of the annotations that say no mask.

    Args:
        annotations: entries of an instances file.
        sizes: `[n, 2]` height and width of the image of each.
    """
    for index, (annotation, (height, width)) in enumerate(zip(annotations, sizes, strict=True)):
        problem = masks.what_is_wrong(annotation.get("segmentation"), int(height), int(width))
        if problem:
            yield index, problem


def are_usable(objects: Objects, problems: Mapping[int, str], needed: str, add: str) -> np.ndarray:
    """`[n]` bool: which objects have a "segmentation" that can be used, where the others are to be left out.

    Args:
        problems: what is wrong with those of some, by the index of the object, in words that follow "segmentation".
        needed: what they are needed for, such as "masks are needed here".
        add: what to do where there is none, such as "add it".

    Raises:
        UserError: an object is not to be left out, or there are none but such.
    """
    is_usable = np.ones(len(objects), bool)
    if not problems:
        return is_usable
    is_usable[list(problems)] = False
    first, more = min(problems), len(problems) - 1
    mend = f"{needed}: {add if masks.is_absent(objects.entries[first].get('segmentation')) else 'correct it'}"
    if not is_usable.any():
        others = f" (and {more} more, all there are)" if more else ""
        raise UserError(f'{objects.name(first)}: "segmentation" {problems[first]}{others}; {mend}')
    mend += ", or leave such objects out"
    return objects.sound_or_refused(is_usable, lambda index: f'"segmentation" {problems[index]}', mend)
