"""Two operators of TensorFlow that a GPU cannot differentiate with its sums in a fixed order, and gradients that can.

Under `tf.config.experimental.enable_op_determinism` a GPU refuses the gradients of ResizeNearestNeighbor and of
CropAndResize: their kernels add in whatever order the threads come. The operators stay, for they are fast and every
runtime has them; under op determinism their gradients are made of operations that add in one order, and without they
are TensorFlow's own, which are faster. Which it is, is asked when a graph is made.

On a CPU the threads of CropAndResize's gradient overwrite each other's sums (TensorFlow 2.21: of 512 boxes that
overlap, up to a tenth of the largest gradient is lost in cells that differ from run to run), so that there it is ours.
"""

import tensorflow as tf
from tensorflow.python.framework.config import is_op_determinism_enabled  # it has no public name


def resize_nearest(images: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Nearest-neighbour resizing to a size that is no smaller: row i of H reads row floor(i h / H) of h.

    Args:
        images: `[B, h, w, C]`.
        size: `[2]` int32, the new height H and width W.

    Returns:
        `[B, H, W, C]`
    """
    resize = _ordered_resize if is_op_determinism_enabled() else _resize
    return resize(images, size)


def _resize(images, size):
    return tf.raw_ops.ResizeNearestNeighbor(images=images, size=size, half_pixel_centers=False)


@tf.custom_gradient
def _ordered_resize(images, size):
    def gradient(upstream):
        old, new = tf.shape(images)[1:3], tf.shape(upstream)[1:3]
        # Read by two each, but for the last row or column where the side is odd: the maps of strides that double.
        is_twice = tf.reduce_all((new == 2 * old) | (new == 2 * old - 1))
        values = tf.cast(upstream, tf.float32) if upstream.dtype.size < 4 else upstream
        summed = tf.cond(is_twice, lambda: _sum_of_pairs(values, old), lambda: _sum_of_runs(values, old))
        return tf.ensure_shape(tf.cast(summed, upstream.dtype), images.shape), None

    return _resize(images, size), gradient


def _sum_of_pairs(values, size):
    """`[B, 2 h, 2 w, C] -> [B, h, w, C]`; a last row or column may be missing."""
    missing = 2 * size - tf.shape(values)[1:3]
    values = tf.pad(values, [[0, 0], [0, missing[0]], [0, missing[1]], [0, 0]])
    return 4 * tf.nn.avg_pool2d(values, 2, 2, "VALID")  # exact, and several times as fast as reductions


def _sum_of_runs(values, size):
    """`[B, H, W, C] -> [B, h, w, C]`: all that read one cell, added up along the rows and then the columns."""
    channels, shape = values.shape[-1], tf.shape(values)

    def along(values, new, old):
        """Sums of the runs of every `new` neighbours of the first axis that read the same of `old`."""
        count = tf.shape(values)[0] // new
        reads = tf.range(count)[:, None] * old + tf.range(new) * old // new
        return tf.math.unsorted_segment_sum(values, tf.reshape(reads, [-1]), count * old)

    rows = along(tf.reshape(values, [-1, shape[2] * channels]), shape[1], size[0])
    columns = along(tf.reshape(rows, [-1, channels]), shape[2], size[1])
    return tf.reshape(columns, [-1, size[0], size[1], channels])


def has_gpu() -> bool:
    """Whether TensorFlow sees a GPU."""
    return bool(tf.config.list_physical_devices("GPU"))


def crop_and_resize(images: tf.Tensor, boxes: tf.Tensor, owners: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """`tf.image.crop_and_resize`, bilinear and 0 outside the image, whose boxes are constants.

    Args:
        images: `[B, h, w, C]` float32.
        boxes: `[N, 4]` y1, x1, y2, x2 of the first and the last point, as shares of h - 1 and w - 1.
        owners: `[N]` int32, the index of each box's image.
        size: `[2]` int32, points along y and x.

    Returns:
        `[N, points y, points x, C]` float32.
    """
    is_ordered = is_op_determinism_enabled() or not has_gpu()
    crop = _ordered_crop if is_ordered else tf.image.crop_and_resize
    return crop(images, tf.stop_gradient(boxes), owners, size)


@tf.custom_gradient
def _ordered_crop(images, boxes, owners, size):
    def gradient(upstream):
        summed = _sum_of_reads(upstream, tf.shape(images), boxes, owners)
        return tf.ensure_shape(summed, images.shape), None, None, None

    return tf.image.crop_and_resize(images, boxes, owners, size), gradient


def _sum_of_reads(values, shape, boxes, owners):
    """Gradients that the cells of images of `shape` get from the points' `[N, y, x, C]` that were read from them."""
    size, channels = tf.shape(values)[1:3], values.shape[-1]
    top, bottom, down, is_row = _reads(boxes[:, 0], boxes[:, 2], size[0], shape[1])
    left, right, across, is_column = _reads(boxes[:, 1], boxes[:, 3], size[1], shape[2])
    values = tf.where((is_row[:, :, None] & is_column[:, None, :])[..., None], values, 0.0)
    down, across = down[:, :, None, None], across[:, None, :, None]
    cells, total = shape[0] * shape[1] * shape[2], 0.0
    for row, of_row in ((top, 1.0 - down), (bottom, down)):
        for column, of_column in ((left, 1.0 - across), (right, across)):
            at = (owners[:, None, None] * shape[1] + row[:, :, None]) * shape[2] + column[:, None, :]
            given = tf.reshape(values * of_row * of_column, [-1, channels])
            total += tf.math.unsorted_segment_sum(given, tf.reshape(at, [-1]), cells)
    return tf.reshape(total, shape)


def _reads(first, last, count, limit):
    """The two cells that each of `count` points reads along one axis of `limit` cells.

    Returns:
        the cell before and the one after, `[N, count]` int32, the share of the latter, and whether the point is in the
        image at all.
    """
    end = tf.cast(limit - 1, tf.float32)
    step = (last - first) * end / tf.cast(tf.maximum(count - 1, 1), tf.float32)
    start = tf.where(count > 1, first * end, 0.5 * (first + last) * end)  # one point alone lies in the middle
    position = start[:, None] + tf.cast(tf.range(count), tf.float32) * step[:, None]
    is_inside = (position >= 0.0) & (position <= end)
    position = tf.clip_by_value(position, 0.0, end)
    before = tf.floor(position)
    return tf.cast(before, tf.int32), tf.cast(tf.math.ceil(position), tf.int32), position - before, is_inside
