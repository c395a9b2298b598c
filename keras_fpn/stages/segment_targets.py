"""Targets of the segment proposals: positions by centre and scale, and the masks of their objects.

A position is positive for an object of its scale whose centre lies within a stride of it along both axes, whatever the
overlap (paper, appendix A). G objects, N positions, S samples, P positives at most, m side of a mask, M side of the
objects' own masks.
"""

from collections.abc import Mapping

import tensorflow as tf

from keras_fpn.stages.segment_grid import Layout, Places, SegmentGrid
from keras_fpn.stages.targets import ignore_crowd, images_of, sample


def segment_targets(
    grid: SegmentGrid,
    layout: Layout,
    ground_truth: Mapping[str, tf.Tensor],
    image_sizes: tf.Tensor,
    seed: tf.Tensor,
    *,
    mask_size: int,
    samples_per_image: int,
    positive_fraction: float,
    crowd_ioa: float,
) -> dict[str, tf.Tensor]:
    """Sampled positions of every image and what the head should say of them.

    Args:
        grid: a `SegmentGrid`.
        layout: its `Layout` of the features.
        ground_truth: `{"boxes": [B, G, 4], "classes": [B, G], "masks": [B, G, M, M] 0 or 1 of each object over its box,
            "is_crowd": [B, G] (optional)}`, any numeric dtypes.
        image_sizes: `[B, 2]` height and width of the valid part; positions outside it are not drawn.
        seed: `[2]` int.
        mask_size: m.
        samples_per_image, positive_fraction: see `targets.sample`.
        crowd_ioa: see `targets.ignore_crowd`; what lies in a crowd region is the window of a position.

    Returns:
        `{"indices": [B, S] int32, "is_positive": [B, S] bool, "is_valid": [B, S] bool,
        "masks": [B, P, m, m] float32 in [0, 1]}`, the masks of the first P samples (positives come first): the share of
        each bin of the window that the object covers, 0 where the sample is not positive.
    """
    max_positives = int(samples_per_image * positive_fraction)

    def one_image(image):
        boxes, is_object, is_crowd, _, index, masks, image_size = image
        matched, labels = match_positions(grid, layout, boxes, is_object)
        labels = ignore_crowd(labels, layout.windows, boxes, is_crowd, crowd_ioa)
        is_inside = tf.reduce_all(layout.centres < tf.cast(image_size[::-1], tf.float32), axis=-1)
        labels = tf.where(is_inside, labels, -1)
        image_seed = tf.random.experimental.stateless_fold_in(seed, index)
        indices, is_positive, is_valid = sample(labels, samples_per_image, positive_fraction, image_seed)
        first = indices[:max_positives]
        own = tf.gather(matched, first)
        coverage = covered(
            tf.gather(masks, own), tf.gather(boxes, own), tf.gather(layout.windows, first), mask_size
        )
        return indices, is_positive, is_valid, tf.where(is_positive[:max_positives, None, None], coverage, 0.0)

    count = samples_per_image
    signature = (
        tf.TensorSpec([count], tf.int32),
        tf.TensorSpec([count], tf.bool),
        tf.TensorSpec([count], tf.bool),
        tf.TensorSpec([max_positives, mask_size, mask_size], tf.float32),
    )
    masks = tf.pad(ground_truth["masks"], [[0, 0], [0, 1], [0, 0], [0, 0]])
    sampled = tf.map_fn(one_image, (*images_of(ground_truth), masks, image_sizes), fn_output_signature=signature)
    return dict(zip(("indices", "is_positive", "is_valid", "masks"), sampled, strict=True))


def match_positions(
    grid: SegmentGrid, layout: Layout, boxes: tf.Tensor, is_object: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Which object each position is positive for: of several the one with the nearest centre, then the first.

    Args:
        grid, layout: see `segment_targets`.
        boxes: `[G, 4]` pixels, padded.
        is_object: `[G]` bool, False for padding and whatever else is not to be matched.

    Returns:
        `matched`, `[N]` int32, index of each position's object (0 where there is none), and `labels`, `[N]` int32, 1
        positive, 0 negative.
    """
    places, distance, is_near = _neighbours(grid, layout, boxes)
    is_near &= is_object[:, None]
    # One segment for each position, and one for what is none.
    nowhere = tf.shape(layout.centres)[0]
    indices = tf.where(is_near, grid.indices(places, layout), nowhere)
    nearest = tf.math.unsorted_segment_min(distance, indices, nowhere + 1)
    is_nearest = is_near & (distance <= tf.gather(nearest, indices))
    objects = tf.broadcast_to(tf.range(tf.shape(boxes)[0])[:, None], tf.shape(indices))
    first = tf.math.unsorted_segment_min(objects, tf.where(is_nearest, indices, nowhere), nowhere + 1)[:-1]
    is_matched = first < tf.shape(boxes)[0]  # of an empty segment the least is the greatest integer
    return tf.where(is_matched, first, 0), tf.cast(is_matched, tf.int32)


def _neighbours(grid, layout, boxes):
    """Of each object the nine cells of its level about its centre: `Places`, squared distance, whether it is near.

    All `[G, 9]`. No other cell can be within a stride of the centre.
    """
    level, mlp = (part[:, None] for part in tf.unstack(_level_and_mlp(grid, boxes)))
    stride = tf.gather(tf.constant(grid.strides, tf.float32), level)  # [G, 1]
    centre_x = (boxes[:, 0:1] + boxes[:, 2:3]) / 2
    centre_y = (boxes[:, 1:2] + boxes[:, 3:4]) / 2
    column = tf.cast(tf.round(centre_x / stride), tf.int32) + tf.constant([-1, 0, 1] * 3)
    row = tf.cast(tf.round(centre_y / stride), tf.int32) + tf.repeat(tf.constant([-1, 0, 1]), 3)
    x = tf.cast(column, tf.float32) * stride - centre_x
    y = tf.cast(row, tf.float32) * stride - centre_y
    is_cell = (row >= 0) & (row < tf.gather(layout.heights, level))
    is_cell &= (column >= 0) & (column < tf.gather(layout.widths, level))
    is_near = is_cell & (tf.abs(x) <= stride) & (tf.abs(y) <= stride)
    level, mlp = tf.broadcast_to(level, tf.shape(row)), tf.broadcast_to(mlp, tf.shape(row))
    return Places(level, row, column, mlp), x * x + y * y, is_near


def _level_and_mlp(grid, boxes):
    scales = grid.scales(boxes)
    return tf.stack([scales // grid.num_mlps, scales % grid.num_mlps])


def covered(masks: tf.Tensor, boxes: tf.Tensor, windows: tf.Tensor, size: int) -> tf.Tensor:
    """Which share of each bin of a window the object covers.

    The mean over the bin, not the reading at its middle, and not thresholded: a mask is interpolated between its bins
    and then thresholded when it is pasted into an image, and of the four ways this gives the segment nearest to the
    object. Of the embedded data set's shapes the pasted mean has an IoU of 0.93 with the outline (0.97 of 28 x 28
    bins), the thresholded mean 0.86 (0.93), the reading 0.88 (0.95).

    Args:
        masks: `[P, M, M]` 0 or 1, of each object over its own box; nothing lies outside the box.
        boxes: `[P, 4]` pixels.
        windows: `[P, 4]` pixels.
        size: bins along each side of a window.

    Returns:
        `[P, size, size]` float32 in [0, 1].
    """
    cells = masks.shape[-1]
    along_x = _overlaps(windows[:, 0], windows[:, 2], size, boxes[:, 0], boxes[:, 2], cells)
    along_y = _overlaps(windows[:, 1], windows[:, 3], size, boxes[:, 1], boxes[:, 3], cells)
    return along_y @ tf.cast(masks, tf.float32) @ tf.transpose(along_x, [0, 2, 1])


def _overlaps(window_start, window_end, bins, box_start, box_end, cells):
    """Share of each bin of a window that lies in each cell of a box, along one axis. `[P, bins, cells]`"""
    bin_edges = _edges(window_start, window_end, bins)[:, :, None]
    cell_edges = _edges(box_start, box_end, cells)[:, None, :]
    shared = tf.minimum(bin_edges[:, 1:], cell_edges[:, :, 1:]) - tf.maximum(bin_edges[:, :-1], cell_edges[:, :, :-1])
    return tf.math.divide_no_nan(tf.maximum(shared, 0.0), bin_edges[:, 1:] - bin_edges[:, :-1])


def _edges(start, end, parts):
    share = tf.range(parts + 1, dtype=tf.float32) / parts
    return start[:, None] + share * (end - start)[:, None]
