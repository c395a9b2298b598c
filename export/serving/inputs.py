"""The two ways to ask a server for detections: with encoded images, or with pixels that the caller resized.

Both have `ask(client, files, threshold)`, one request for all of the files, one `ImageDetections` for each; and
`size_of(file)`: files may share a request that have the same.
"""

import dataclasses
import os
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_fpn.console.errors import UserError
from keras_fpn.data.sizes import padded_size
from keras_fpn.export import preprocessing
from keras_fpn.export.artefacts import highest_version
from keras_fpn.export.description import DESCRIPTION_FILE, Description
from keras_fpn.inference import images as image_files
from keras_fpn.parts.output_fields import STANDARD, further

if TYPE_CHECKING:
    from keras_fpn.export.serving.grpc import GrpcClient
    from keras_fpn.export.serving.rest import RestClient


class EncodedImages:
    """`serving_bytes`: files as they are; the server decodes and resizes.

    Args:
        classes: has `class_names` and `category_ids`.
        description: `Description` of the model that is served, or None.
    """

    def __init__(self, classes, description=None):
        self._described = None if description is None else description.of_encoded_images
        fields = STANDARD if description is None else self._described.output_fields
        self._classes = Classes(classes.class_names, classes.category_ids, fields)
        self._rule = None if description is None else description.resize

    def size_of(self, file: Path) -> Hashable:
        """Height and width in the batch; of a model that is not described, in the file."""
        try:
            return _size_in_batch(file, self._rule)
        except UserError:
            return file  # the server says what is wrong with it, and it alone is refused

    def ask(
        self, client: "RestClient | GrpcClient", files: Sequence[Path], threshold: float
    ) -> list[image_files.ImageDetections]:
        """`ImageDetections` of each file, without its pixels: they are not looked at here.

        What there is besides boxes, scores and classes is told of a model that is described only.
        """
        answer = client.predict("serving_bytes", {"image_bytes": [file.read_bytes() for file in files]})
        outputs = _arrays(answer, self._described)
        return [self._in_file(_of_image(outputs, index), file, threshold) for index, file in enumerate(files)]

    def _in_file(self, found, file, threshold):
        if not further(self._classes.output_fields):
            return image_files.above(found, None, str(file), threshold, self._classes)
        size = image_files.upright_size(file)  # the boxes are in these pixels already
        return image_files.in_original_pixels(found, None, str(file), size, threshold, self._classes, size)


class ResizedImages:
    """`serving_default`: pixels, brought to size here by the rule that the description gives.

    Args:
        description: `Description` of the model that is served.
        classes: has `class_names` and `category_ids`.
    """

    def __init__(self, description, classes):
        if description.needs_proposals:
            raise UserError(f"{description.title}: it needs proposals, which this client does not send")
        self._described, self._rule = description, description.resize
        self._classes = Classes(classes.class_names, classes.category_ids, description.output_fields)

    def size_of(self, file: Path) -> Hashable:
        """Height and width in the batch."""
        return _size_in_batch(file, self._rule)

    def ask(
        self, client: "RestClient | GrpcClient", files: Sequence[Path], threshold: float
    ) -> list[image_files.ImageDetections]:
        """`ImageDetections` of each file."""
        images = [image_files.read_image(file)[0] for file in files]
        inputs = preprocessing.batch(images, self._rule, "uint8")
        outputs = _arrays(client.predict("serving_default", inputs), self._described)
        return [
            image_files.in_original_pixels(
                _of_image(outputs, index),
                image,
                str(file),
                inputs["image_sizes"][index],
                threshold,
                self._classes,
            )
            for index, (image, file) in enumerate(zip(images, files, strict=True))
        ]


def _size_in_batch(file, rule):
    size = image_files.upright_size(file)
    return size if rule is None else padded_size(*size, rule)


def _of_image(outputs, index):
    return {name: value[index] for name, value in outputs.items()}


def _arrays(outputs, description):
    """Outputs of a prediction with their dtypes, which JSON does not keep."""
    missing = {"boxes", "scores", "num_detections"} - set(outputs)
    if missing:
        raise UserError(f"the model on the server gives no {', '.join(sorted(missing))}: keras-fpn did not export it")
    dtypes = {field.name: field.dtype for field in STANDARD} | {"num_detections": "int32"}
    if description is not None:
        dtypes |= {name: told["dtype"] for name, told in description.outputs.items()}
    return {name: np.asarray(value, dtypes.get(name)) for name, value in outputs.items()}


@dataclasses.dataclass(frozen=True)
class Classes:
    """Names and ids by the number of the class."""

    class_names: object
    category_ids: object
    output_fields: tuple = STANDARD


class _Numbered:
    """Names of classes that nobody named."""

    def __getitem__(self, label):
        return f"class {label}"


class _Named(tuple):
    """Names of the classes of one model; a class beyond them is of another."""

    source = None  # where the names are from

    def __getitem__(self, label):
        if label < len(self):
            return super().__getitem__(label)
        raise UserError(f"{self.source}: {len(self)} names, but the server found class {label}; give its model's own")


def _named(names, ids, source):
    names = _Named(names)
    names.source = source
    return Classes(names, ids)


def classes_of(description: Description | None, source: str | os.PathLike | None) -> Classes:
    """Names and ids of a description that was read from `source`; of None "class 0", "class 1" ..."""
    if description is None:
        return Classes(_Numbered(), range(1 << 31))
    return _named(description.class_names, description.category_ids, source)


def read_labels(path: str | os.PathLike) -> Classes:
    """Names from a file, one a line; the ids are the numbers of the classes.

    Raises:
        UserError: the file is not there, or is not text.
    """
    try:
        names = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as class names, one a line ({error})") from None
    return _named(names, range(len(names)), path)


def read_description(path: str | os.PathLike) -> Description:
    """The description in an exported folder, or in one of its versions.

    Raises:
        UserError: there is none.
    """
    folder = highest_version(path) if Path(path).is_dir() else None
    file = Path(folder or path) / "assets" / DESCRIPTION_FILE
    if not file.is_file():
        raise UserError(f"{path}: no exported folder (no {file}); give the one that keras-fpn export wrote")
    return Description.from_json(file.read_text(encoding="utf-8"), source=file)
