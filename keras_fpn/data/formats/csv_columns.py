"""Columns of a table of boxes, known by their headers, or, of two forms without any, by their number and content."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from keras_fpn.console.errors import UserError
from keras_fpn.data.formats.picture_folders import is_picture

# What each column may be called, without capitals, spaces, hyphens and underscores; the first is for errors.
_CALLED = {
    "file": ("filename", "imagepath", "file", "path", "image", "imagename", "imageid", "img", "filepath", "imagefile"),
    "class": ("class", "classname", "label", "labelname", "category", "categoryname", "name", "classid", "labelid",
              "categoryid"),
    "x1": ("xmin", "x1", "left"),
    "y1": ("ymin", "y1", "top"),
    "x2": ("xmax", "x2", "right"),
    "y2": ("ymax", "y2", "bottom"),
    "x": ("x", "bboxx", "boxx"),
    "y": ("y", "bboxy", "boxy"),
    "w": ("w", "bboxw", "boxw", "bboxwidth", "boxwidth"),
    "h": ("h", "bboxh", "boxh", "bboxheight", "boxheight"),
    "width": ("width", "imagewidth", "imgwidth", "imgw", "imagew"),
    "height": ("height", "imageheight", "imgheight", "imgh", "imageh"),
    "crowd": ("iscrowd", "isgroupof", "difficult"),
    "half": ("set", "split", "subset", "usage", "partition"),
}  # fmt: skip
_CORNERS, _EXTENTS = ("x1", "y1", "x2", "y2"), ("x", "y", "w", "h")
_SETS = {"train": "train", "training": "train", "validation": "val", "validate": "val", "valid": "val", "val": "val",
         "test": "test", "testing": "test", "unassigned": "train"}  # fmt: skip
_NUMBER = re.compile(r"-?\d+([.,]\d*)?([eE][+-]?\d+)?")


class NoBoxes(UserError):
    """A table that has other columns than those of boxes."""


@dataclass(frozen=True)
class Columns:
    """Which column of a table is what.

    Attributes:
        place: column of each part, such as "file" or "x1", counted from 0.
        others: header of each further column, by its place.
        has_header: whether the first row is one.
        is_share: whether the boxes are shares of the picture by the definition of the form; None where numbers tell.
        headers: what the header calls each part.
    """

    place: Mapping[str, int]
    others: Mapping[int, str]
    has_header: bool = True
    is_share: bool | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def sides(self) -> tuple[str, ...]:
        """The four that make a box: two corners, or a corner, width and height."""
        return _CORNERS if "x1" in self.place else _EXTENTS


def columns_of(path: Path, rows: Sequence[Sequence[str]]) -> Columns:
    """The columns of a table.

    Args:
        rows: the first few.

    Raises:
        NoBoxes: it has no columns that make boxes, or two that could be the same; says which would do.
        UserError: it is empty.
    """
    if not rows:
        raise UserError(f"{path}: is empty; write a header with filename, class, xmin, ymin, xmax, ymax, and rows")
    first = [cell.strip() for cell in rows[0]]
    found = _automl(first) or _retinanet(rows)
    if found is not None:
        return found
    place, others = _named(path, first)
    has = [sides for sides in (_CORNERS, _EXTENTS) if set(sides) <= set(place)]
    missing = [part for part in ("file", "class") if part not in place]
    if missing or not has:
        what = ", ".join([*missing, *([] if has else ["a box"])])
        raise NoBoxes(
            f"{path}: the first row ({', '.join(first)}) has no column of {what}; write a header with filename, class,"
            " xmin, ymin, xmax, ymax, or x, y, w, h in place of the last four"
        )
    if len(has) == 2:
        raise NoBoxes(
            f"{path}: has xmin, ymin, xmax, ymax and x, y, w, h; remove the one or the other, so that it is clear which"
            " four make the box"
        )
    headers = {part: first[index] for part, index in place.items()}
    return Columns(place, others, True, True if "isgroupof" in map(_plain, first) else None, headers)


def names_pictures(header: Sequence[str]) -> bool:
    """Whether a header has a column of pictures."""
    return any(_plain(name) in _CALLED["file"] for name in header)


def half_in(cell: str) -> str | None:
    """The half that a cell of a column of halves means."""
    return _SETS.get(cell.strip().lower())


def _named(path, header) -> tuple[dict[str, int], dict[int, str]]:
    place: dict[str, int] = {}
    rank: dict[str, int] = {}
    others = {index: name for index, name in enumerate(header) if name}
    called = _called({_plain(name) for name in header})
    for index, name in enumerate(header):
        part = next((part for part, names in called.items() if _plain(name) in names), None)
        if part is None:
            continue
        number = called[part].index(_plain(name))
        if part in place and part not in ("file", "class", "crowd"):
            raise NoBoxes(f"{path}: the columns {header[place[part]]} and {name} could be the same; remove one")
        if part not in place or number < rank[part]:  # a name goes before a number
            place[part], rank[part] = index, number
    for index in place.values():
        others.pop(index, None)
    return place, others


def _called(header: set[str]) -> dict[str, tuple[str, ...]]:
    """The names of columns; beside x and y alone, width and height are those of the box."""
    if not {"x", "y"} <= header or {"w", "h"} & header or {"xmin", "x1", "left"} & header:
        return _CALLED
    sizes = {part: tuple(name for name in _CALLED[part] if name != part) for part in ("width", "height")}
    return {**_CALLED, **sizes, "w": (*_CALLED["w"], "width"), "h": (*_CALLED["h"], "height")}


def _plain(name: str) -> str:
    return re.sub(r"[\s_\-.]", "", name).lower()


def _automl(first) -> Columns | None:
    """`SET,path,label,x_min,y_min,,,x_max,y_max,,` of Google's AutoML and Vertex AI: shares."""
    if len(first) not in (10, 11) or not all(_is_number_or_nothing(cell) for cell in first[-8:]):
        return None
    skipped = len(first) - 10  # the column of halves may be left out
    if skipped and half_in(first[0]) is None and not is_picture(first[1]):  # a misspelt half is told with its line
        return None
    place = {part: skipped + index for part, index in
             (("file", 0), ("class", 1), ("x1", 2), ("y1", 3), ("x2", 6), ("y2", 7))}  # fmt: skip
    return Columns({"half": 0, **place} if skipped else place, {}, False, True)


def _retinanet(rows) -> Columns | None:
    """`path,x1,y1,x2,y2,class`; all but the path may be empty: a picture without an object."""
    if not rows or not all(len(row) == 6 and row[0].strip() for row in rows):
        return None
    if not all(_is_number_or_nothing(cell.strip()) for row in rows for cell in row[1:5]):
        return None
    parts = ("file", "x1", "y1", "x2", "y2", "class")
    return Columns({part: index for index, part in enumerate(parts)}, {}, False, False)


def _is_number_or_nothing(cell) -> bool:
    return not cell or _NUMBER.fullmatch(cell) is not None
