"""Targets of the RPN and the box head: matching boxes to ground truth, and sampling.

One matcher serves both stages with two settings (0.7 / 0.3 with the low-quality rule for anchors, 0.5 / 0.5 for
RoIs), and so does one sampler. Sampling is stateless: the same seed gives the same samples, so that a resumed run
equals an uninterrupted one.

Labels: 1 positive, 0 negative, -1 ignored.
"""

from collections.abc import Mapping, Sequence

import tensorflow as tf

from keras_fpn.ops import boxes as box_ops

# Ground truth is compared in tiles of this many boxes: 268,569 anchors of an 800x1344 image against a tile are
# 17 MB, whatever the number of objects.
GROUND_TRUTH_TILE = 16


def match(
    boxes: tf.Tensor,
    ground_truth: tf.Tensor,
    ground_truth_valid: tf.Tensor,
    positive_iou: float,
    negative_iou: float,
    low_quality_matches: bool = False,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Match boxes to ground truth (Faster R-CNN, section 3.1.2).

    A box is positive if its best IoU reaches `positive_iou`, negative if that is below `negative_iou`, else
    ignored. With `low_quality_matches` every box that has the highest IoU of some ground truth, ties included, is
    positive too and wins over negative, but keeps its own best one (detectron2, torchvision). One that overlaps no box
    at all forces none.

    Args:
        boxes: `[N, 4]` pixels.
        ground_truth: `[G, 4]` pixels, padded.
        ground_truth_valid: `[G]` bool, False for padding and whatever else is not to be matched.
        positive_iou, negative_iou: thresholds.
        low_quality_matches: see above.

    Returns:
        `matched`, `[N]` int32, index of each box's best ground truth (0 without any), and `labels`, `[N]` int32.
    """
    tiles, valid_tiles = _tiles(ground_truth), _tiles(ground_truth_valid)
    count = tf.shape(boxes)[0]
    state = (tf.fill([count], -1.0), tf.zeros([count], tf.int32), tf.zeros([count], tf.bool))

    def step(index, *state):
        iou = box_ops.pairwise_iou(tiles[index], boxes)
        return (index + 1, *_best_so_far(state, iou, valid_tiles[index], index * GROUND_TRUTH_TILE))

    _, best, matched, forced = tf.while_loop(
        lambda index, *_: index < tf.shape(tiles)[0], step, (0, *state), parallel_iterations=1
    )
    return matched, _labels(best, forced, positive_iou, negative_iou, low_quality_matches)


def _tiles(values):
    """`[G, ...] -> [ceil(G / tile), tile, ...]`, padded with zeros."""
    missing = -tf.shape(values)[0] % GROUND_TRUTH_TILE
    padded = tf.pad(values, [[0, missing]] + [[0, 0]] * (values.shape.rank - 1))
    return tf.reshape(padded, [-1, GROUND_TRUTH_TILE, *values.shape[1:]])


def _best_so_far(state, iou, valid, offset):
    """Take a tile of ground truth into account: best IoU and object of each box, and whether it is some object's best.

    `iou` is `[G, N]`: with the many boxes innermost, TensorFlow is several times faster than the other way round.
    """
    best, matched, forced = state
    iou = tf.where(valid[:, None], iou, -1.0)
    tile_best = tf.reduce_max(iou, axis=0)
    tile_matched = tf.argmax(iou, axis=0, output_type=tf.int32) + offset
    best_of_ground_truth = tf.reduce_max(iou, axis=1, keepdims=True)  # [G, 1]
    is_best = (iou == best_of_ground_truth) & (best_of_ground_truth > 0.0)
    better = tile_best > best  # strictly: of equal ones the first ground truth stays
    return (
        tf.where(better, tile_best, best),
        tf.where(better, tf.where(tile_best >= 0.0, tile_matched, 0), matched),
        forced | tf.reduce_any(is_best, axis=0),
    )


def _labels(best, forced, positive_iou, negative_iou, low_quality_matches):
    labels = tf.where(best >= positive_iou, 1, tf.where(best < negative_iou, 0, -1))
    return tf.where(forced, 1, labels) if low_quality_matches else labels


def ignore_crowd(
    labels: tf.Tensor, boxes: tf.Tensor, ground_truth: tf.Tensor, is_crowd: tf.Tensor, crowd_ioa: float
) -> tf.Tensor:
    """Ignore negatives that lie in a crowd region: there are objects, only not boxed one by one.

    Args:
        labels: `[N]`.
        boxes: `[N, 4]`.
        ground_truth: `[G, 4]`.
        is_crowd: `[G]` bool.
        crowd_ioa: share of the box's own area inside the region from which it is ignored (Detectron: 0.7).

    Returns:
        `[N]` labels.
    """
    regions = _tiles(tf.boolean_mask(ground_truth, is_crowd))  # without a crowd, the common case, there are none

    def step(index, inside):
        share = box_ops.pairwise_ioa(boxes, regions[index])
        return index + 1, tf.maximum(inside, tf.reduce_max(share, axis=1))

    start = (0, tf.zeros(tf.shape(boxes)[0]))
    _, inside = tf.while_loop(lambda index, _: index < tf.shape(regions)[0], step, start, parallel_iterations=1)
    return tf.where((labels == 0) & (inside >= crowd_ioa), -1, labels)


def sample(
    labels: tf.Tensor, num_samples: int, positive_fraction: float, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Draw up to `num_samples` boxes, at most `positive_fraction` of them positive, the rest negative.

    Negatives fill the place of missing positives; positives never fill that of missing negatives.

    Args:
        labels: `[N]`.
        num_samples: S.
        positive_fraction: the number of positives is at most `int(num_samples * positive_fraction)`.
        seed: `[2]` int, the same seed draws the same samples.

    Returns:
        `indices` `[S]` int32 into the boxes, `is_positive` `[S]` bool and `is_valid` `[S]` bool, False from the
        first sample that could not be drawn.
    """
    # Padding, so that S can be drawn of any number of boxes.
    labels = tf.pad(labels, [[0, num_samples]], constant_values=-1)
    order = tf.random.stateless_uniform(tf.shape(labels), seed)
    max_positives = int(num_samples * positive_fraction)
    positive_order, positives = tf.math.top_k(tf.where(labels == 1, order, -1.0), max_positives)
    negative_order, negatives = tf.math.top_k(tf.where(labels == 0, order, -1.0), num_samples)
    is_drawn_positive = positive_order >= 0.0
    rank = tf.range(num_samples) + tf.reduce_sum(tf.cast(is_drawn_positive, tf.int32))
    is_drawn = tf.concat([is_drawn_positive, (negative_order >= 0.0) & (rank < num_samples)], axis=0)
    # top_k of a 0/1 vector is stable: the drawn ones move to the front in order.
    is_valid, places = tf.math.top_k(tf.cast(is_drawn, tf.int32), num_samples)
    is_valid = is_valid == 1
    indices = tf.gather(tf.concat([positives, negatives], axis=0), places)
    return tf.where(is_valid, indices, 0), is_valid & (places < max_positives), is_valid


def anchor_targets(
    anchors: tf.Tensor,
    ground_truth: Mapping[str, tf.Tensor],
    seed: tf.Tensor,
    *,
    positive_iou: float,
    negative_iou: float,
    low_quality_matches: bool,
    samples_per_image: int,
    positive_fraction: float,
    crowd_ioa: float,
    box_weights: Sequence[float],
) -> dict[str, tf.Tensor]:
    """Sampled anchors of every image and what the RPN should say of them.

    Args:
        anchors: `[N, 4]`, all levels; those that reach outside the image are trained on too (paper, section 5.1).
        ground_truth: `{"boxes": [B, G, 4], "classes": [B, G], "is_crowd": [B, G] (optional)}`, any numeric dtypes.
        seed: `[2]` int.
        positive_iou, negative_iou, low_quality_matches: see `match`.
        samples_per_image, positive_fraction: see `sample`.
        crowd_ioa: see `ignore_crowd`.
        box_weights: see `boxes.encode`.

    Returns:
        `{"indices": [B, S] int32, "is_positive": [B, S] bool, "is_valid": [B, S] bool, "deltas": [B, S, 4]}`.
    """

    def one_image(image):
        boxes, is_object, is_crowd, _, index = image
        matched, labels = match(anchors, boxes, is_object, positive_iou, negative_iou, low_quality_matches)
        labels = ignore_crowd(labels, anchors, boxes, is_crowd, crowd_ioa)
        image_seed = tf.random.experimental.stateless_fold_in(seed, index)
        indices, is_positive, is_valid = sample(labels, samples_per_image, positive_fraction, image_seed)
        targets = tf.gather(boxes, tf.gather(matched, indices))
        return indices, is_positive, is_valid, box_ops.encode(targets, tf.gather(anchors, indices), box_weights)

    count = samples_per_image
    signature = (
        tf.TensorSpec([count], tf.int32),
        tf.TensorSpec([count], tf.bool),
        tf.TensorSpec([count], tf.bool),
        tf.TensorSpec([count, 4], tf.float32),
    )
    sampled = tf.map_fn(one_image, images_of(ground_truth), fn_output_signature=signature)
    return dict(zip(("indices", "is_positive", "is_valid", "deltas"), sampled, strict=True))


def roi_targets(
    proposals: Mapping[str, tf.Tensor],
    ground_truth: Mapping[str, tf.Tensor],
    seed: tf.Tensor,
    *,
    num_classes: int,
    positive_iou: float,
    samples_per_image: int,
    positive_fraction: float,
    add_ground_truth: bool,
    crowd_ioa: float,
    box_weights: Sequence[float],
) -> dict[str, tf.Tensor]:
    """Sampled RoIs of every image and what the box head should say of them.

    Args:
        proposals: `{"boxes": [B, P, 4], "num_proposals": [B]}`.
        ground_truth: as for `anchor_targets`.
        seed: `[2]` int.
        num_classes: K, the class of the background.
        positive_iou: IoU from which a proposal is an object; below it, it is background.
        samples_per_image, positive_fraction: see `sample`.
        add_ground_truth: whether the ground truth is among the candidates.
        crowd_ioa: see `ignore_crowd`.
        box_weights: see `boxes.encode`.

    Returns:
        `{"boxes": [B, S, 4], "classes": [B, S] int32, "deltas": [B, S, 4], "is_valid": [B, S] bool, "objects": [B, S]
        int32}`, the last the row of the ground truth that an RoI of an object is matched to, -1 of the background.
    """

    def one_image(image):
        boxes, is_object, is_crowd, classes, index, candidates, num_proposals = image
        is_candidate = tf.range(tf.shape(candidates)[0]) < num_proposals
        if add_ground_truth:
            candidates = tf.concat([candidates, boxes], axis=0)
            is_candidate = tf.concat([is_candidate, is_object], axis=0)
        matched, labels = match(candidates, boxes, is_object, positive_iou, positive_iou)
        labels = ignore_crowd(labels, candidates, boxes, is_crowd, crowd_ioa)
        labels = tf.where(is_candidate, labels, -1)
        image_seed = tf.random.experimental.stateless_fold_in(seed, index)
        indices, is_positive, is_valid = sample(labels, samples_per_image, positive_fraction, image_seed)
        rois, ground_truth_index = tf.gather(candidates, indices), tf.gather(matched, indices)
        roi_classes = tf.where(is_positive, tf.gather(classes, ground_truth_index), num_classes)
        deltas = box_ops.encode(tf.gather(boxes, ground_truth_index), rois, box_weights)
        return rois, roi_classes, deltas, is_valid, tf.where(is_positive, ground_truth_index, -1)

    count = samples_per_image
    signature = (
        tf.TensorSpec([count, 4], tf.float32),
        tf.TensorSpec([count], tf.int32),
        tf.TensorSpec([count, 4], tf.float32),
        tf.TensorSpec([count], tf.bool),
        tf.TensorSpec([count], tf.int32),
    )
    # Constants, whoever moved them: no target may be reached by moving the box that it is measured from.
    boxes = tf.stop_gradient(proposals["boxes"])
    images = (*images_of(ground_truth), boxes, proposals["num_proposals"])
    sampled = tf.map_fn(one_image, images, fn_output_signature=signature)
    return dict(zip(("boxes", "classes", "deltas", "is_valid", "objects"), sampled, strict=True))


def images_of(ground_truth: Mapping[str, tf.Tensor]) -> tuple[tf.Tensor, ...]:
    """Boxes, is_object, is_crowd, classes and index of every image, with a row of padding.

    The row gives boxes without any ground truth something to point at.
    """
    boxes = tf.pad(tf.cast(ground_truth["boxes"], tf.float32), [[0, 0], [0, 1], [0, 0]])
    classes = tf.pad(tf.cast(ground_truth["classes"], tf.int32), [[0, 0], [0, 1]], constant_values=-1)
    is_ground_truth = classes >= 0
    is_crowd = tf.zeros_like(is_ground_truth)
    if "is_crowd" in ground_truth:
        is_crowd = is_ground_truth & (tf.pad(tf.cast(ground_truth["is_crowd"], tf.bool), [[0, 0], [0, 1]]))
    return boxes, is_ground_truth & ~is_crowd, is_crowd, classes, tf.range(tf.shape(is_ground_truth)[0])
