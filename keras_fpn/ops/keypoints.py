"""Keypoints from heat maps of boxes (Mask R-CNN, section 5), by the arithmetic of torchvision and detectron2.

Each map is resized to the pixels of its box, bicubic with a = -0.75 and half-pixel centres, the border repeated;
the pixel with the highest logit is the keypoint. TensorFlow's own bicubic has another a and another border; here the
resizing is a product with one small matrix along each axis, so that it costs what the box has of pixels.
"""

import tensorflow as tf

CUBIC = -0.75  # torch's; OpenCV's and ONNX's, too
TAPS = 4


def decode(
    logits: tf.Tensor, boxes: tf.Tensor, score: str = "probability", least_pixels: int = 1
) -> tf.Tensor:
    """Place and score of each keypoint.

    Args:
        logits: `[N, m, m, K]`, heat maps over the boxes.
        boxes: `[N, 4]` x1, y1, x2, y2 in pixels; a side below 1 counts as 1.
        score: "logit" gives the resized logit there (torchvision); "probability" the exponential of it over the sum
            of those of the m x m cells (detectron2). The latter mixes two resolutions: it may exceed 1.
        least_pixels: a map is resized to no fewer along each axis, however small its box; 1 in both sources, which so
            place the keypoints of a box of 8 pixels on whole ones of them, m cells or not.

    Returns:
        `[N, K, 3]` float32: x, y in pixels, score.

    Raises:
        ValueError: an unknown `score`.
    """
    if score not in ("logit", "probability"):
        raise ValueError(f"score must be logit or probability, not {score!r}")
    logits, boxes = tf.cast(logits, tf.float32), tf.cast(boxes, tf.float32)
    sides = tf.maximum(tf.reverse(boxes[:, 2:] - boxes[:, :2], [1]), 1.0)  # height, width
    numbers = tf.maximum(tf.math.ceil(sides), tf.cast(least_pixels, tf.float32))
    # One box at a time: no two have the same number of pixels, and a large one fills megabytes.
    places = tf.map_fn(
        _highest,
        (logits, numbers),
        fn_output_signature=tf.TensorSpec([logits.shape[-1], 3], tf.float32),
        parallel_iterations=1,
    )
    pixels, highest = places[..., :2], places[..., 2:]  # [N, K, 2] x, y; [N, K, 1]
    # Sides are no whole numbers of pixels: those of the resized map are a little narrower.
    ratio = tf.reverse(sides / numbers, [1])[:, None]
    points = (pixels + 0.5) * ratio + boxes[:, None, :2]
    if score == "probability":
        side, number = logits.shape[2:]
        cells = tf.transpose(tf.reshape(logits, [-1, side * side, number]), [0, 2, 1])
        highest = 1.0 / tf.reduce_sum(tf.exp(cells - highest), axis=-1, keepdims=True)
    return tf.concat([points, highest], axis=-1)


def _highest(maps_and_numbers):
    """The first pixel, row by row, with the highest value of each map resized: `[K, 3]` x, y, the value.

    Of `[m, m, K]` and `[2]`, the pixels of height and width.
    """
    maps, (height, width) = maps_and_numbers[0], tf.unstack(maps_and_numbers[1])
    side, number = maps.shape[0], maps.shape[-1]
    rows, columns = cubic_weights(height, side), cubic_weights(width, side)
    maps = tf.reshape(tf.transpose(maps, [0, 2, 1]), [side, number * side])
    maps = tf.reshape(tf.matmul(rows, maps), [-1, side])  # [h * K, m]
    resized = tf.reshape(tf.matmul(maps, columns, transpose_b=True), [tf.shape(rows)[0], number, tf.shape(columns)[0]])
    # The highest of each row first, since that is all that reads the whole of it.
    of_rows = tf.transpose(tf.reduce_max(resized, axis=2))  # [K, h]
    y = tf.argmax(of_rows, axis=1, output_type=tf.int32)
    row = tf.gather_nd(resized, tf.stack([y, tf.range(number)], axis=1))  # [K, w]
    x = tf.argmax(row, axis=1, output_type=tf.int32)
    return tf.concat([tf.cast(tf.stack([x, y], axis=1), tf.float32), tf.reduce_max(row, axis=1, keepdims=True)], axis=1)


def cubic_weights(number: tf.Tensor, side: int) -> tf.Tensor:
    """Share of each of `side` cells in each pixel of a line resized to `number`, `[number, side]` float32.

    Args:
        number: pixels, a float32 scalar that is whole.
        side: cells of the line.
    """
    position = (tf.range(number) + 0.5) * (tf.cast(side, tf.float32) / number) - 0.5
    first = tf.floor(position)
    # Distances of the four cells around each pixel, from left to right.
    distance = tf.abs((position - first)[:, None] + 1.0 - tf.range(TAPS, dtype=tf.float32))
    near = ((CUBIC + 2.0) * distance - (CUBIC + 3.0)) * distance * distance + 1.0
    far = ((CUBIC * distance - 5.0 * CUBIC) * distance + 8.0 * CUBIC) * distance - 4.0 * CUBIC
    weights = tf.where(distance <= 1.0, near, far)
    cells = first[:, None] - 1.0 + tf.range(TAPS, dtype=tf.float32)
    cells = tf.minimum(tf.maximum(cells, 0.0), side - 1.0)
    is_cell = tf.cast(cells[..., None] == tf.range(side, dtype=tf.float32), tf.float32)  # [number, 4, side]
    return tf.reduce_sum(weights[..., None] * is_cell, axis=1)
