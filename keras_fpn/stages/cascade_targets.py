"""Targets of the later stages of a cascade: all that the stage before refined, matched anew at an IoU of its own."""

from collections.abc import Mapping, Sequence

import tensorflow as tf

from keras_fpn.ops import boxes as box_ops
from keras_fpn.stages.targets import ignore_crowd, images_of, match


def refined_targets(
    boxes: tf.Tensor,
    is_roi: tf.Tensor,
    ground_truth: Mapping[str, tf.Tensor],
    *,
    num_classes: int,
    positive_iou: float,
    crowd_ioa: float,
    box_weights: Sequence[float],
) -> dict[str, tf.Tensor]:
    """Targets of a head for RoIs that are taken as they are: none is sampled, no ground truth joins them.

    Args:
        boxes: `[B, S, 4]` pixels; no gradient goes through them.
        is_roi: `[B, S]` bool, False of padding.
        ground_truth: as for `targets.roi_targets`.
        num_classes: K, the class of the background.
        positive_iou: IoU from which an RoI is an object; below it, it is background.
        crowd_ioa: see `targets.ignore_crowd`.
        box_weights: see `boxes.encode`.

    Returns:
        The keys of `targets.roi_targets`; `is_valid` is False of padding and of what lies in a crowd.
    """
    boxes = tf.stop_gradient(boxes)

    def one_image(image):
        truth, is_object, is_crowd, classes, _, rois, is_roi = image
        matched, labels = match(rois, truth, is_object, positive_iou, positive_iou)
        labels = tf.where(is_roi, ignore_crowd(labels, rois, truth, is_crowd, crowd_ioa), -1)
        is_positive = labels == 1
        roi_classes = tf.where(is_positive, tf.gather(classes, matched), num_classes)
        deltas = box_ops.encode(tf.gather(truth, matched), rois, box_weights)
        return roi_classes, deltas, labels >= 0, tf.where(is_positive, matched, -1)

    count = boxes.shape[1]
    signature = (
        tf.TensorSpec([count], tf.int32),
        tf.TensorSpec([count, 4], tf.float32),
        tf.TensorSpec([count], tf.bool),
        tf.TensorSpec([count], tf.int32),
    )
    labelled = tf.map_fn(one_image, (*images_of(ground_truth), boxes, is_roi), fn_output_signature=signature)
    return {"boxes": boxes} | dict(zip(("classes", "deltas", "is_valid", "objects"), labelled, strict=True))
