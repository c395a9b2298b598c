"""Sheets of annotated pictures: each with its boxes and names in a cell of one size, its file and what it holds below.

A picture is brought to its cell before it is drawn on, so that names are as large on one of 4000 pixels as on one of
64. Where it is narrow it lies on paper that has room for its labels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from keras_fpn.parts.output_fields import STANDARD, OutputField
from keras_fpn.reporting.lettering import fitted, fitted_end, lettered
from keras_fpn.reporting.visualize import class_color, draw_ground_truth, to_picture

CELL = 640  # px: longer side of a picture
COLUMNS = 4
_LEAST = 300  # px: shorter side of the paper that a picture lies on
_GAP = 14
_TEXT, _HEAD = 18, 26  # px: sizes of letters
_INK, _FAINT, _PAPER, _BACK, _EDGE = (40, 40, 40), (110, 110, 110), "white", (236, 238, 240), (190, 190, 190)
_LABEL_SHARE = 0.25  # of a picture: more labels hide what they name
_LONGEST_NAME = 25  # letters of a label
_NAMED = 12  # classes with a bar of their own


@dataclass(frozen=True)
class Tile:
    """A picture of a sheet.

    Attributes:
        image: array `[H, W, 3]` of 0..255, or a PIL image.
        ground_truth: of `visualize.draw_ground_truth`, in pixels of the image.
        name: of its file.
        note: what is said of it, a short line.
    """

    image: Any
    ground_truth: Mapping[str, Any]
    name: str
    note: str


@dataclass(frozen=True)
class Group:
    """Pictures that stand together under a line, such as a batch."""

    heading: str
    tiles: Sequence[Tile]


@dataclass(frozen=True)
class Counts:
    """Numbers of a whole data set, for the panel of a sheet.

    Attributes:
        lines: texts.
        objects: `{class name: how many objects}`.
    """

    lines: Sequence[str]
    objects: Mapping[str, int] = field(default_factory=dict)


def sheet(
    title: str,
    groups: Sequence[Group],
    class_names: Sequence[str],
    fields: Sequence[OutputField] = STANDARD,
    counts: Counts | None = None,
) -> Image.Image:
    """Groups of pictures under each other, at most four in a row, on white.

    Args:
        title: a line above all.
        class_names: of the classes in the ground truth.
        fields: `OutputField`s of which the ground truth is drawn, too.
        counts: of the data set; they stand below the title.
    """
    drawn = [[_cell(tile, class_names, fields) for tile in group.tiles] for group in groups]
    columns = min(COLUMNS, max(len(cells) for cells in drawn))
    width = columns * (CELL + _GAP) + _GAP
    strips = [_line(title, width, _HEAD, _INK)]
    strips += [_panel(counts, class_names, width)] if counts else []
    for group, cells in zip(groups, drawn, strict=True):
        strips.append(_line(group.heading, width, _HEAD, _INK))
        strips += [_row(cells[start : start + columns], width) for start in range(0, len(cells), columns)]
    return _stacked(strips, width)


def _stacked(strips, width):
    whole = Image.new("RGB", (width, sum(strip.height for strip in strips) + _GAP), _PAPER)
    top = 0
    for strip in strips:
        whole.paste(strip, (0, top))
        top += strip.height
    return whole


def _row(cells, width):
    """Cells beside each other, each in the middle of its place."""
    row = Image.new("RGB", (width, max(cell.height for cell in cells) + _GAP), _PAPER)
    for index, cell in enumerate(cells):
        row.paste(cell, (_GAP + index * (CELL + _GAP) + (CELL - cell.width) // 2, 0))
    return row


def _line(text, width, size, ink):
    """A line of text over the whole width."""
    line = Image.new("RGB", (width, size + 2 * _GAP), _PAPER)
    text, font = lettered(text, size)
    ImageDraw.Draw(line).text((_GAP, _GAP - 2), fitted(text, font, width - 2 * _GAP), fill=ink, font=font)
    return line


def _cell(tile, class_names, fields):
    """The picture of a tile with its boxes, and two lines below."""
    picture, ratio, offset = _on_paper(to_picture(tile.image))
    names = [_short(name) for name in class_names]
    options = {"ratio": ratio, "offset": offset, "long_side": 1, "label_share": _LABEL_SHARE}
    drawn = draw_ground_truth(picture, tile.ground_truth, names, fields, **options)
    cell = Image.new("RGB", (CELL, drawn.height + 2 * (_TEXT + 6)), _PAPER)
    cell.paste(drawn, ((CELL - drawn.width) // 2, 0))
    draw = ImageDraw.Draw(cell)
    for line, ink, top in ((tile.name, _INK, 3), (tile.note, _FAINT, _TEXT + 7)):
        text, font = lettered(line, _TEXT)
        draw.text((2, drawn.height + top), fitted_end(text, font, CELL - 4), fill=ink, font=font)
    return cell


def _short(name):
    """A name cut in the middle: beginnings and ends tell classes apart."""
    half = (_LONGEST_NAME - 3) // 2
    return name if len(name) <= _LONGEST_NAME else f"{name[:half]}...{name[-half:]}"


def _on_paper(picture):
    """The picture with its longer side as a cell's; its ratio to what it was, and where it begins on the paper."""
    scale = CELL / max(picture.size)
    size = tuple(max(1, round(side * scale)) for side in picture.size)
    resized = picture.resize(size, Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.BOX)
    frame = tuple(max(side, _LEAST) for side in size)
    left, top = ((room - side) // 2 for room, side in zip(frame, size, strict=True))
    paper = Image.new("RGB", frame, _BACK)
    paper.paste(resized, (left, top))
    ImageDraw.Draw(paper).rectangle((left, top, left + size[0] - 1, top + size[1] - 1), outline=_EDGE)
    return paper, np.array(size) / picture.size, (left, top)


# ------------------------------------------------------------------------------------------------------ numbers


def _panel(counts, class_names, width):
    """Lines on the left, a bar for each of the most frequent classes on the right."""
    bars, left = _bars(counts.objects, class_names, width // 2), width - width // 2
    height = max(len(counts.lines) * (_TEXT + 8), bars.height)
    panel = Image.new("RGB", (width, height + _GAP), _PAPER)
    draw = ImageDraw.Draw(panel)
    for index, line in enumerate(counts.lines):
        text, font = lettered(line, _TEXT)
        draw.text((_GAP, index * (_TEXT + 8)), fitted(text, font, left - 2 * _GAP), fill=_INK, font=font)
    panel.paste(bars, (left, 0))
    return panel


def _bars(objects, class_names, width):
    """Bars of the classes with the most objects, and a line about the others."""
    order = sorted(objects, key=lambda name: -objects[name])
    shown, others, line = order[:_NAMED], order[_NAMED:], _TEXT + 8
    picture = Image.new("RGB", (width, (len(shown) + bool(others)) * line), _PAPER)
    draw, most = ImageDraw.Draw(picture), max([1, *objects.values()])
    longest = max((font.getlength(text) for text, font in (lettered(name, _TEXT) for name in shown)), default=0)
    names = min(width * 2 // 5, round(longest) + 12)
    room = width - names - 4 * _TEXT - _GAP
    for index, name in enumerate(shown):
        top, length = index * line, max(1, round(room * objects[name] / most))
        text, font = lettered(name, _TEXT)
        draw.text((0, top), fitted(text, font, names - 8), fill=_INK, font=font)
        draw.rectangle((names, top + 2, names + length, top + _TEXT), fill=class_color(class_names.index(name)))
        number, font = lettered(f"{objects[name]:,}", _TEXT)
        draw.text((names + length + 8, top), number, fill=_INK, font=font)
    if others:
        rest = f"and {len(others)} more classes, {objects[others[0]]:,} objects and fewer of each"
        rest, font = lettered(rest, _TEXT)
        draw.text((0, len(shown) * line), fitted(rest, font, width - _GAP), fill=_FAINT, font=font)
    return picture
