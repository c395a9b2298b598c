"""Targets of all anchors of a detector without proposals."""

from collections.abc import Mapping

import tensorflow as tf

from keras_fpn.stages.targets import ignore_crowd, images_of, match


def anchor_labels(
    anchors: tf.Tensor,
    ground_truth: Mapping[str, tf.Tensor],
    *,
    positive_iou: float,
    negative_iou: float,
    low_quality_matches: bool,
    crowd_ioa: float,
) -> dict[str, tf.Tensor]:
    """The class and the box of every anchor of every image.

    Args:
        anchors: `[N, 4]`, all levels.
        ground_truth: see `targets.anchor_targets`.
        positive_iou, negative_iou, low_quality_matches: see `targets.match`.
        crowd_ioa: see `targets.ignore_crowd`.

    Returns:
        `{"classes": [B, N] int32, -1 where the anchor is not positive, "boxes": [B, N, 4], the anchor itself there,
        "is_trained": [B, N] bool, False where the anchor is ignored}`.
    """

    def one_image(image):
        boxes, is_object, is_crowd, classes, _ = image
        matched, labels = match(anchors, boxes, is_object, positive_iou, negative_iou, low_quality_matches)
        labels = ignore_crowd(labels, anchors, boxes, is_crowd, crowd_ioa)
        is_positive = labels == 1
        own = tf.where(is_positive, tf.gather(classes, matched), -1)
        return own, tf.where(is_positive[:, None], tf.gather(boxes, matched), anchors), labels >= 0

    signature = (
        tf.TensorSpec([None], tf.int32), tf.TensorSpec([None, 4], tf.float32), tf.TensorSpec([None], tf.bool)
    )  # fmt: skip
    labelled = tf.map_fn(one_image, images_of(ground_truth), fn_output_signature=signature)
    return dict(zip(("classes", "boxes", "is_trained"), labelled, strict=True))
