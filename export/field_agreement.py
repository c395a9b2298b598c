"""Further fields of detections, compared between an artefact and its model.

An `OutputField` says by its attributes how its values are compared: `axes`, `bound`, `number_bound`, `least_overlap`.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_fpn.export.findings import Bounds, Detections, VerificationError, told_box
from keras_fpn.parts.output_fields import OutputField

PIXELS = "xy"  # among the letters of `OutputField.axes`


def _none_is_open(name, boxes, values, bounds=None):
    return np.zeros(len(boxes), bool)


@dataclasses.dataclass(frozen=True)
class Further:
    """Further fields of the detections of one image, and how they are compared.

    Attributes:
        fields: those whose values are.
        regions: those whose regions in the image itself are.
        are_open: called with the name of a field, boxes of the model's detections, what the artefact says of them
            where that is not what the model says, and the `Bounds` of a lower precision; bool that broadcasts against
            the values without their last axis; see `undecided.are_open`.
        overlaps: called with a field and the rows of partners, of the artefact and of the model; `[P]` IoU.
    """

    fields: tuple[OutputField, ...] = ()
    regions: tuple[OutputField, ...] = ()
    are_open: Callable[..., np.ndarray] = _none_is_open
    overlaps: Callable[..., np.ndarray] = lambda field, of_found, of_expected: np.ones(len(of_found))

    def exactly(
        self, found: Detections, expected: Detections, pairs: np.ndarray, class_names: Sequence[str]
    ) -> dict[str, Any]:
        """Hold the values of an artefact to the model's: "further" and "overlaps" of a `Finding`.

        Args:
            found, expected: `Detections` of the artefact and of the model.
            pairs: `[P, 2]` rows of partners, P at least 1.
            class_names: for the error.

        Raises:
            VerificationError: a difference that rounding does not explain.
        """
        of_found, of_expected = pairs.T
        largest, least = {}, {}
        for field in self.fields:
            differences, bounds = self._differences(field, found, expected, pairs)
            excess = (differences / bounds if field.bound else differences).reshape(len(pairs), -1)
            worst, part = divmod(int(excess.argmax()), excess.shape[1])
            if (differences > bounds).any():
                at = _at(expected, of_expected[worst], class_names)
                off, most = (side.reshape(len(pairs), -1)[worst, part] for side in (differences, bounds))
                raise VerificationError(f"{field.name} of {at} differ by {off:.2g} (at most {most:.2g})")
            largest[field.name] = float(differences.max(initial=0.0))
        for field in self.regions:
            overlaps = self.overlaps(field, of_found, of_expected)
            worst = int(overlaps.argmin())
            if overlaps[worst] < field.least_overlap:
                at = _at(expected, of_expected[worst], class_names)
                told = f"an IoU of {overlaps[worst]:.4f} (at least {field.least_overlap:g})"
                raise VerificationError(f"{field.name} of {at} have in the image, over the same box, {told}")
            least[field.name] = float(overlaps[worst])
        return {"further": largest, "overlaps": least}

    def _differences(self, field, found, expected, pairs):
        """`differences` of partners, but 0 of what rounding leaves open."""
        of_found, of_expected = pairs.T
        theirs = found.further[field.name][of_found]
        off, bounds = differences(field, expected.further[field.name][of_expected], theirs)
        far = np.flatnonzero((off > bounds).reshape(len(pairs), -1).any(axis=1))
        if len(far):
            is_open = self.are_open(field.name, expected.boxes[of_expected[far]], theirs[far]).astype(bool)
            off[far] *= ~is_open.reshape(is_open.shape + (1,) * (off.ndim - is_open.ndim))
        return off, bounds

    def roughly(self, found: Detections, expected: Detections, pairs: np.ndarray, bounds: Bounds) -> dict[str, Any]:
        """Count the parts of values that a lower precision puts elsewhere: "further" and "far" of a `Finding`.

        Args:
            found, expected: `Detections` of the artefact and of the model.
            pairs: `[P, 2]` rows of partners.
            bounds: `Bounds`.
        """
        of_found, of_expected = pairs.T
        largest, far = {}, {}
        for field in self.fields if len(pairs) else ():
            ours, theirs = (_finished(field, side)[rows] for side, rows in ((expected, of_expected), (found, of_found)))
            places, numbers = apart(field, ours, theirs, expected.boxes[of_expected])
            is_far = (places > bounds.place) | (numbers > bounds.score)
            largest[field.name] = float(np.nanmax(np.fmax(places, numbers)[~is_far], initial=0.0))
            rows = np.flatnonzero(is_far.any(axis=1))
            if len(rows):
                raw = found.further[field.name][of_found[rows]]
                is_open = self.are_open(field.name, expected.boxes[of_expected[rows]], raw, bounds).astype(bool)
                is_far[rows] &= ~(is_open.reshape(len(rows), -1) & (places[rows] > bounds.place))
            far[field.name] = [int(is_far.sum()), int(np.isfinite(places).sum())]
        for field in self.regions if len(pairs) else ():
            if field not in self.fields:
                overlaps = self.overlaps(field, of_found, of_expected)
                far[field.name] = [int((overlaps < bounds.overlap).sum()), len(overlaps)]
        return {"further": largest, "far": far}


NOTHING_FURTHER = Further()


def _finished(field, side):
    """Values of a side as results tell them, such as without the points that the class of a detection has not."""
    values = {"boxes": side.boxes, "scores": side.scores, "classes": side.classes} | side.further
    return np.asarray(field.finish(values))


def _at(expected, row, class_names):
    return f"the {class_names[expected.classes[row]]} at {told_box(expected.boxes[row])}"


def differences(field: OutputField, ours: np.ndarray, theirs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The differences of float32, and how much each may be.

    Args:
        field: of the values.
        ours, theirs: `[n, *shape]` of the model and of the artefact, of the same n detections.

    Returns:
        `[n, *shape]` float64 each.
    """
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    bounds = np.full(ours.shape, float(field.bound))
    if field.axes and field.number_bound is not None:
        numbers = [index for index, axis in enumerate(field.axes) if axis not in PIXELS]
        bounds[..., numbers] = field.number_bound * np.maximum(np.abs(ours[..., numbers]), 1.0)
    return np.abs(theirs - ours), bounds


def apart(
    field: OutputField, ours: np.ndarray, theirs: np.ndarray, boxes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How far detectors of unlike precision put the values of the same n detections, part by part.

    A part is a row where the field has `axes`, such as a point x, y, and else the whole of a value: P of them.

    Args:
        field: of the values.
        ours, theirs: `[n, *shape]` of the model and of the artefact.
        boxes: `[n, 4]` of the model's detections.

    Returns:
        `(places, numbers)`, `[n, P]` float64 each: the distance along x or y, whichever is more, as a share of that
        side of the box; and the mean difference of what is no place, of numbers above 1 as a share of them. NaN of
        rows that are 0 on both sides: nothing is there.
    """
    size = int(np.prod(np.shape(ours)[1:], dtype=int))
    components = len(field.axes) or size
    ours, theirs = (np.asarray(side, np.float64).reshape(-1, size // components, components) for side in (ours, theirs))
    off = np.abs(theirs - ours)
    axes = [PIXELS.find(axis) for axis in field.axes] or [-1] * components
    is_place = np.array(axes) >= 0
    sides = np.maximum(boxes[:, None, 2:] - boxes[:, None, :2], 1.0)[..., [axis for axis in axes if axis >= 0]]
    places = (off[..., is_place] / sides).max(axis=-1, initial=0.0)
    numbers = (off / np.maximum(np.abs(ours), 1.0))[..., ~is_place]
    numbers = numbers.mean(axis=-1) if numbers.shape[-1] else np.zeros_like(places)
    is_nothing = ~(ours.any(axis=-1) | theirs.any(axis=-1)) & bool(field.axes)
    return np.where(is_nothing, np.nan, places), np.where(is_nothing, np.nan, numbers)
