"""Keypoints of detections compared: by their distance in the picture."""

import drawn_checkpoints
import numpy as np
import tensorflow as tf
from agreement import Verdict

from keras_fpn.ops.keypoints import cubic_weights

BOUND = 0.05  # pixels
TIE = 1e-3  # of two logits
ROUNDING = 1e-4  # pixels: what a box may differ by before it is seen


class Keypoints:
    """See `instances.HEADS`; the difference of two answers is the largest coordinate difference, in pixels.

    An answer that is further off is explained by one of two reasons:

    near ties: in our heat map, resized to the box, the pixels that the reference took are as high as the highest.
    truncation: our keypoints in the reference's box are its keypoints, and a side of the box is so near to a whole
        number of pixels that the two boxes' difference decides to how many the heat map is resized.
    """

    name, stage, title = "keypoints", "keypoint", "keypoint logits"
    scores = "keypoint scores"
    bound, unit = BOUND, "px"

    def of_model(self, model):
        """Comparison of the keypoints of a model, of any the same."""
        return self

    def logits(self, stage, features, boxes):
        """Heat maps."""
        return stage.heat_maps(features, boxes)

    def verdict(self, ours, theirs, given, row, box):
        """`Verdict` of `[K, 3]` keypoints in the picture; arguments as those of `masks.Masks.verdict`."""
        distances = np.abs(ours[:, :2] - theirs[:, :2]).max(-1)
        difference, far = float(distances.max()), distances > self.bound
        if not far.any():
            return Verdict(difference, True)
        own = given.verdicts[row] if row < len(given.verdicts) else None
        sides = given.boxes[row, 2:] - given.boxes[row, :2]
        if own is not None and _is_truncated(sides, (box - given.place.boxes[row]) / np.tile(given.place.ratio, 2)):
            return Verdict(difference, False, "truncation" if own.is_explained else "")
        places = ours if own is not None else theirs
        gap = _gap(given, row, places[:, :2] / given.place.ratio, np.flatnonzero(far))
        return Verdict(difference, False, "near ties" if gap < TIE else "", gap)

    def compare_scores(self, comparison, key, ours, theirs, verdicts):
        """Of the instances whose keypoints are in the same places."""
        same = [row for row, verdict in enumerate(verdicts) if verdict.is_same]
        difference = drawn_checkpoints.relative_difference(ours[same, :, 2], theirs[same, :, 2])
        comparison.note(self.scores, key, difference)


def _gap(given, row, places, points):
    """How much lower than the highest the heat maps of points are where `places` `[K, 2]` say, at most."""
    box, maps = given.boxes[row], given.logits[row]
    sides = np.maximum(box[2:] - box[:2], np.float32(1))
    whole = np.ceil(sides)
    x, y = ((places - box[:2]) * (whole / sides) - 0.5).round().clip(0, whole - 1).astype(int).T
    rows, columns = (cubic_weights(tf.constant(side, tf.float32), maps.shape[0]).numpy() for side in whole[::-1])
    resized = [rows @ maps[..., point] @ columns.T for point in points]
    return max(float(each.max() - each[y[point], x[point]]) for each, point in zip(resized, points, strict=True))


def _is_truncated(sides, moved):
    """Whether boxes whose corners differ by `moved` `[4]` have other whole sides."""
    reach = np.abs(moved).max() * 2 + ROUNDING
    return any((np.ceil(np.maximum(sides - reach, 1)) != np.ceil(np.maximum(sides + reach, 1))).tolist())
