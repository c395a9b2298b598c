"""Targets of a mask head: what each RoI shows of its object's mask, on a grid over the box of the RoI.

Three rules, each as its source has it. From bitmaps torchvision's soft one (`project_masks_on_boxes` of its roi_heads:
RoIAlign of the mask, its values as they are) and detectron2's (`BitMasks.crop_and_resize`: RoIAlign shifted by half a
pixel, then a half or more is 1); from polygons detectron2's other one (`PolygonMasks.crop_and_resize`), which draws
them on the grid as pycocotools does. B images, G objects and R RoIs of each, padded; P RoIs in all have an object.
"""

from typing import NamedTuple

import tensorflow as tf

from keras_fpn.console.errors import UserError

RULES = ("soft", "bitmask")  # of bitmaps
_ROUNDING = 1e-6  # of float32 sums: it must not decide where an edge runs through the middle of cells
_LEAST = 0.1  # px: side of a box below which detectron2 takes it for this long
_FINE = 5  # cells of pycocotools' fine grid, on which it draws outlines, to a pixel
_MIDDLE = 2  # of them below the middle of a pixel


def bitmap_targets(
    bitmaps: tf.Tensor,
    image_sizes: tf.Tensor,
    boxes: tf.Tensor,
    objects: tf.Tensor,
    side: int = 28,
    rule: str = "soft",
) -> tf.Tensor:
    """Targets from the pixels of objects.

    RoIAlign is the mean of readings between the pixels, `ceil(extent / side)` to a bin along each axis. A reading
    weights pixels by a product of weights along the two axes, so a bin does: a target is `rows @ mask @ columns`, of
    those pixels that its RoI reaches. One is made after the other, so that memory is that of the largest.

    Args:
        bitmaps: `[B, G, H, W]` 0 or 1 of each object on the pixels of its image, padded.
        image_sizes: `[B, 2]` height and width of the images; the border of each is where its pixels end.
        boxes: `[B, R, 4]` x1, y1, x2, y2 in pixels.
        objects: `[B, R]` row of the object that each RoI shows, -1 of those that show none.
        side: bins across a target.
        rule: "soft" (torchvision) or "bitmask" (detectron2).

    Returns:
        `[B, R, side, side]` float32 in [0, 1], 0 of a RoI without an object.

    Raises:
        UserError: there is no such rule.
    """
    if rule not in RULES:
        raise UserError(f'bitmap_targets: rule must be "soft" or "bitmask", not {rule!r}')
    places, images, owners = _with_objects(objects, tf.shape(bitmaps)[1])
    rois, sizes = tf.gather_nd(boxes, places), tf.cast(tf.gather(image_sizes, images), tf.int32)
    along_y = _weights(rois[:, 1], rois[:, 3], sizes[:, 0], side, is_shifted=rule == "bitmask")
    along_x = _weights(rois[:, 0], rois[:, 2], sizes[:, 1], side, is_shifted=rule == "bitmask")
    flat = tf.reshape(bitmaps, tf.concat([[-1], tf.shape(bitmaps)[2:]], axis=0))

    def one(limits):
        owner, top, bottom, start_y, left, right, start_x = tf.unstack(limits)
        mask = tf.cast(flat[owner, top:bottom, left:right], tf.float32)
        rows = _part(along_y, start_y, side, bottom - top)
        columns = _part(along_x, start_x, side, right - left)
        return tf.matmul(rows @ mask, columns, transpose_b=True)

    limits = tf.stack([owners, *along_y[1:], *along_x[1:]], axis=1)
    targets = tf.map_fn(one, limits, fn_output_signature=tf.TensorSpec([side, side], tf.float32))
    if rule == "bitmask":
        targets = tf.cast(targets >= 0.5 - _ROUNDING, tf.float32)
    return _scattered(targets, places, boxes, side)


def _with_objects(objects, count):
    """Of the P RoIs with an object: `[P, 2]` image and RoI, `[P]` image, `[P]` object among those of all images."""
    places = tf.where(objects >= 0)
    images = tf.cast(places[:, 0], tf.int32)
    return places, images, images * count + tf.cast(tf.gather_nd(objects, places), tf.int32)


def _scattered(targets, places, boxes, side):
    """`[B, R, side, side]` from those of the RoIs with an object."""
    shape = tf.concat([tf.shape(boxes)[:2], [side, side]], axis=0)
    targets = tf.scatter_nd(places, targets, tf.cast(shape, places.dtype))
    return tf.ensure_shape(targets, [*boxes.shape[:2], side, side])


# ---------------------------------------------------------------------------------------------------- bitmaps


class _Weights(NamedTuple):
    """Weights of pixels in the bins of P RoIs along an axis, of all after one another.

    Attributes:
        values: `[total]`, of each RoI `[side, last - first]`.
        first, last, starts: `[P]` int32: the pixels that it reaches, and where in `values` its own begin.
    """

    values: tf.Tensor
    first: tf.Tensor
    last: tf.Tensor
    starts: tf.Tensor


def _part(weights, start, side, count):
    return tf.reshape(weights.values[start : start + side * count], [side, count])


def _weights(start, end, size, side, is_shifted):
    """RoIAlign along an axis, in float32 and in the order of torchvision's kernel; all arguments but `side` `[P]`."""
    start, end = (start - 0.5, end - 0.5) if is_shifted else (start, end)
    extent = end - start if is_shifted else tf.maximum(end - start, 1.0)
    first = tf.clip_by_value(tf.cast(tf.floor(start), tf.int32), 0, size - 1)
    last = tf.clip_by_value(tf.cast(tf.floor(start + extent), tf.int32) + 2, first + 1, size)
    blocks = side * (last - first)
    starts = tf.cumsum(blocks, exclusive=True)
    # Not as a quotient: TensorFlow's graph optimiser would multiply by 1 / side and so round otherwise.
    extent = tf.math.divide_no_nan(extent, tf.constant(side, tf.float32))  # of a bin
    readings = tf.cast(tf.math.ceil(extent), tf.int32)  # in a bin
    own = tf.repeat(tf.range(tf.size(start)), side * readings)  # whose each reading of all is
    number = tf.range(tf.size(own)) - tf.gather(tf.cumsum(side * readings, exclusive=True), own)
    start, extent, size, low, count, readings, offset = (
        tf.gather(each, own) for each in (start, extent, size, first, last - first, readings, starts)
    )
    bin_number, step = number // readings, tf.cast(number % readings, tf.float32) + 0.5
    place = start + tf.cast(bin_number, tf.float32) * extent + step * extent / tf.cast(readings, tf.float32)
    limit = tf.cast(size, tf.float32)
    weight = tf.where((place >= -1.0) & (place <= limit), 1.0 / tf.cast(readings, tf.float32), 0.0)
    place = tf.clip_by_value(place, 0.0, limit - 1.0)  # beyond the middle of the last pixel it is that one
    before = tf.cast(place, tf.int32)
    share = place - tf.cast(before, tf.float32)
    cell = offset + bin_number * count + tf.clip_by_value(before - low, 0, count - 1)
    after = tf.minimum(cell + 1, offset + (bin_number + 1) * count - 1)
    values = tf.concat([weight * (1.0 - share), weight * share], axis=0)
    values = tf.math.unsorted_segment_sum(values, tf.concat([cell, after], axis=0), tf.reduce_sum(blocks))
    return _Weights(values, first, last, starts)


# --------------------------------------------------------------------------------------------------- polygons


def polygon_targets(polygons: tf.Tensor, boxes: tf.Tensor, objects: tf.Tensor, side: int = 28) -> tf.Tensor:
    """Targets from the outlines of objects, cell for cell what pycocotools makes of them.

    It draws an outline on a grid five times as fine and notes at which height it crosses the middle of each column of
    pixels (maskApi.c, rleFrPoly). A cell is inside where the number of crossings down to it is odd, and part of the
    object where it is inside of one of its parts.

    Args:
        polygons: `[B, G, V, 3]` x, y in pixels and part of each point, all -1 past the last.
        boxes, objects, side: see `bitmap_targets`.

    Returns:
        `[B, R, side, side]` float32, 0 or 1, 0 of a RoI without an object.
    """
    places, _, owners = _with_objects(objects, tf.shape(polygons)[1])
    edges = _edges_of(polygons, owners)
    rois = tf.gather(tf.gather_nd(boxes, places), edges.rois)
    start, end = (_on_fine_grid(points, rois, side) for points in (edges.start, edges.end))
    edge, column, row = _crossings(start, end, side)
    count = tf.reduce_max(tf.concat([edges.parts + 1, [0]], axis=0))
    cells = (tf.gather(edges.parts, edge) * side + column) * (side + 1) + row
    crossings = tf.math.unsorted_segment_sum(tf.ones_like(cells), cells, count * side * (side + 1))
    is_inside = tf.cumsum(tf.reshape(crossings, [count, side, side + 1]), axis=2)[:, :, :side] % 2
    rois_of_parts = tf.math.unsorted_segment_max(edges.rois, edges.parts, count)
    is_object = tf.math.unsorted_segment_max(is_inside, rois_of_parts, tf.shape(places)[0])
    targets = tf.cast(tf.transpose(is_object, [0, 2, 1]) > 0, tf.float32)
    return _scattered(targets, places, boxes, side)


class _Edges(NamedTuple):
    """The E edges of the objects of all RoIs.

    Attributes:
        start, end: `[E, 2]` x, y.
        rois: `[E]` int32 which RoI.
        parts: `[E]` int32 which part, counted through those of all RoIs.
    """

    start: tf.Tensor
    end: tf.Tensor
    rois: tf.Tensor
    parts: tf.Tensor


def _edges_of(polygons, owners):
    is_point = polygons[..., 2] >= 0
    counts = tf.reshape(tf.reduce_sum(tf.cast(is_point, tf.int32), axis=2), [-1])
    points = tf.boolean_mask(polygons, is_point)  # [N, 3], of one object after the other
    count = tf.size(counts)
    objects = tf.repeat(tf.range(count), counts)
    key = tf.stack([tf.cast(objects, tf.float32), points[:, 2]], axis=1)
    is_first = tf.reduce_any(key != tf.concat([tf.fill([1, 2], -1.0), key[:-1]], axis=0)[: tf.shape(key)[0]], axis=1)
    firsts = tf.cast(tf.where(is_first)[:, 0], tf.int32)
    part = tf.cumsum(tf.cast(is_first, tf.int32)) - 1
    number = tf.range(tf.size(part))
    is_last = tf.concat([is_first[1:], [True]], axis=0)[: tf.size(part)]
    after = tf.where(is_last, tf.gather(firsts, part), number + 1)
    starts = tf.gather(tf.cumsum(counts, exclusive=True), owners)
    lengths = tf.gather(counts, owners)
    rois = tf.repeat(tf.range(tf.size(owners)), lengths)
    index = tf.range(tf.size(rois)) - tf.gather(tf.cumsum(lengths, exclusive=True), rois) + tf.gather(starts, rois)
    parts = tf.cumsum(tf.cast(tf.gather(is_first, index), tf.int32)) - 1
    return _Edges(tf.gather(points, index)[:, :2], tf.gather(points, tf.gather(after, index))[:, :2], rois, parts)


def _on_fine_grid(points, rois, side):
    """`[E, 2]` int32: points in the boxes of their RoIs, as numbers of cells; in float64 as detectron2's are."""
    sides = tf.cast(tf.maximum(rois[:, 2:] - rois[:, :2], _LEAST), tf.float64)
    points = (tf.cast(points, tf.float64) - tf.cast(rois[:, :2], tf.float64)) * (side / sides)
    # Not as a product, whose constants TensorFlow's graph optimiser would join and so round otherwise.
    fine = tf.math.multiply_no_nan(points, tf.constant(_FINE, tf.float64))
    return tf.cast(fine + 0.5, tf.int32)  # toward zero, as C does


def _crossings(start, end, side):
    """Where edges cross the middles of columns.

    Returns:
        Of each crossing its edge, its column and the row from which on it counts, 0..side; int32.
    """
    left = tf.minimum(start[:, 0], end[:, 0])
    right = tf.maximum(start[:, 0], end[:, 0])
    middles = _FINE * tf.range(side) + _MIDDLE  # the crossing is from this cell to the next
    is_crossed = (left[:, None] <= middles) & (right[:, None] > middles)
    edge, column = tf.unstack(tf.cast(tf.where(is_crossed), tf.int32), axis=1)
    start, end, middle = tf.gather(start, edge), tf.gather(end, edge), tf.gather(middles, column)
    width, height = tf.unstack(tf.abs(end - start), axis=1)
    is_flat = width >= height
    # pycocotools goes along the longer side of an edge, from the lower end.
    is_turned = tf.where(is_flat, start[:, 0] > end[:, 0], start[:, 1] > end[:, 1])
    start, end = tf.where(is_turned[:, None], end, start), tf.where(is_turned[:, None], start, end)
    row = tf.where(is_flat, _height_of_flat(start, end, middle), _height_of_steep(start, end, middle))
    row = (row + _MIDDLE) // _FINE  # of cells; the first row whose middle is not above it
    return edge, column, tf.clip_by_value(row, 0, side)


def _height_of_flat(start, end, middle):
    """Of edges that are wider than high the lower number of their two cells beside the middle of a column."""
    (x, y), (width, height) = tf.unstack(start, axis=1), tf.unstack(end - start, axis=1)
    slope = tf.cast(height, tf.float64) / tf.cast(tf.maximum(width, 1), tf.float64)

    def cell(step):
        return tf.cast(tf.cast(y, tf.float64) + slope * tf.cast(step, tf.float64) + 0.5, tf.int32)

    return tf.minimum(cell(middle - x), cell(middle - x + 1))


def _height_of_steep(start, end, middle):
    """Of edges that are higher than wide the cell after which they are beyond the middle of a column."""
    (x, y), (width, height) = tf.unstack(start, axis=1), tf.unstack(end - start, axis=1)
    slope = tf.cast(width, tf.float64) / tf.cast(tf.maximum(height, 1), tf.float64)
    is_rising = slope > 0
    way = tf.cast(middle - x, tf.float64) + 0.5
    guess = tf.cast(tf.floor(way / tf.where(width == 0, tf.ones_like(slope), slope)), tf.int32)

    def is_before(step):
        cell = tf.cast(tf.cast(x, tf.float64) + slope * tf.cast(step, tf.float64) + 0.5, tf.int32)
        return tf.where(is_rising, cell <= middle, cell > middle)

    # The guess may be off by one where float64 rounds: the steps around it decide, as they do there.
    steps = guess - 2
    for _ in range(4):
        steps += tf.cast(is_before(steps + 1), tf.int32)
    return y + steps
