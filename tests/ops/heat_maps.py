"""Heat maps of the golden file of keypoints, which both rooms that decode and encode them draw again."""

import tensorflow as tf

SIDE = 56


def heat_maps(draws, boxes, number):
    """Those of the golden script: a mean over 5 x 5 cells of noise, times 8; of the cells there are at the border."""
    noise = draws.normal("keypoint_decode/logits", (len(boxes), number, SIDE, SIDE)).transpose(0, 2, 3, 1)
    return 8 * tf.nn.avg_pool2d(noise, 5, 1, "SAME")
