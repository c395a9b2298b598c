"""Description that an exported detector carries, the same in all three formats: JSON that needs no TensorFlow to read.

    SavedModel   <version>/assets/keras_fpn.json and labels.txt
    TFLite       files of these names in a zip archive at the end of the file, and an entry of the metadata table
    ONNX         `keras_fpn` and `labels` of the metadata properties
"""

import dataclasses
import json
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pydantic import ValidationError

from keras_fpn import __version__
from keras_fpn.console.errors import UserError
from keras_fpn.data.image_settings import PixelSettings, ResizeSettings
from keras_fpn.parts import output_fields
from keras_fpn.parts.output_fields import OutputField
from keras_fpn.parts.settings import first_problem

if TYPE_CHECKING:
    from keras_fpn.models.detector import Detector

FORMAT = "keras_fpn detector"  # tells our JSON from anybody else's
FORMAT_VERSION = 3
DESCRIPTION_FILE = "keras_fpn.json"
LABELS_FILE = "labels.txt"
PRECISIONS = {
    "saved_model": ("float32", "bfloat16"),
    "tflite": ("float32", "float16", "dynamic_int8", "int8"),
    "onnx": ("float32",),
}
INPUT_TYPES = ("uint8", "float32")
MAX_PROPOSALS = 1000  # rows of the proposals in a static input, the paper's number of them at test time

NORMALIZATION = (
    "inside the model: give RGB 0..255; it orders the channels as pixels.channel_order says, subtracts pixels.mean,"
    " divides by pixels.std and sets the padding to 0 after that"
)
RESIZE_RULE = (
    "bring the shorter side to resize.min_side, or less where the longer would pass resize.max_side; pad at the bottom"
    " and at the right with 0 to multiples of resize.size_divisor; boxes come back by the ratio of each axis"
)
LETTERBOX_RULE = (
    "scale = min(frame height / height, frame width / width); new side = side * scale, rounded as resize.rounding says"
    " (half_up: floor(x + 0.5), floor: floor(x)), at least 1 and at most the frame's; put it top left, pad at the"
    " bottom and at the right with 0; image_sizes = the new size; boxes come back by old side / new side of each axis"
)
INTERPOLATIONS = {
    "pillow": "Pillow's BILINEAR with its antialiasing, horizontally, then vertically, on 8 bits",
    "bilinear": "between the two nearest pixels each way, half-pixel centres, no antialiasing",
}


@dataclasses.dataclass(frozen=True)
class Description:
    """All that a program needs that has only the artefact.

    Attributes:
        architecture: name of the detector in a configuration, such as "faster_rcnn" or "rpn".
        title: the same for people.
        class_names, category_ids: of class 0, 1, ... K-1; ids in the numbering of the data set.
        resize: the model's own rule: min_side, max_side, rounding, interpolation, size_divisor.
        pixels: channel_order, mean and std of the normalisation that the model does inside.
        score_threshold: what scores this or less is dropped by the model.
        precision: of the weights and the arithmetic, one of `PRECISIONS`.
        input_type: dtype of `images`, "uint8" or "float32".
        frame: (height, width) of the only input that the artefact takes (images are letterboxed, see `letterbox`), or
            None where any size will do.
        inputs, outputs: `{name: {"dtype", "shape" (None: any), "meaning"}}`; of outputs also "kind" and "arguments" of
            their `OutputField`.
        versions: of keras_fpn, tensorflow and keras that wrote the artefact.
        letterbox: how an image goes into the frame, or by the rule `resize` where there is no frame, in words.
        normalization: what `pixels` is for, in words.
        max_pixels: of an encoded image that a SavedModel decodes; None in the other formats.
        encoded_outputs: of `serving_bytes`, those outputs that are not as in `outputs`, in the same form: brought into
            the image itself.
        sha256: of a TFLite or ONNX file, see `export.digest`; None in a SavedModel, which is a folder.
        format_version: of this description.
    """

    architecture: str
    title: str
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    resize: dict
    pixels: dict
    score_threshold: float
    precision: str
    input_type: str
    frame: tuple[int, int] | None
    inputs: dict
    outputs: dict
    versions: dict
    letterbox: str = ""
    normalization: str = NORMALIZATION
    max_pixels: int | None = None
    encoded_outputs: dict = dataclasses.field(default_factory=dict)
    sha256: str | None = None
    format_version: int = FORMAT_VERSION

    def to_json(self) -> str:
        """The description as JSON, one key a line."""
        return json.dumps({"format": FORMAT} | dataclasses.asdict(self), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, source: str | os.PathLike = "description") -> "Description":
        """Read what `to_json` wrote.

        Args:
            text: JSON.
            source: file that it comes from, for the error.

        Raises:
            UserError: it is something else, or of another version.
        """
        try:
            values = json.loads(text)
            if values.pop("format") != FORMAT:
                raise ValueError("another format")
            version = int(values["format_version"])
        except (ValueError, TypeError, KeyError, AttributeError):
            raise _not_ours(source) from None
        if version > FORMAT_VERSION:
            raise UserError(f"{source}: written by a newer keras_fpn (description {version}); upgrade with pip")
        if version < FORMAT_VERSION:
            raise UserError(f"{source}: written by an older keras_fpn (description {version}); export the model again")
        try:
            frame = values["frame"] and tuple(map(int, values["frame"]))
            names = tuple(map(str, values["class_names"]))
            ids = tuple(map(int, values["category_ids"]))
            description = cls(**values | {"frame": frame, "class_names": names, "category_ids": ids})
        except (TypeError, KeyError, ValueError):
            raise _not_ours(source) from None
        _check_values(description, source)
        return description

    @property
    def needs_proposals(self) -> bool:
        """Whether the artefact finds nothing by itself: proposals come with the images."""
        return "proposals" in self.inputs

    @property
    def output_fields(self) -> tuple[OutputField, ...]:
        """The `OutputField`s of the detections; plain ones where a kind comes from an extension that is not loaded."""
        return output_fields.rebuilt(self.outputs)

    @property
    def of_encoded_images(self) -> "Description":
        """The description of what a SavedModel answers to encoded images: `outputs` are those of `serving_bytes`."""
        return dataclasses.replace(self, outputs=self.outputs | self.encoded_outputs, encoded_outputs={})

    def labels(self) -> str:
        """The class names, one a line."""
        return "".join(f"{' '.join(name.split())}\n" for name in self.class_names)


def _check_values(description, source):
    """Refuse values that would fail far from here, or mean something else, when a picture is detected in."""
    try:
        ResizeSettings.model_validate(description.resize)
        PixelSettings.model_validate(description.pixels)
    except ValidationError as error:
        path, problem = first_problem(error)
        raise UserError(f"{source}: its description has {'.'.join(path)}: {problem}; export the model again") from None
    wrong = {
        "class_names": not description.class_names or len(description.class_names) != len(description.category_ids),
        "frame": description.frame is not None and (len(description.frame) != 2 or min(description.frame) < 1),
        "input_type": description.input_type not in INPUT_TYPES,
        "max_pixels": not isinstance(description.max_pixels, int | None) or description.max_pixels == 0,
        "score_threshold": not isinstance(description.score_threshold, int | float),
        "inputs": not _are_ends(description.inputs) or "images" not in description.inputs,
        "outputs": not _are_ends(description.outputs) or "scores" not in description.outputs,
        "encoded_outputs": not _are_ends(description.encoded_outputs)
        or not set(description.encoded_outputs) <= set(description.outputs),
    }
    for name, is_wrong in wrong.items():
        if is_wrong:
            raise UserError(f"{source}: its description has {name} that cannot be; export the model again")


def _are_ends(ends):
    """Whether a value is `{name: {"dtype": a word, "shape": a list of whole numbers and None, ...}}`."""
    return isinstance(ends, dict) and all(
        isinstance(one, dict)
        and isinstance(one.get("dtype"), str)
        and isinstance(one.get("shape"), list | tuple)
        and all(side is None or (isinstance(side, int) and side > 0) for side in one["shape"])
        for one in ends.values()
    )


def _not_ours(source):
    return UserError(f"{source}: no detector that keras-fpn exported (no description inside); export the model again")


def default_input_type(model: "Detector") -> str:
    """dtype that the model's own resize rule yields: "uint8" of Pillow's filter, else "float32"."""
    return "uint8" if model.settings["resize"]["interpolation"] == "pillow" else "float32"


def describe(
    model: "Detector",
    *,
    precision: str = "float32",
    input_type: str | None = None,
    frame: tuple[int, int] | None = None,
    max_proposals: int = MAX_PROPOSALS,
    max_pixels: int | None = None,
    placed: Iterable[str] = (),
) -> Description:
    """The description of an artefact of a `Detector`.

    Args:
        model: a `FasterRCNN`, `RPN` ...
        precision: of the artefact.
        input_type: "uint8" or "float32"; None: see `default_input_type`.
        frame: (height, width) of a static input, pixels; None where the artefact takes any size.
        max_proposals: with a frame, rows of the proposals that a `FastRCNN` is given.
        max_pixels: of an encoded image, where the artefact decodes such.
        placed: names of the output fields that it then gives in the image itself.
    """
    import keras
    import tensorflow as tf

    input_type = input_type or default_input_type(model)
    frame = frame and (int(frame[0]), int(frame[1]))
    rule = RESIZE_RULE if frame is None else LETTERBOX_RULE
    return Description(
        architecture=model.architecture,  # type: ignore[arg-type]
        title=model.title,
        class_names=tuple(map(str, model.class_names)),
        category_ids=tuple(map(int, model.category_ids)),
        resize=_plain(model.settings["resize"]),
        pixels=_plain(model.settings["pixels"]),
        score_threshold=float(model.score_threshold),
        precision=precision,
        input_type=input_type,
        frame=frame,
        inputs=_inputs(input_type, frame)
        | (_given_proposals(frame, max_proposals) if "proposals" in model.further_inputs else {}),
        outputs=_outputs(model, frame),
        versions={"keras_fpn": __version__, "tensorflow": tf.__version__, "keras": keras.__version__},
        max_pixels=max_pixels,
        encoded_outputs=_placed_outputs(model, placed),
        letterbox=f"{rule}; filter: {INTERPOLATIONS[model.settings['resize']['interpolation']]}",
    )


def _plain(settings):
    """Settings as JSON gives them back: lists for tuples, dicts for mappings."""
    return json.loads(json.dumps(dict(settings)))


def _inputs(input_type, frame):
    batch, height, width = (None, None, None) if frame is None else (1, *frame)
    return {
        "images": {
            "dtype": input_type,
            "shape": [batch, height, width, 3],
            "meaning": "RGB 0..255, padded with 0 at the bottom and at the right",
        },
        "image_sizes": {
            "dtype": "int32",
            "shape": [batch, 2],
            "meaning": "height and width of the part of each image that is no padding, pixels"
            + ("" if frame is None else "; 0, 0, as of an input that was never set: the whole image"),
        },
    }


def _given_proposals(frame, max_proposals):
    batch, rows = (None, None) if frame is None else (1, max_proposals)
    return {
        "proposals": {
            "dtype": "float32",
            "shape": [batch, rows, 4],
            "meaning": "boxes that may hold an object: x1, y1, x2, y2 in pixels of the image given; then 0",
        },
        "num_proposals": {"dtype": "int32", "shape": [batch], "meaning": "how many of the rows are proposals"},
    }


def _outputs(model, frame):
    batch = None if frame is None else 1
    outputs = {field.name: field.describe((batch, model.max_detections)) for field in model.output_fields}
    meaning = "how many of the rows are detections"
    return outputs | {"num_detections": {"dtype": "int32", "shape": [batch], "meaning": meaning}}


def _placed_outputs(model, names):
    """Their rows are not told: as many as the image with the most detections has."""
    fields = {field.name: field for field in model.output_fields}
    return {name: fields[name].placed().describe((None, None)) for name in names}
