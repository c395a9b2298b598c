"""Targets of all anchors of a detector without proposals."""

from collections.abc import Callable, Mapping

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

    def find(boxes, is_object):
        return match(anchors, boxes, is_object, positive_iou, negative_iou, low_quality_matches)

    return labels_of_images(anchors, ground_truth, find, crowd_ioa)


def labels_of_images(
    places: tf.Tensor, ground_truth: Mapping[str, tf.Tensor], find: Callable[..., tuple], crowd_ioa: float
) -> dict[str, tf.Tensor]:
    """Labels as `anchor_labels` returns them, by any rule of which place is of which object.

    Args:
        places: `[N, 4]` anchors, or cells around points.
        ground_truth, crowd_ioa: see `anchor_labels`.
        find: called with the boxes `[G, 4]` of an image and which of them are objects, `[G]` bool; gives the object of
            each place, `[N]` int32, and labels as `targets.match` does.
    """

    def one_image(image):
        boxes, is_object, is_crowd, classes, _ = image
        matched, labels = find(boxes, is_object)
        labels = ignore_crowd(labels, places, boxes, is_crowd, crowd_ioa)
        is_positive = labels == 1
        own = tf.where(is_positive, tf.gather(classes, matched), -1)
        return own, tf.where(is_positive[:, None], tf.gather(boxes, matched), places), labels >= 0

    signature = (
        tf.TensorSpec([None], tf.int32), tf.TensorSpec([None, 4], tf.float32), tf.TensorSpec([None], tf.bool)
    )  # fmt: skip
    labelled = tf.map_fn(one_image, images_of(ground_truth), fn_output_signature=signature)
    return dict(zip(("classes", "boxes", "is_trained"), labelled, strict=True))
