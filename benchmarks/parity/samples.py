"""The Keras side of a training step's randomness: the anchors and RoIs that the reference had sampled."""

import contextlib

import numpy as np
import tensorflow as tf

from keras_fpn.stages import targets

_SAMPLE = targets.sample


@contextlib.contextmanager
def repeated(kept, step, model, count):
    """Let the sampler give the reference's samples, and the proposals be the reference's, which these number.

    The labels from which we would have sampled must agree with theirs. Works without a graph only: each call takes
    the next of the list. Of a model that samples nothing nothing was recorded, and it is left as it is.

    Args:
        count: of images.
    """
    queue = []
    if f"{step}/anchors/0/positive" in kept:
        queue = [_sampled(kept, f"{step}/anchors", image) for image in range(count)]
        if hasattr(model, "box_head"):
            queue += _give_proposals(kept, step, model, count)

    def sample(labels, num_samples, positive_fraction, seed):
        positive, negative = queue.pop(0)
        rows = np.concatenate([positive, negative])
        is_positive = np.arange(num_samples) < len(positive)
        expected = np.where(is_positive[: len(rows)], 1, 0)
        assert (labels.numpy()[rows] == expected).all(), "labels of the sampled boxes differ from the reference's"
        indices = np.pad(rows, (0, num_samples - len(rows))).astype(np.int32)
        is_valid = np.arange(num_samples) < len(rows)
        return tf.constant(indices), tf.constant(is_positive), tf.constant(is_valid)

    targets.sample = sample
    try:
        yield
        assert not queue, "the reference sampled more often"
    finally:
        targets.sample = _SAMPLE


def _give_proposals(kept, step, model, count):
    """Have the model go on with the reference's proposals; returns the rows that were sampled of each image."""
    proposals = [kept[f"{step}/proposals/{image}"] for image in range(count)]
    most = max(map(len, proposals))
    given = {
        "boxes": tf.constant(np.stack([np.pad(boxes, [(0, most - len(boxes)), (0, 0)]) for boxes in proposals])),
        "scores": tf.zeros([count, most]),
        "num_proposals": tf.constant([len(boxes) for boxes in proposals]),
    }
    object.__setattr__(model.proposals, "call", lambda *_, **__: given)
    rows = []
    for image, boxes in enumerate(proposals):
        # Ground truth follows the proposals: with us, after the padding of the batch.
        sampled = _sampled(kept, f"{step}/rois", image)
        rows.append([np.where(each < len(boxes), each, each + most - len(boxes)) for each in sampled])
    return rows


def _sampled(kept, stage, image):
    return [kept[f"{stage}/{image}/{sign}"] for sign in ("positive", "negative")]
