"""Keypoints of detections as an output field, without TensorFlow."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_fpn.parts.output_fields import OutputField, Place, register_output_field


@register_output_field
class KeypointPlaces(OutputField):
    """Places of K keypoints of a detection, `[K, 3]` x, y in pixels and a score.

    Args:
        names: K.
        skeleton: pairs of keypoints that pictures join, counted from 0.
        offset: what was added to x and y of the annotations that were learnt from; it is taken off those of results.
        of_classes: for each class the keypoints that it has; the others are 0, 0, 0 in results, and not drawn. None:
            all.
        skeletons: for each class its own pairs; None: `skeleton` for all.
    """

    kind, name, axes, bound = "keypoint_places", "keypoints", "xys", 0.05
    number_bound = 1e-3  # scores follow the logits of heat maps, which are not bounded
    meaning = "x, y in pixels of the image given and a score of each keypoint; 0 past the last detection"
    over, truths = "skeletons", ("keypoints",)
    note = "keypoints that are hidden are hollow"

    def __init__(
        self,
        names: Sequence[str] = (),
        skeleton: Sequence[Sequence[int]] = (),
        offset: float = 0.0,
        of_classes: Sequence[Sequence[int]] | None = None,
        skeletons: Sequence[Sequence[Sequence[int]]] | None = None,
    ):
        self.names, self.offset, self.of_classes = tuple(names), offset, of_classes
        self.skeleton = _pairs(skeleton)
        self.skeletons = None if skeletons is None else tuple(map(_pairs, skeletons))
        self.shape = (len(self.names), 3)

    @property
    def arguments(self) -> Mapping:
        own = {"names": list(self.names), "skeleton": [list(pair) for pair in self.skeleton], "offset": self.offset}
        if self.of_classes is not None:
            own["of_classes"] = [list(each) for each in self.of_classes]
        if self.skeletons is not None:
            own["skeletons"] = [[list(pair) for pair in each] for each in self.skeletons]
        return own

    def skeleton_of(self, label: int | None) -> tuple[tuple[int, int], ...]:
        """Pairs that are joined of an object of a class; those of all where its class is not known."""
        return self.skeleton if self.skeletons is None or label is None else self.skeletons[label]

    def to_original(self, values: np.ndarray, place: Place) -> np.ndarray:
        """See `OutputField`; what is no keypoint, 0, 0, 0, stays so."""
        return np.where(np.any(values, axis=-1, keepdims=True), super().to_original(values, place), 0)

    def finish(self, values: Mapping[str, Any]) -> np.ndarray:
        """Without the keypoints that the class of a detection has not."""
        if self.of_classes is None or "classes" not in values:
            return values[self.name]
        is_of = np.zeros((len(self.of_classes), len(self.names)), bool)
        for label, points in enumerate(self.of_classes):
            is_of[label, list(points)] = True
        return np.where(is_of[np.asarray(values["classes"], int)][..., None], values[self.name], 0)

    def to_result(self, value: Any, classes: Any) -> dict:
        """COCO's flat list x, y, score of each keypoint, x and y as its annotations have them."""
        rows = np.array(value, np.float64)
        rows[rows.any(axis=-1), :2] -= self.offset
        return {"keypoints": rows.ravel().tolist()}

    def of_truth(self, ground_truth: Mapping[str, np.ndarray], rows: np.ndarray, place: Place) -> np.ndarray | None:
        """Keypoints of objects; in the place of a score NaN of those that are labelled and hidden."""
        if self.name not in ground_truth:
            return None
        given = np.asarray(ground_truth[self.name], np.float64)[rows]
        values = self.to_original(given, place)
        values[given[..., 2] == 1, 2] = np.nan
        return values


def _pairs(skeleton) -> tuple[tuple[int, int], ...]:
    return tuple((int(one), int(other)) for one, other in skeleton)
