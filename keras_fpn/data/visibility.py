"""Which objects a window on an image shows well enough to be learnt from.

The rule of SSD (Liu et al., ECCV 2016, section 2.2): an object belongs to a part of an image that its centre lies in,
and its box is cut to that part; others are left out. Besides, a share of its box must be seen. A crowd marks where
nothing is learnt, so it stays as long as a pixel of it does.
"""

from typing import TYPE_CHECKING

import tensorflow as tf

from keras_fpn.data.augmentations.augmentation import column
from keras_fpn.data.transforms import Window

if TYPE_CHECKING:
    from keras_fpn.data.augmentations.augmentation import Rows


def kept(rows: "Rows", window: Window, least: float) -> tf.Tensor:
    """`[n]` bool, which objects stay in a window.

    Args:
        rows: of the fields of the n objects, in pixels of the image that the window is of.
        least: share 0..1 of an object's box that must be in the window.
    """
    boxes, is_crowd = column(rows, "boxes"), column(rows, "is_crowd") == 1
    has_centre, share, is_pixel = seen(boxes, tf.cast(tf.stack(window), tf.float32)[None])
    return is_pixel[0] & (is_crowd | has_centre[0] & (share[0] >= least))


def seen(boxes: tf.Tensor, windows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Measure how much each of t windows shows of each of n boxes.

    Args:
        boxes: `[n, 4]` x1, y1, x2, y2.
        windows: `[t, 4]` float32 top, left, height, width.

    Returns:
        (whether the centre is in it, the share of the box that is, whether a pixel or more is), `[t, n]` each.
    """
    top, left, height, width = (side[:, None] for side in tf.unstack(windows, axis=1))
    x1, y1, x2, y2 = tf.unstack(boxes, axis=1)
    centre_x, centre_y = (x1 + x2) / 2, (y1 + y2) / 2
    has_centre = (centre_x >= left) & (centre_x < left + width) & (centre_y >= top) & (centre_y < top + height)
    starts = tf.maximum(x1, left), tf.maximum(y1, top)
    ends = tf.minimum(x2, left + width), tf.minimum(y2, top + height)
    seen_boxes = tf.stack([*starts, *ends], axis=2)
    sides = tf.maximum(seen_boxes[..., 2:] - seen_boxes[..., :2], 0.0)
    share = tf.reduce_prod(sides, axis=2) / ((x2 - x1) * (y2 - y1))
    return has_centre, share, tf.reduce_all(sides >= 1.0, axis=2)
