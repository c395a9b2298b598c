"""Masks of detections compared: pasted into the picture, by overlap."""

import numpy as np
from agreement import Verdict

from keras_fpn.models.cascade_mask_rcnn import CascadeMaskRCNN
from keras_fpn.ops import mask_pasting
from keras_fpn.ops import masks as segments

LEAST_OVERLAP = 0.999
LEAST_OVERLAP_OF_CASCADE = 0.99
BOXES_OF_CASCADE = 0.01  # pixels
TIE = 1e-3  # of a probability with a half
ROUNDING = 1e-4  # pixels: what a box may differ by before it is seen


class Masks:
    """See `instances.HEADS`; the difference of two masks is 1 - their overlap.

    A mask that overlaps less is explained by one of two reasons:

    near ties: each pixel that only one side has is near a half, by our probabilities in our box or in the reference's
        (in a box of two pixels a thousandth of one moves them by more).
    truncation: our mask in the reference's box is its mask, and a side of the box that torchvision cuts to whole pixels
        is so near to one that the two boxes' difference decides.
    """

    name, stage, title = "masks", "mask", "mask logits"
    scores = None
    bound, unit = 1 - LEAST_OVERLAP, "IoU"

    def of_model(self, model):
        """Comparison of the masks of a model."""
        return MasksOfCascade() if isinstance(model, CascadeMaskRCNN) else self

    def logits(self, stage, features, boxes):
        """Of all classes."""
        return stage.mask_head(stage.mask_pooling(features, boxes))

    def verdict(self, ours, theirs, given, row, box):
        """`Verdict` of a segment of ours and `[H, W]` bool of theirs.

        Args:
            given: our `Answers` about their boxes, `row` that of this instance.
            box: that ours is pasted into, pixels of the picture.
        """
        ours = segments.decode(ours).astype(bool)
        either = np.count_nonzero(ours | theirs)
        difference = 1 - np.count_nonzero(ours & theirs) / either if either else 0.0
        if difference <= self.bound:
            return Verdict(difference, True)
        gap = _gap(given, row, box, ours != theirs)
        if gap < TIE:
            return Verdict(difference, False, "near ties", gap)
        is_cut = given.field.rule == "torchvision" and _is_truncated(box, given.place.boxes[row])
        if is_cut and row < len(given.verdicts) and given.verdicts[row].is_explained:
            return Verdict(difference, False, "truncation")
        return Verdict(difference, False)

    def compare_scores(self, comparison, key, ours, theirs, verdicts):
        """The score of a mask is its box's."""


class MasksOfCascade(Masks):
    """`Masks` that are pasted into boxes of three heads, one after the other, each of which adds its rounding.

    A mask that overlaps less is explained by one more reason:

    boxes: our mask in the reference's box is its mask, and the two boxes are within 0.01 px of each other.
    """

    bound = 1 - LEAST_OVERLAP_OF_CASCADE

    def verdict(self, ours, theirs, given, row, box):
        found = super().verdict(ours, theirs, given, row, box)
        is_near = np.abs(box - given.place.boxes[row]).max() <= BOXES_OF_CASCADE
        if found.is_explained or not is_near or row >= len(given.verdicts) or not given.verdicts[row].is_same:
            return found
        return Verdict(found.difference, False, "boxes")


def _gap(given, row, box, differing):
    """How far from a half the probabilities are of pixels that only one side has, at most: the nearer of two boxes'."""
    boxes = np.stack([box, given.place.boxes[row]])
    masks = np.stack([given.values[row]] * 2)
    soft = mask_pasting.paste_soft(masks, boxes, *given.place.size, given.field.rule)
    return float(np.abs(soft[:, differing] - 0.5).min(0).max())


def _is_truncated(ours, theirs):
    """Whether the difference of two boxes moves a border to another pixel."""
    reach = np.abs(ours - theirs).max() + ROUNDING
    return any((_cells(theirs - reach) != _cells(theirs + reach)).tolist())


def _cells(box):
    """The whole pixels from and to which torchvision pastes."""
    middle, half = (box[2:] + box[:2]) / 2, (box[2:] - box[:2]) / 2 * (30 / 28)
    return np.concatenate([middle - half, middle + half]).astype(int)
