"""The losses of all stages, with the normalisers that tell the implementations apart."""

import tensorflow as tf

RPN_NORMALIZERS = ("samples_per_image", "sampled", "sampled_per_image")


def smooth_l1(error: tf.Tensor, beta: float) -> tf.Tensor:
    """Smooth L1 (Fast R-CNN, eq. 3, with its corner at `beta`), elementwise; `beta` 0 is the plain L1.

    This is `0.5 x^2 / beta` below the corner and `|x| - beta / 2` above it: Keras' Huber divided by beta.
    """
    size = tf.abs(error)
    if beta == 0.0:
        return size
    return tf.where(size < beta, 0.5 * size * size / beta, size - 0.5 * beta)


def rpn_losses(
    logits: tf.Tensor,
    deltas: tf.Tensor,
    target_deltas: tf.Tensor,
    is_positive: tf.Tensor,
    is_valid: tf.Tensor,
    *,
    samples_per_image: int,
    normalizer: str,
    box_beta: float,
) -> dict[str, tf.Tensor]:
    """Losses of the region proposal network on its sampled anchors.

    Args:
        logits: `[B, S]` objectness of the sampled anchors.
        deltas: `[B, S, 4]`.
        target_deltas: `[B, S, 4]`, read where `is_positive`.
        is_positive: `[B, S]` bool.
        is_valid: `[B, S]` bool; False pads images with fewer samples.
        samples_per_image: number of samples asked for (256).
        normalizer: "samples_per_image" divides both sums by samples_per_image * B (detectron2), "sampled" by the
            number sampled in the batch (torchvision), "sampled_per_image" the class loss by samples_per_image * B
            and the box loss by each image's own number, then averages over images (Detectron).
        box_beta: corner of the smooth L1.

    Returns:
        `{"rpn_objectness_loss", "rpn_box_loss"}`, float32 scalars; 0 where nothing was sampled.
    """
    if normalizer not in RPN_NORMALIZERS:
        raise ValueError(f"normalizer must be one of {RPN_NORMALIZERS}, not {normalizer!r}")
    valid = tf.cast(is_valid, tf.float32)
    labels = tf.cast(is_positive, tf.float32)
    logits = tf.cast(logits, tf.float32)
    objectness = tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits) * valid  # [B, S]
    box = _box_loss(deltas, target_deltas, is_positive & is_valid, box_beta)  # [B, S]
    images = tf.cast(tf.shape(logits)[0], tf.float32)
    asked, sampled = samples_per_image * images, tf.reduce_sum(valid)
    objectness = tf.reduce_sum(objectness)
    if normalizer == "sampled_per_image":
        per_image = tf.math.divide_no_nan(tf.reduce_sum(box, axis=1), tf.reduce_sum(valid, axis=1))
        return {"rpn_objectness_loss": objectness / asked, "rpn_box_loss": tf.reduce_mean(per_image)}
    count = sampled if normalizer == "sampled" else asked
    return {
        "rpn_objectness_loss": tf.math.divide_no_nan(objectness, count),
        "rpn_box_loss": tf.math.divide_no_nan(tf.reduce_sum(box), count),
    }


def roi_losses(
    class_logits: tf.Tensor,
    deltas: tf.Tensor,
    target_classes: tf.Tensor,
    target_deltas: tf.Tensor,
    is_valid: tf.Tensor,
    *,
    num_classes: int,
    box_beta: float,
) -> dict[str, tf.Tensor]:
    """Losses of the box head on its sampled RoIs, both divided by the number of sampled RoIs.

    Args:
        class_logits: `[B, S, K + N]`: K classes, then the background, then any that count in the softmax and are no
            class.
        deltas: `[B, S, K, 4]`, of which only those of the target class are read, or `[B, S, 1, 4]` for all classes.
        target_classes: `[B, S]` int, K for background.
        target_deltas: `[B, S, 4]`, read where the target is not background.
        is_valid: `[B, S]` bool; False pads images with fewer RoIs.
        num_classes: K.
        box_beta: corner of the smooth L1.

    Returns:
        `{"roi_class_loss", "roi_box_loss"}`, float32 scalars; 0 where nothing was sampled.
    """
    valid = tf.cast(is_valid, tf.float32)
    count = tf.reduce_sum(valid)
    cross_entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels=target_classes, logits=tf.cast(class_logits, tf.float32)
    )
    own_row = tf.minimum(target_classes, deltas.shape[2] - 1)
    own_deltas = tf.gather(deltas, own_row, axis=2, batch_dims=2)  # [B, S, 4]
    is_object = is_valid & (target_classes < num_classes)
    box = _box_loss(own_deltas, target_deltas, is_object, box_beta)
    return {
        "roi_class_loss": tf.math.divide_no_nan(tf.reduce_sum(cross_entropy * valid), count),
        "roi_box_loss": tf.math.divide_no_nan(tf.reduce_sum(box), count),
    }


def _box_loss(deltas, targets, is_positive, beta):
    """Smooth L1 summed over the four deltas, 0 where not positive. `[B, S, 4] -> [B, S]`"""
    # Mask the error, not the loss: the targets of a negative may be infinite, and 0 * inf is NaN.
    error = tf.where(is_positive[..., None], tf.cast(deltas, tf.float32) - targets, 0.0)
    return tf.reduce_sum(smooth_l1(error, beta), axis=-1)


def segment_losses(
    score_logits: tf.Tensor,
    mask_logits: tf.Tensor,
    target_masks: tf.Tensor,
    is_positive: tf.Tensor,
    is_valid: tf.Tensor,
    *,
    mask_weight: float,
) -> dict[str, tf.Tensor]:
    """Losses of the segment proposals on their sampled positions (FPN, appendix A; their form is DeepMask's).

    Args:
        score_logits: `[B, S]`.
        mask_logits: `[B, S, m, m]`; read where `is_positive`.
        target_masks: `[B, P, m, m]` in [0, 1], of the first P samples: no further one is positive.
        is_positive: `[B, S]` bool.
        is_valid: `[B, S]` bool; False pads images with fewer samples.
        mask_weight: factor of the mask loss (10).

    Returns:
        `{"segment_score_loss", "segment_mask_loss"}`, float32 scalars: logistic losses, the first a mean over the
        samples of the batch, the second over the pixels of its positives, times its weight; 0 where there are none.
    """
    valid = tf.cast(is_valid, tf.float32)
    score = tf.nn.sigmoid_cross_entropy_with_logits(labels=tf.cast(is_positive, tf.float32), logits=score_logits)
    most = target_masks.shape[1]
    positive = tf.cast(is_positive[:, :most], tf.float32)
    mask = tf.nn.sigmoid_cross_entropy_with_logits(labels=target_masks, logits=mask_logits[:, :most])
    mask = tf.reduce_mean(mask, axis=[2, 3]) * positive
    return {
        "segment_score_loss": tf.math.divide_no_nan(tf.reduce_sum(score * valid), tf.reduce_sum(valid)),
        "segment_mask_loss": mask_weight * tf.math.divide_no_nan(tf.reduce_sum(mask), tf.reduce_sum(positive)),
    }
