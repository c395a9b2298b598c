"""`keras_fpn.detect` for an exported detector: image files in, detections in the files' own pixels out.

    from keras_fpn.export import artefact_inference, artefacts
    artefact = artefacts.open_artefact("detector.tflite")
    for found in artefact_inference.detect(artefact, ["street.jpg", "harbour.png"], threshold=0.5):
        print(found.file_name, found.names, found.scores, found.boxes)
"""

import dataclasses
import io
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from PIL import Image

from keras_fpn.console.errors import UserError
from keras_fpn.console.picture_files import MAX_PIXELS
from keras_fpn.data import sizes
from keras_fpn.export import preprocessing
from keras_fpn.inference.images import ImageDetections, as_list, in_order, in_original_pixels
from keras_fpn.inference.reading import Unreadable, check_options, read_batches

if TYPE_CHECKING:
    from keras_fpn.export.artefacts import Artefact


def detect(
    artefact: "Artefact", images: Any, threshold: float = 0.5, batch_size: int = 1, max_pixels: int = MAX_PIXELS
) -> list[ImageDetections]:
    """Find objects in one image or in many: see `keras_fpn.detect`.

    Args:
        artefact: what `open_artefact` gives.
    """
    return in_order(iterate(artefact, as_list(images), threshold, batch_size, max_pixels))


def iterate(
    artefact: "Artefact",
    images: Iterable[Any],
    threshold: float = 0.5,
    batch_size: int = 1,
    max_pixels: int = MAX_PIXELS,
    unreadable: Unreadable | None = None,
) -> Iterator[ImageDetections]:
    """`detect` for many images: yields as it goes; see `keras_fpn.inference.detecting.iterate`.

    Args:
        unreadable: see `read_batches`.

    Raises:
        UserError: see `keras_fpn.detect`; or the detector needs proposals.
    """
    check_options(threshold, batch_size, max_pixels)
    if artefact.description.needs_proposals:
        raise UserError(
            f"{artefact.path}: {artefact.description.title}: it needs proposals, which images alone do not give; export"
            " and detect with an RPN or a Faster R-CNN"
        )
    find = _find_by_files if _rounding_matters(artefact) else _find_by_pixels
    for some in read_batches(images, batch_size, _padded_size(artefact.description), max_pixels, unreadable):
        answers = find(artefact, [one.pixels for one in some])
        for one, (found, seen_size, description) in zip(some, answers, strict=True):
            seen = in_original_pixels(found, one.pixels, one.file_name, seen_size, threshold, description)
            yield dataclasses.replace(seen, index=one.index)


def _padded_size(description):
    """`padded_size(height, width)` of an image for this artefact."""
    if description.frame is not None:
        return lambda *_: description.frame
    return lambda *size: sizes.padded_size(*size, description.resize)


def _rounding_matters(artefact):
    """Whether the artefact resizes better than we can for it.

    "bilinear" yields fractions that an input of 8 bits cannot take: rounded, they move a box by 0.1 px and a score by
    0.005. The SavedModel's own resize, inside `serving_bytes`, keeps them. Pillow's filter yields 8 bits anyway.
    """
    rounds = artefact.description.resize["interpolation"] == "bilinear" and artefact.description.input_type == "uint8"
    return rounds and getattr(artefact, "takes_files", False)


# Each way to ask: `(detections, size that they were seen in, Description of them)` of each image.


def _find_by_pixels(artefact, images):
    inputs = preprocessing.prepare(images, artefact.description)
    return _each(artefact.run(**inputs), inputs["image_sizes"], artefact.description)


def _find_by_files(artefact, images):
    sizes = [image.shape[:2] for image in images]
    if sum(height * width for height, width in sizes) <= artefact.most_pixels:
        # PNG of the pixels, not the file: upright already, of any format, and decoded by one library only.
        found = artefact.run_encoded([_as_png(image) for image in images])
        return _each(found, sizes, artefact.description.of_encoded_images)
    if len(images) == 1:
        return _find_by_pixels(artefact, images)
    return [answer for image in images for answer in _find_by_files(artefact, [image])]


def _each(found, sizes, description):
    rows = ({name: value[index] for name, value in found.items()} for index in range(len(sizes)))
    return [(row, size, description) for row, size in zip(rows, sizes, strict=True)]


def _as_png(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "png", compress_level=1)
    return file.getvalue()
