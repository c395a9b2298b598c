"""Pictures of what a check of the data found: the boxes that are meant, wherever they lie."""

import os
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageOps

from keras_fpn.console.errors import UserError
from keras_fpn.console.picture_files import opened_stream
from keras_fpn.data.checks.finding import Example
from keras_fpn.data.checks.picture_file import PictureFile
from keras_fpn.data.objects import is_number, shown
from keras_fpn.reporting.visualize import draw_boxes

_MOST = 3  # pictures of a finding
_LONG_SIDE = 900  # pixels of a picture on the page
_AROUND = 0.5  # of the image that is shown around it, for boxes outside
_SMALL = 0.08  # of the longer side of its image: below it a box is shown in a part of the image
_LEAST_PART = 96  # pixels
_FRAME = (150, 150, 150)
_COLOR, _OTHER_COLOR = (208, 30, 30), (0, 96, 170)


def offender_pictures(examples: Sequence[Example]) -> list[tuple[str, Image.Image]]:
    """[(caption, picture)] of the first few image files of a finding, boxes of one file together."""
    of_file: dict[PictureFile, list[Example]] = {}
    for example in examples:
        if example.file is not None:
            of_file.setdefault(example.file, []).append(example)
    pictures = []
    for file, of_one in list(of_file.items())[:_MOST]:
        pictures += _drawn(file, of_one)
        if of_one[0].other_file is not None and of_one[0].other_file != file:
            pictures += _drawn(of_one[0].other_file, [])
    return pictures


def _drawn(file: PictureFile, examples: Sequence[Example]) -> list[tuple[str, Image.Image]]:
    """The picture of a file and its caption; nothing of a file that cannot be read."""
    picture = _read(file, examples[0].size if examples else None)
    if picture is None:
        return []
    boxes = [
        (corners, label, color)
        for example in examples
        for box, label, color in ((example.other_box, "", _OTHER_COLOR), (example.box, _label(example), _COLOR))
        if (corners := _corners(box)) is not None
    ]
    caption = _caption(file, examples)
    if not boxes:
        if any(example.annotation_id is not None for example in examples):  # a box that nobody can draw
            return []
        if examples and examples[0].detail:
            caption = f"{caption}: {examples[0].detail}"
        picture.thumbnail((_LONG_SIDE, _LONG_SIDE))
        return [(caption, draw_boxes(picture, np.zeros((0, 4)), []))]
    corners, labels, colors = zip(*boxes, strict=True)
    picture, corners = _window(picture, np.array(corners))
    return [(caption, draw_boxes(picture, corners, labels, colors=colors))]


def _caption(file: PictureFile, examples: Sequence[Example]) -> str:
    """The file in its folder; of a picture in a TFRecord file, the name that it has in the annotations."""
    if file.place is not None and examples and examples[0].file_name is not None:
        return shown(examples[0].file_name)
    folder, name = os.path.split(file.path)
    return shown(f"{os.path.basename(folder)}/{name}")


def _label(example: Example) -> str:
    name = shown(example.class_name) if example.class_name else "no class"
    return f"{name}, annotation {example.annotation_id}"


def _read(file: PictureFile, size: tuple[int, int] | None) -> Image.Image | None:
    """The picture as its boxes were drawn: upright, unless the annotations have the size of the pixels as stored."""
    try:
        with file.open() as stream, opened_stream(stream, file.path) as image:
            upright = ImageOps.exif_transpose(image)
            is_stored = size is not None and size == image.size[::-1] and size != upright.size[::-1]
            return (image if is_stored else upright).convert("RGB")
    except (UserError, OSError, ValueError):
        return None


def _corners(box) -> np.ndarray | None:
    """x1, y1, x2, y2 of a box that can be drawn; sides below zero count from the other corner."""
    if not isinstance(box, list | tuple) or len(box) != 4 or not all(map(is_number, box)):
        return None
    try:
        x, y, width, height = map(float, box)
    except OverflowError:  # JSON has whole numbers that no float holds
        return None
    corners = np.array([min(x, x + width), min(y, y + height), max(x, x + width), max(y, y + height)])
    return corners if np.isfinite(corners).all() and (np.abs(corners) < 1e6).all() else None


def _window(picture: Image.Image, corners: np.ndarray) -> tuple[Image.Image, np.ndarray]:
    """The part of a picture in which some boxes are seen, at the size of the page, and the boxes in it.

    Boxes that reach out of it are seen in a grey frame, small ones from near.
    """
    width, height = picture.size
    low, high = corners[:, :2].min(0), corners[:, 2:].max(0)
    extent = (high - low).max()
    if extent < _SMALL * max(picture.size):
        around = max(4 * extent, _LEAST_PART / 2)
        ends = np.array([width, height])
        low, high = np.minimum(np.maximum(low - around, 0), low), np.maximum(np.minimum(high + around, ends), high)
    else:
        low, high = np.minimum(low, 0), np.maximum(high, [width, height])
    room = _AROUND * np.array([width, height])
    low = np.floor(np.clip(low, -room, [width, height])).astype(int)
    high = np.ceil(np.clip(high, 0, [width, height] + room)).astype(int)
    high = np.maximum(high, low + 1)
    part = Image.new("RGB", tuple((high - low).tolist()), _FRAME)
    part.paste(picture, tuple((-low).tolist()))
    factor = min(_LONG_SIDE / max(part.size), 1.0)
    if factor < 1:
        part = part.resize((max(round(part.width * factor), 1), max(round(part.height * factor), 1)))
    limits = np.tile(high - low, 2)
    moved = np.clip(corners - np.tile(low, 2), 0, limits - 1)
    return part, moved * factor
