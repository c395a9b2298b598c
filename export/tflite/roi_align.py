"""RoIAlign in matrix products, for runtimes without an operator for it.

A crop is a product: each bin is a weighted mean of cells, and the weights are the product of one row of weights along
y and one along x. Two ways of writing it give the same numbers:

whole maps   `[N * bins, all cells] x [all cells, C]`: for coarse maps
windows      each box gathers the cells it touches, then `[bins, window] x [window, C]`: for fine maps. The level rule
             bounds how many cells a box can touch on its level, so that the windows have one size; how high and how
             wide each of them is follows its box.
"""

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from keras_fpn.layers.roi_align import RoIAlign

# Cells of all maps up to which a product with all of them beats gathering windows.
MOST_WHOLE_CELLS = 1200
# Floats of weights or gathered cells at a time: boxes go in groups, or the arena would hold them for all boxes at once.
MOST_FLOATS = 12_000_000
FAR = 1e6  # cells; where a point lies that does not count


class _Axis(NamedTuple):
    """N boxes along y or along x, in cells of their own levels."""

    positions: tf.Tensor  # of the points, on the map, [N, s, most points in a bin]; FAR where there is none
    number: tf.Tensor  # of points in a bin, at least 1, [N, 1]
    first: tf.Tensor  # cell that the box reads, [N, 1] float32
    extent: tf.Tensor  # how many cells it reads from there on, [N, 1] float32
    last: tf.Tensor  # cell of the map, [N, 1] float32


def crop(
    layer: "RoIAlign", maps: list[tf.Tensor], boxes: tf.Tensor, images: tf.Tensor, own_level: tf.Tensor
) -> tf.Tensor:
    """`RoIAlign.crop` for one image and maps of static size.

    Args:
        layer: a `RoIAlign`.
        maps: `[1, h, w, C]` of each level, in the order of `layer.strides`.
        boxes: `[N, 4]` pixels of the network's input, within the image.
        images: not read: there is one image.
        own_level: `[N]` int32, the index of each box's level among `maps`, by the level rule.

    Returns:
        `[N, s, s, C]` in the dtype of the maps.
    """
    side, channels = layer.output_size, maps[0].shape[-1]
    shapes = [tuple(feature.shape[1:3]) for feature in maps]
    rows = tf.concat([tf.reshape(feature, [-1, channels]) for feature in maps], axis=0)
    rows = tf.cast(rows, tf.float32)
    by = _by_whole_maps if rows.shape[0] <= MOST_WHOLE_CELLS else _by_windows
    crops = tf.concat(by(layer, shapes, rows, boxes, own_level), axis=0)
    return tf.cast(tf.reshape(crops, [-1, side, side, channels]), maps[0].dtype)


def _groups(number, floats):
    """Slices of `number` boxes, of as many as MOST_FLOATS allows where each needs `floats`."""
    step = max(MOST_FLOATS // floats, 1)
    return [slice(first, min(first + step, number)) for first in range(0, number, step)]


# Whole maps ---------------------------------------------------------------------------------------------------


def _by_whole_maps(layer, shapes, rows, boxes, own_level):
    """`[n * bins, C]` of each group of boxes."""
    bins = layer.output_size**2
    levels = [_weights_on_level(layer, shapes, boxes, own_level, index) for index in range(len(shapes))]
    crops = []
    for group in _groups(boxes.shape[0], bins * rows.shape[0]):
        products = [_of_each_pair(y[group], x[group]) for y, x in levels]
        weights = [tf.reshape(product, [-1, h * w]) for product, (h, w) in zip(products, shapes, strict=True)]
        crops.append(tf.matmul(tf.concat(weights, axis=1), rows))
    return crops


def _of_each_pair(y, x):
    """Products of `[n, s, h]` and `[n, s, w]`, `[n, s * s, h, w]`; old runtimes multiply four axes at most."""
    y, x = tf.repeat(y, y.shape[1], axis=1), tf.tile(x, [1, x.shape[1], 1])
    return y[:, :, :, None] * x[:, :, None, :]


def _weights_on_level(layer, shapes, boxes, own_level, index):
    """`[N, s, h]` and `[N, s, w]` for one level, 0 for the boxes of other levels."""
    axes = _axes(layer, shapes, boxes, tf.fill(own_level.shape, index))
    y, x = (_weights(axis, 0.0, cells) for axis, cells in zip(axes, shapes[index], strict=True))
    if len(shapes) > 1:
        y *= tf.cast(own_level == index, tf.float32)[:, None, None]
    return y, x


# Windows ------------------------------------------------------------------------------------------------------


def _by_windows(layer, shapes, rows, boxes, own_level):
    """`[n, bins, C]` of each group of boxes."""
    window, bins = _window_cells(layer, shapes), layer.output_size**2
    axes = _axes(layer, shapes, boxes, own_level)
    base = tf.cast(tf.gather(_bases(shapes), own_level)[:, None], tf.float32)
    # One cell more than any box reads: its weight is 0, and what lies past a box's own window is read there.
    y, x = (
        tf.transpose(_weights(axis, axis.first, max(shape[place] for shape in shapes) + 1), [0, 2, 1])
        for place, axis in enumerate(axes)
    )
    nth = tf.range(window, dtype=tf.float32)[None]
    crops = []
    for group in _groups(boxes.shape[0], window * (rows.shape[1] + bins)):
        down, across = (_Axis(*(part[group] for part in axis)) for axis in axes)
        # Half a cell keeps the quotient clear of whole numbers, whatever its rounding.
        row = tf.floor((nth + 0.5) / across.extent) + _after(crops)
        column = nth - row * across.extent
        row = tf.minimum(row, down.extent)
        at = tf.minimum(down.first + row, down.last) * (across.last + 1.0) + across.first + column
        cells = tf.gather(rows, tf.cast(base[group] + at, tf.int32))
        weights = _pick(y[group], row)[:, :, None] * _pick(x[group], column)[:, None]
        crops.append(tf.matmul(tf.reshape(weights, [-1, bins, window]), cells))
    return crops


def _after(crops):
    """0.0, known only once the last of the crops is: LiteRT would gather for all groups first, and hold it all."""
    return tf.cast(tf.abs(crops[-1][0, 0, 0]) < 0.0, tf.float32) if crops else 0.0


def _pick(weights, index):
    """`[n, cells, s]` at `[n, window]` of the cells: `[n, s, window]`."""
    picked = tf.gather(weights, tf.cast(index, tf.int32), batch_dims=1)
    return tf.transpose(picked, [0, 2, 1])


def _bases(shapes):
    """The first row of each level where all of them lie one after the other."""
    cells = [height * width for height, width in shapes]
    return tf.constant(np.cumsum([0, *cells[:-1]]), tf.int32)


# Points -------------------------------------------------------------------------------------------------------


def _axes(layer, shapes, boxes, own_level):
    strides = tf.constant([[float(stride)] for stride in layer.strides.values()])
    start, size, points = layer.grid(boxes, tf.gather(strides, own_level))
    last = tf.gather(tf.constant(np.array(shapes, np.float32) - 1.0), own_level)
    most = [math.ceil(max(shape[axis] for shape in shapes) / layer.output_size) for axis in (0, 1)]
    most = [layer.sampling_ratio] * 2 if layer.sampling_ratio > 0 else most
    parts = (tf.unstack(part[..., None], axis=1) for part in (start, size, tf.cast(points, tf.float32), last))
    return [_axis(layer.output_size, *given) for given in zip(*parts, most, strict=True)]


def _axis(side, start, size, points, last, most_points):
    number = tf.maximum(points, 1.0)[..., None]
    nth = tf.range(side, dtype=tf.float32)[None, :, None] * number + tf.range(most_points, dtype=tf.float32) + 0.5
    # As steps from the start: points that lie on whole cells, such as the map's edge, must come out whole.
    position = start[..., None] + nth * (size[..., None] / (side * number))
    limit = last[..., None]
    counts = (position >= -1.0) & (position <= limit + 1.0)
    counts &= tf.range(most_points, dtype=tf.float32) < points[..., None]
    position = tf.minimum(tf.maximum(position, 0.0), limit)
    first = tf.floor(position[:, 0, :1])
    final = tf.minimum(tf.floor(tf.minimum(start + size, last)) + 1.0, last)
    return _Axis(tf.where(counts, position, -FAR), number[:, 0], first, tf.maximum(final - first + 1.0, 1.0), last)


def _weights(axis, first, cells):
    """Share that each of `cells` cells from `first` on has in each bin, `[N, s, cells]`."""
    at = (first + tf.range(cells, dtype=tf.float32)[None])[:, None]
    points = tf.unstack(axis.positions, axis=-1)
    missed = sum(tf.minimum(tf.abs(point[..., None] - at), 1.0) for point in points)
    return (float(len(points)) - missed) / axis.number[..., None]


def _window_cells(layer, shapes):
    """Most cells that a box can touch on its own level.

    On every level but the coarsest its area is below what the next one takes. With n cells of extent it reads at most
    n + 3 neighbours, rounded down; RoIAlign's first version makes one cell of less.
    """
    coarsest = len(shapes) - 1
    most = shapes[coarsest][0] * shapes[coarsest][1]
    for index, ((height, width), level, stride) in enumerate(
        zip(shapes, layer.strides, layer.strides.values(), strict=True)
    ):
        if index < coarsest:
            edge = layer.canonical_size * 2.0 ** (int(level[1:]) + 1 - layer.canonical_level)
            area = (edge / stride) ** 2
            touched = (rows * min(width, int(area / max(rows - 4, 1)) + 3) if rows > 4 else rows * width
                       for rows in range(1, height + 1))  # fmt: skip
            most = max(most, *touched)
    return most
