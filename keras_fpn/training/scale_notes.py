"""Sizes that a run should be told of when it starts: images of training and evaluation, objects and anchors."""

import numpy as np

from keras_fpn.config.loading import Config
from keras_fpn.data.coco import CocoDataset

_LEAST_SHARE = 0.1  # of the objects, to be worth a line
# Of a square object in the middle of a square anchor, the side over the anchor's at an IoU of 0.5.
_REACH = 0.5**0.5


def scale_notes(config: Config, train_set: CocoDataset) -> list[str]:
    """Lines to print; none where everything fits.

    Args:
        train_set: the `CocoDataset` that is trained on.
    """
    notes, sizes, size = [], config.data.min_sides, config.model.resize.min_side
    if size not in sizes:
        notes.append(
            f"note: trained at a shorter side of {', '.join(map(str, sizes))} (data.min_sides) and evaluated at"
            f" {size} (model.resize.min_side); --set size={size} makes them one"
        )
    anchors = getattr(config.model, "anchors", None)
    if anchors is not None:
        notes += _anchor_notes(object_sides(config, train_set), sorted(sum(map(list, anchors.sizes.values()), [])))
    return notes


def _anchor_notes(sides, anchors):
    """Lines on the objects that no anchor reaches, below the smallest and above the largest."""
    notes = []
    for share, which, anchor in (
        (np.mean(sides < _REACH * anchors[0]), "smaller", anchors[0]),
        (np.mean(sides > anchors[-1] / _REACH), "larger", anchors[-1]),
    ):
        if share >= _LEAST_SHARE:
            mend = "a larger size" if which == "smaller" else "a smaller one"
            notes.append(
                f"note: {100 * share:.0f} % of the objects are {which} than any anchor reaches (of {anchor:g} px after"
                f" resizing); set model.anchors.sizes for them, or --set size=N for {mend}"
            )
    return notes


def object_sides(config: Config, train_set: CocoDataset) -> np.ndarray:
    """`[n]`: the side of a square of each object's area, pixels after the resize; crowds are left out."""
    resize, sides = config.model.resize, [np.zeros(0)]
    for record in train_set.records:
        short, long = sorted((record.height, record.width))
        scale = min(resize.min_side / short, resize.max_side / long)
        boxes = record.boxes[record.is_crowd == 0]
        sides.append(scale * np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)))
    return np.concatenate(sides)
