"""Output fields: the rows of a detector's detections, each declared once, without TensorFlow.

    a field     its name, its numbers and their meaning, how they go to the original image, into results, into pictures
    Boxes       x1, y1, x2, y2, clipped to the image
    Windows     boxes that masks cover: not clipped; the box of the result is that of the pasted mask
    Scores, Classes
    Masks       probabilities over the box, pasted into the image as a segment

Evaluation, images, pictures, results and exports loop over the fields of a model; a stage names those that it gives. An
exported detector carries their descriptions, from which `rebuilt` makes them again.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from keras_fpn.console.errors import UserError
from keras_fpn.ops import masks
from keras_fpn.parts.registry import Registry

if TYPE_CHECKING:
    import tensorflow as tf

OUTPUT_FIELDS = Registry("output field", "kind")
_FieldType = TypeVar("_FieldType", bound="type[OutputField]")


@dataclass(frozen=True)
class Place:
    """Where the detections of one image lie in the image itself.

    Attributes:
        size: height and width of the image, pixels.
        ratio: `[2]` width and height of the image over those that the detector saw; its dtype is that of the results.
        boxes: `[n, 4]` of the detections in pixels of the image, not clipped.
        offset: x and y in the image of the left upper corner of what the detector saw, such as on a larger sheet.
    """

    size: tuple[int, int]
    ratio: np.ndarray
    boxes: np.ndarray
    offset: tuple[float, float] = (0, 0)


class OutputField:
    """A value of each detection: `[B, D, *shape]` of "detections", best first.

    An object is made for one model; what depends on its settings are arguments of the constructor, and `arguments`.

    Attributes:
        kind: name of the class among the registered ones.
        name: key of the detections.
        dtype: "float32", "int32" or "uint8".
        shape: of one value; None of an axis that images of other sizes have longer or shorter.
        padding: of the rows past the last detection.
        meaning: what the numbers are, for whoever has only an exported detector.
        axes: of the last axis of `shape` what its components are, a letter each: "x" and "y" are pixels of the image
            that was given and go along when it is resized, others stay. "" of numbers that are no places. Detectors of
            unlike precision are compared by it, too: pixels as shares of the box's sides, each row by itself.
        is_clipped: whether those end at the borders of the image.
        drawing: what is drawn in the place of boxes: a name among `visualize.DRAWINGS`, or a function that is called
            like `visualize.draw_boxes`, with the values as the keyword of the field's name; None leaves the boxes.
        under, over: what is drawn below and above the boxes: a name among `layers.LAYERS`, whose functions
            take `(canvas, values, field)`, or a method `(canvas, values)` that draws into a `layers.Canvas`.
        truths: keys of a batch's targets of which `of_truth` makes values; its own name if left out.
        note: how pictures show it, if there is something to say.
        bound: how far the values of an exported float32 detector may be from the model's.
        number_bound: the same of the components of `axes` that are no pixels, of those above 1 as a share of them;
            `bound` if left out.
        least_overlap: of values that are regions in the image itself, the IoU that those of an exported float32
            detector must have with the model's, see `overlaps`; 0 of others.
    """

    kind: str = ""
    name: str = ""
    dtype: str = "float32"
    shape: tuple[int | None, ...] = ()
    padding: float = 0
    meaning: str = ""
    axes: str = ""
    is_clipped: bool = False
    drawing: str | Callable | None = None
    under: str | Callable | None = None
    over: str | Callable | None = None
    truths: tuple[str, ...] = ()
    note: str = ""
    bound: float = 1e-4
    number_bound: float | None = None
    least_overlap: float = 0.0

    @property
    def arguments(self) -> Mapping:
        """Arguments of the constructor that make the field again, as JSON has them."""
        return MappingProxyType({})

    def to_original(self, values: np.ndarray, place: Place) -> np.ndarray | list[Any]:
        """Values `[n, *shape]` of what the detector saw, in the image itself; as they are unless they have `axes`.

        Args:
            place: `Place` of the detections.

        Returns:
            n values, an array or a list.
        """
        values = rescaled(values, self.axes, place.ratio, place.offset)
        return np.clip(values, *limits_of(self.axes, place.size, values.dtype)) if self.is_clipped else values

    def placed(self) -> "OutputField | None":
        """The field that this becomes where a graph brings its values into the image itself; None where none can."""
        return None

    def place_in_graph(self, values: "tf.Tensor", boxes: "tf.Tensor", sizes: "tf.Tensor") -> "tf.Tensor":
        """Values of `placed`, by TensorFlow's operations; what `to_original` does by NumPy's.

        Args:
            values: `[B, N, *shape]`, padded with `padding`.
            boxes: `[B, N, 4]` in pixels of the images themselves, not clipped.
            sizes: `[B, 2]` int32 height and width of the images, pixels.

        Returns:
            `[B, N, *placed().shape]`, None of that shape as large as the largest image asks.
        """
        raise NotImplementedError

    def overlaps(self, values: np.ndarray, others: np.ndarray, place: Place, other: "OutputField") -> np.ndarray:
        """`[n]` IoU in the image itself of values and others over the same boxes; of a field with a `least_overlap`.

        Pixels that the last digits decide count on neither side.

        Args:
            values: `[n, *shape]`.
            others: `[n, *other.shape]`.
            place: `Place` of the boxes.
            other: the `OutputField` of the others: of the same kind, or the one that is `placed`.
        """
        raise NotImplementedError

    def of_truth(
        self, ground_truth: Mapping[str, np.ndarray], rows: np.ndarray, place: Place
    ) -> np.ndarray | list[Any] | None:
        """Values of objects of the ground truth in the image itself, to be drawn as those of detections.

        Args:
            ground_truth: targets of one image, `{key: [G, ...]}`: those of `truths` that the batch has.
            rows: `[n]` numbers of the objects.
            place: `Place` of the objects; what "the detector saw" is the image of the batch.

        Returns:
            n values, an array or a list; None where the ground truth has none.
        """
        if self.name not in ground_truth:
            return None
        return self.to_original(np.asarray(ground_truth[self.name])[rows], place)

    def finish(self, values: Mapping[str, Any]) -> np.ndarray | list[Any]:
        """Its own values once those of all fields are in the image itself; `{field: n values}`."""
        return values[self.name]

    def to_result(self, value: Any, classes: Any) -> dict:
        """Entries that one value adds to a COCO result; by default itself under its name."""
        return {self.name: np.asarray(value).tolist()}

    def caption(self, value: Any, classes: Any) -> str:
        """Text that follows the name of a detection in a picture."""
        return ""

    def describe(self, rows: Sequence[int | None]) -> dict[str, Any]:
        """Description of the field in an exported detector: "dtype", "shape", "meaning", "kind", "arguments".

        Args:
            rows: `[B, D]` of the artefact, None where any.
        """
        return {
            "dtype": self.dtype,
            "shape": [*rows, *self.shape],
            "meaning": self.meaning,
            "kind": self.kind,
            "arguments": dict(self.arguments),
        }


def _registered():
    """All kinds, those of the other files of this room among them."""
    room = importlib.import_module(__package__)
    for module in pkgutil.iter_modules(room.__path__):
        importlib.import_module(f"{__package__}.{module.name}")
    return OUTPUT_FIELDS


def register_output_field(field_type: _FieldType) -> _FieldType:
    """Make a class of fields known by its `kind`; a decorator. Exported detectors name their fields by it.

    Raises:
        UserError: it has no kind or no name, or another has the kind.
    """
    if not field_type.kind or not field_type.name:
        raise UserError(f"register_output_field: {field_type.__name__} needs a kind and a name")
    return OUTPUT_FIELDS.add(field_type.kind, field_type)


def rescaled(values: np.ndarray, axes: str, ratio: np.ndarray, offset: Sequence[float] = (0, 0)) -> np.ndarray:
    """Values times the ratio, and plus the offset, of the axis that each component of the last one lies on."""
    if not axes:
        return values
    factors, shifts = {"x": ratio[0], "y": ratio[1]}, {"x": offset[0], "y": offset[1]}
    values = np.asarray(values, ratio.dtype) * np.array([factors.get(axis, 1) for axis in axes], ratio.dtype)
    return values + np.array([shifts.get(axis, 0) for axis in axes], ratio.dtype) if any(offset) else values


def limits_of(axes: str, size: tuple[int, int], dtype: DTypeLike) -> np.ndarray:
    """Least and most of each component of the last axis: the borders of the image, no limits where it is no place."""
    borders = {"x": (0, size[1]), "y": (0, size[0])}
    return np.array([borders.get(axis, (-np.inf, np.inf)) for axis in axes], dtype).T


@register_output_field
class Boxes(OutputField):
    """Boxes of objects."""

    kind, name, shape, axes, is_clipped, bound = "boxes", "boxes", (4,), "xyxy", True, 0.05
    meaning = "x1, y1, x2, y2 in pixels of the image given, right and bottom exclusive; best first, then 0"

    def to_result(self, value: Any, classes: Any) -> dict:
        x1, y1, x2, y2 = np.asarray(value, np.float64).tolist()
        return {"bbox": [x1, y1, x2 - x1, y2 - y1]}


@register_output_field
class Windows(Boxes):
    """Boxes that masks cover and that may reach beyond the image; what is told of an object is the box of its mask."""

    kind, is_clipped = "windows", False

    def finish(self, values: Mapping[str, Any]) -> np.ndarray:
        boxes = masks.bounding_boxes(values["masks"])
        return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


@register_output_field
class Scores(OutputField):
    """How likely a detection is an object, or one of its class."""

    kind = name = "scores"
    meaning = "from 0 to 1; best first, then 0"

    def to_result(self, value: Any, classes: Any) -> dict:
        return {"score": float(value)}


@register_output_field
class Classes(OutputField):
    """The class of a detection, 0..K-1."""

    kind = name = "classes"
    dtype, padding, bound = "int32", -1, 0
    meaning = "number of the class in class_names; -1 past the last detection"

    def to_result(self, value: Any, classes: Any) -> dict:
        return {"category_id": plain(classes.category_ids[value]), "category": classes.class_names[value]}


@register_output_field
class Masks(OutputField):
    """The mask of a detection over its box, `[side, side]` probabilities; in the image itself a segment (`masks`)."""

    kind, name, bound = "masks", "masks", 1e-3
    drawing = "segments"
    note = "each with the best segments that do not overlap much"
    meaning = (
        "from 0 to 1 in each of the equal bins of its box, rows from the top; the box is the window that the mask"
        " covers, and may reach beyond the image"
    )

    def __init__(self, side=14):
        self.side, self.shape = side, (side, side)

    @property
    def arguments(self) -> Mapping:
        return {"side": self.side}

    def to_original(self, values: np.ndarray, place: Place) -> list[Any]:
        return masks.paste_all(values, place.boxes, *place.size)

    def to_result(self, value: Any, classes: Any) -> dict:
        return {"segmentation": value}


BOXES, SCORES, CLASSES, WINDOWS = Boxes(), Scores(), Classes(), Windows()
STANDARD = (BOXES, SCORES, CLASSES)  # of a detector with classes and nothing further
_OWN = ("boxes", "scores", "classes")


def further(fields: Iterable[OutputField]) -> tuple[OutputField, ...]:
    """Those of the fields that are neither box, score nor class."""
    return tuple(field for field in fields if field.name not in _OWN)


def showing(key: str) -> OutputField | None:
    """The field by which the objects of a data set show what their targets have under a key, made without arguments.

    That is the one of this kind, or else the first that lists the key among its `truths`; None if there is none.
    """
    known = _registered()
    if key in known:
        return known[key]()
    return next((field_type() for field_type in known if key in field_type.truths), None)


def truth_keys(fields: Iterable[OutputField]) -> tuple[str, ...]:
    """Keys of the targets of which some fields show the truth, each once."""
    return tuple(dict.fromkeys(key for field in fields for key in field.truths or (field.name,)))


def labels_of(found: Mapping[str, Any]) -> np.ndarray:
    """`[D]` int32 class of each row of the detections of an image: 0 where a model tells none apart."""
    return np.asarray(found["classes"]) if "classes" in found else np.zeros(len(found["scores"]), np.int32)


def in_original(
    found: Mapping[str, Any],
    rows: np.ndarray | slice,
    fields: Iterable[OutputField],
    size: Sequence[int],
    ratio: np.ndarray,
) -> dict[str, Any]:
    """`{field: n values}` of some rows of the detections of an image, in the image itself.

    Args:
        found: `{field: [D, *shape]}`.
        rows: which of them, n numbers or a slice.
        size: height and width of the image, pixels.
        ratio: see `Place`.
    """
    boxes = rescaled(np.asarray(found["boxes"])[rows], BOXES.axes, ratio)
    place = Place((int(size[0]), int(size[1])), ratio, boxes)
    present = [field for field in fields if field.name in found]
    values = {field.name: field.to_original(np.asarray(found[field.name])[rows], place) for field in present}
    return {field.name: field.finish(values) for field in present}


def of_truth(
    ground_truth: Mapping[str, np.ndarray], rows: np.ndarray, fields: Iterable[OutputField], place: Place
) -> dict[str, Any]:
    """`{field: n values}` of objects of the ground truth, of those fields that it tells; see `OutputField.of_truth`."""
    found = {field: field.of_truth(ground_truth, rows, place) for field in fields}
    values = {field.name: theirs for field, theirs in found.items() if theirs is not None}
    return {field.name: field.finish(values) for field in found if field.name in values}


def to_result(
    values: Mapping[str, Any], index: int, label: int, fields: Iterable[OutputField], classes: Any
) -> dict[str, Any]:
    """The COCO result of one detection, without its image: class, box, score, and what further fields add.

    Args:
        values: of `in_original`.
        index: of the detection among them.
        label: its class.
        classes: has `class_names` and `category_ids`.
    """
    result = CLASSES.to_result(label, classes)
    for field in fields:
        if field.name != CLASSES.name and field.name in values:
            result |= field.to_result(values[field.name][index], classes)
    return result


def rebuilt(outputs: Mapping[str, Mapping[str, Any]]) -> tuple[OutputField, ...]:
    """The fields that an exported detector's outputs describe, `{name: what describe gave}`, without the counts.

    A kind that nothing here registers gives a plain field, whose numbers are passed on as they are.
    """
    fields = []
    for name, told in outputs.items():
        if name == "num_detections":
            continue
        field = None
        if told.get("kind") in _registered():
            field = OUTPUT_FIELDS[told["kind"]](**told.get("arguments", {}))
        if field is None or field.name != name:
            field = _unknown(name, told)
        fields.append(field)
    return tuple(fields)


def _unknown(name, told):
    field = OutputField()
    field.name, field.kind, field.dtype = name, told.get("kind", ""), told["dtype"]
    field.shape, field.meaning = tuple(told["shape"][2:]), told.get("meaning", "")
    return field


def plain(value: Any) -> Any:
    """A Python number or string for a numpy one: JSON and dict keys want it."""
    return value.item() if hasattr(value, "item") else value
