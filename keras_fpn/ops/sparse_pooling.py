"""RoIAlign as the product of a sparse matrix, of what each bin reads, and a map's cells.

Its gradient is the product of the transposed matrix. TensorFlow's products of sparse matrices add in one order and
take no memory for the points; the gradient of its CropAndResize lets threads of a CPU overwrite each other's sums.
"""

import tensorflow as tf


def mean_of_points(
    maps: tf.Tensor, start: tf.Tensor, size: tf.Tensor, counts: tf.Tensor, images: tf.Tensor, output_size: int
) -> tf.Tensor:
    """Mean of bilinear reads in each bin, at points in regular distances.

    A point more than one cell outside the map counts as 0; one up to a cell outside is read at the border.

    Args:
        maps: `[B, h, w, C]` float32 or float64.
        start, size: `[N, 2]` float32 y and x of boxes, in cells.
        counts: `[N, 2]` int32, points in a bin along y and x, one at least.
        images: `[N]` int32, index of each box's map.
        output_size: bins along each axis, s.

    Returns:
        `[N, s, s, C]` in the dtype of the maps; no gradient goes to the boxes.
    """
    crop_shape = [output_size, output_size, maps.shape[-1]]

    def pool():
        boxes = [tf.stop_gradient(part) for part in (start, size)]
        reads = _reads(*boxes, counts, images, output_size, tf.shape(maps))
        return tf.reshape(_product(maps, *reads, tf.shape(start)[0] * output_size**2), [-1, *crop_shape])

    # The products of a matrix without rows end the process.
    return tf.cond(tf.shape(start)[0] > 0, pool, lambda: tf.zeros([0, *crop_shape], maps.dtype))


def _product(maps, indices, weights, number):
    """`[number, C]` of maps `[B, h, w, C]`."""
    shape = tf.shape(maps)
    weights = tf.cast(weights, maps.dtype)
    numbers = tf.cast(tf.stack([number, tf.reduce_prod(shape[:3])]), tf.int64)

    def matrix():
        # Made twice, for it cannot leave the branch of a tf.cond as its parts can.
        return tf.raw_ops.SparseTensorToCSRSparseMatrix(indices=indices, values=weights, dense_shape=numbers)

    @tf.custom_gradient
    def product(maps):
        def gradient(upstream):
            transposed = tf.raw_ops.SparseMatrixTranspose(input=matrix(), type=maps.dtype)
            return tf.reshape(tf.raw_ops.SparseMatrixMatMul(a=transposed, b=upstream), shape)

        return tf.raw_ops.SparseMatrixMatMul(a=matrix(), b=tf.reshape(maps, [-1, maps.shape[-1]])), gradient

    return product(maps)


def _reads(start, size, counts, images, output_size, shape):
    """Every read of a cell for a bin, bins in order: `[n, 2]` int64, bin and cell, and the weights `[n]`."""
    points = output_size * counts  # of a box along each axis
    y, y_weights = _along_axis(start[:, 0], size[:, 0], points[:, 0], shape[1])
    x, x_weights = _along_axis(start[:, 1], size[:, 1], points[:, 1], shape[2])
    bins, of_y, of_x = _points(counts, output_size)
    box = bins // output_size**2
    mean = 1.0 / tf.gather(tf.cast(tf.reduce_prod(counts, axis=1), tf.float32), box)
    height, width = (tf.cast(side, tf.int64) for side in tf.unstack(shape[1:3]))
    first = tf.gather(tf.cast(images, tf.int64) * height, box)
    bins, indices, weights = tf.cast(bins, tf.int64), [], []
    for row, row_weight in zip(y, y_weights, strict=True):
        row_start = (first + tf.gather(row, of_y)) * width
        of_row = tf.gather(row_weight, of_y) * mean
        for column, column_weight in zip(x, x_weights, strict=True):
            indices += [bins, row_start + tf.gather(column, of_x)]
            weights.append(of_row * tf.gather(column_weight, of_x))
    return tf.reshape(tf.stack(indices, axis=1), [-1, 2]), tf.reshape(tf.stack(weights, axis=1), [-1])


def _along_axis(start, size, points, limit):
    """The two cells, `[n]` int64 each, and weights that each point of each box reads along an axis, boxes in order."""
    box, nth = _counted(points)
    # As steps from the start: points that lie on whole cells, such as the map's edge, must come out whole.
    step = size / tf.cast(points, tf.float32)
    position = tf.gather(start, box) + (tf.cast(nth, tf.float32) + 0.5) * tf.gather(step, box)
    last = tf.cast(limit - 1, tf.float32)
    is_read = (position >= -1.0) & (position <= last + 1.0)
    # Also of a position that is no number: a product reads whatever cell it is given, or ends the process.
    position = tf.where(is_read, tf.clip_by_value(position, 0.0, last), 0.0)
    counts = tf.cast(is_read, tf.float32)
    low = tf.floor(position)
    cells = tf.cast(low, tf.int64), tf.cast(tf.minimum(low + 1.0, last), tf.int64)
    return cells, ((1.0 - (position - low)) * counts, (position - low) * counts)


def _points(counts, output_size):
    """Of all points in all bins: the bin, and the places among what `_along_axis` gives for y and x; `[M]` int32."""
    side = output_size
    of_box = side**2
    bins, nth = _counted(tf.repeat(tf.reduce_prod(counts, axis=1), of_box))
    box = bins // of_box
    per_box = tf.concat([counts, tf.cumsum(side * counts, exclusive=True)], axis=1)
    along_y, along_x, first_y, first_x = tf.unstack(tf.gather(per_box, box), axis=1)
    place = bins - box * of_box
    row = place // side
    down = nth // along_x
    return bins, first_y + row * along_y + down, first_x + (place - row * side) * along_x + (nth - down * along_x)


def _counted(numbers):
    """Whose each one is, of as many as each of `numbers` has, and the how manyth of its own; `[sum]` int32 both."""
    owner = tf.repeat(tf.range(tf.size(numbers)), numbers)
    return owner, tf.range(tf.size(owner)) - tf.gather(tf.cumsum(numbers, exclusive=True), owner)
