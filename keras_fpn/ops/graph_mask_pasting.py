"""Masks of boxes pasted into images by TensorFlow's operations, for graphs that run without Python.

The rules are those of `mask_pasting`, and the arithmetic is the same, step by step: so are the pixels.
"""

import tensorflow as tf

from keras_fpn.ops import mask_pasting

_FAR = 2.0**31  # pixels; what lies further has no place in an image, see `mask_pasting`


def paste_batch(masks: tf.Tensor, boxes: tf.Tensor, sizes: tf.Tensor, rule: str) -> tf.Tensor:
    """The pixels of each object of a batch of images.

    Args:
        masks: `[B, N, m, n]` float32 probabilities over the boxes, rows from the top; m and n are known.
        boxes: `[B, N, 4]` x1, y1, x2, y2 in pixels of each one's image; may reach beyond it.
        sizes: `[B, 2]` int32 height and width of each image, pixels.
        rule: one of `mask_pasting.RULES`.

    Returns:
        `[B, N, H, W]` uint8, 1 on the pixels of an object and else 0; H and W are the largest of the sizes, and an
        image lies in their left upper corner.

    Raises:
        ValueError: there is no such rule.
    """
    if rule not in _AXES:
        raise ValueError(f"a rule of pasting is one of {', '.join(mask_pasting.RULES)}, not {rule!r}")
    batch, number = tf.unstack(tf.shape(boxes)[:2])
    canvas = tf.reduce_max(sizes, axis=0)
    bins = masks.shape[2:]

    def paste(given):
        mask, box, size = given
        return _paste(mask, box, size, canvas, rule)

    given = tf.reshape(masks, [-1, *bins]), tf.reshape(boxes, [-1, 4]), tf.repeat(sizes, number, axis=0)
    # One after the other: each takes the memory of its window, and the whole of them that of the answer.
    pasted = tf.map_fn(
        paste, given, fn_output_signature=tf.TensorSpec([None, None], tf.uint8), parallel_iterations=1
    )
    return tf.reshape(pasted, [batch, number, canvas[0], canvas[1]])


def _paste(mask, box, size, canvas, rule):
    """`[canvas]` uint8 of one mask."""
    # NaN fails every comparison. Nothing is left of what cannot be pasted: no mask, and no box.
    is_sound = tf.reduce_all(tf.abs(box) < _FAR)
    mask, box = tf.where(is_sound, mask, 0.0), tf.where(is_sound, box, 0.0)
    rows, columns = _AXES[rule](box, mask.shape, size[0], size[1])
    across = _between(tf.transpose(tf.pad(mask, [[1, 1], [1, 1]])), columns)  # [w, m + 2]
    window = _between(tf.transpose(across), rows)  # [h, w]
    pixels = tf.cast(mask_pasting.RULES[rule].is_object(window, 0.5), tf.uint8)
    first = tf.stack([rows[0], columns[0]])
    return tf.pad(pixels, tf.stack([first, canvas - first - tf.shape(pixels)], axis=1))


def _between(lines, axis):
    """`[n, k]` between the lines of `[m, k]`."""
    _, before, after, share = axis
    share = share[:, None]
    return tf.gather(lines, before) * (1 - share) + tf.gather(lines, after) * share


# Each rule: (of the rows, of the columns), and of either the first pixel, the bins before and after each pixel [n]
# int32, counted from 1, and the share of the latter [n] float32.


def _detectron2_axes(box, bins, height, width):
    limits = tf.cast(tf.stack([width, height, width, height]), tf.float32)
    x1, y1, x2, y2 = tf.unstack(tf.clip_by_value(box, 0.0, limits))
    is_there = (x2 > x1) & (y2 > y1)
    return _looked_up(y1, y2, bins[0], height, is_there), _looked_up(x1, x2, bins[1], width, is_there)


def _looked_up(start, end, bins, size, is_there):
    first = tf.maximum(tf.cast(tf.floor(start), tf.int32) - 1, 0)
    last = tf.minimum(tf.cast(tf.math.ceil(end), tf.int32) + 1, size)
    first, last = tf.where(is_there, first, 0), tf.where(is_there, last, 0)
    along = (tf.range(tf.cast(first, tf.float32), tf.cast(last, tf.float32)) + 0.5 - start) / (end - start) * 2 - 1
    place = tf.clip_by_value(((along + 1) * float(bins) - 1) / 2, -1.0, float(bins))
    before = tf.floor(place)
    share = place - before
    before = tf.cast(before, tf.int32) + 1
    return first, before, tf.minimum(before + 1, bins + 1), share


def _torchvision_axes(box, bins, height, width):
    middle, half = (box[2:] + box[:2]) * 0.5, (box[2:] - box[:2]) * 0.5
    half *= (bins[1] + 2) / bins[1]  # of the columns, for both axes
    x1, y1 = tf.unstack(tf.cast(middle - half, tf.int64))  # towards 0
    x2, y2 = tf.unstack(tf.cast(middle + half, tf.int64))
    return _resized(y1, y2, bins[0] + 2, height), _resized(x1, x2, bins[1] + 2, width)


def _resized(start, end, bins, size):
    first, last = tf.maximum(start, 0), tf.minimum(end + 1, tf.cast(size, tf.int64))
    is_there = last > first
    first, last = tf.where(is_there, first, start), tf.where(is_there, last, start)  # no pixels
    scale = float(bins) / tf.cast(tf.maximum(end - start + 1, 1), tf.float32)
    place = scale * (tf.cast(tf.range(first - start, last - start), tf.float32) + 0.5) - 0.5
    place = tf.maximum(place, 0.0)
    before = tf.minimum(tf.cast(place, tf.int32), bins - 1)
    share = tf.clip_by_value(place - tf.cast(before, tf.float32), 0.0, 1.0)
    return tf.cast(tf.where(is_there, first, 0), tf.int32), before, tf.minimum(before + 1, bins - 1), share


_AXES = {"detectron2": _detectron2_axes, "torchvision": _torchvision_axes}
