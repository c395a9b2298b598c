"""Rows of a table of boxes, read by its columns."""

import csv
import io
import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from keras_fpn.console.errors import UserError
from keras_fpn.data.formats.class_lists import encoding_of, read_text
from keras_fpn.data.formats.csv_columns import Columns, columns_of, half_in, names_pictures
from keras_fpn.data.objects import short

_LOOKED_AT = 20  # rows that tell what the columns are
_DELIMITERS = ",;\t|"
_TRUE = ("1", "1.0", "true", "yes")
# Keys that mean something in COCO's form, which a column of that name may not.
_COCOS = {"id", "image_id", "category_id", "bbox", "area", "segmentation", "iscrowd", "keypoints"}
_MOST = 1.5  # a share of a picture may be a little above 1, for a box over the border


class Row(NamedTuple):
    """An object, or a picture without one.

    Attributes:
        line: in the file, counted from 1.
        file: the picture, as the table names it.
        half: "train", "val" or "test" where the table has a column of these.
        label: the class; "" where the row has no box.
        sides: the four numbers of its box; empty where it has none.
        size: width and height of the picture, pixels; None where the table has none.
        is_crowd: 0 or 1.
        others: what else the table says of it, by header.
    """

    line: int
    file: str
    half: str | None
    label: str
    sides: tuple[float, ...]
    size: tuple[int, int] | None
    is_crowd: int
    others: dict[str, Any]


class Table(NamedTuple):
    """Content of a file: its columns and rows, and whether the boxes are shares of the pictures."""

    columns: Columns
    rows: list[Row]
    is_share: bool


def read_head(path: Path) -> Columns:
    """The columns of a table, of which a few rows are read.

    Raises:
        UserError: see `columns_of`.
    """
    try:
        with open(path, "rb") as file:
            encoding = encoding_of(file.read(2))
        with open(path, encoding=encoding, newline="") as file:
            start = list(itertools.islice(file, _LOOKED_AT))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check it") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: no text in UTF-8 (byte {error.start}); write it as UTF-8") from None
    rows = [row for _, row in _cells(path, "".join(start))]
    return columns_of(path, rows)


def has_pictures_named(path: Path) -> bool:
    """Whether the first row of a table has a column of pictures."""
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as file:
        rows = [row for _, row in _cells(path, file.readline())]
    return bool(rows) and names_pictures(rows[0])


def read_table(path: Path) -> Table:
    """Read a table.

    Raises:
        UserError: it cannot be read, or a row is not what the columns promise; names the line.
    """
    cells = _cells(path, read_text(path))
    columns = columns_of(path, [row for _, row in cells[:_LOOKED_AT]])
    if columns.has_header:
        cells = cells[1:]
    place = dict(columns.place)
    if columns.has_header and "half" in place:
        if not any(half_in(row[place["half"]]) for _, row in cells if len(row) > place["half"]):
            del place["half"]  # a column of that name which says something else
    reader = _Reader(path, columns, place)
    rows = [reader.row(line, row) for line, row in cells]
    return Table(columns, rows, _are_shares(columns, rows))


def _cells(path: Path, text: str) -> list[tuple[int, list[str]]]:
    """(line, cells) of each row that is not empty."""
    said, _, rest = text.partition("\n")
    if said.strip().lower().startswith("sep="):  # a line for Excel
        text = f"\n{rest}"
    head = text.strip().partition("\n")[0]
    delimiter = max(_DELIMITERS, key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    try:
        return [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.line_num}: {error}; write it again") from None


class _Reader:
    def __init__(self, path, columns: Columns, place):
        self.path, self.columns, self.place = path, columns, place
        self.others = {index: name for index, name in columns.others.items() if name.lower() not in _COCOS}

    def row(self, line: int, cells: Sequence[str]) -> Row:
        """See `Row`."""
        if len(cells) <= self.place["file"] or not cells[self.place["file"]].strip():
            raise UserError(f"{self.path}: line {line}: names no picture; correct or remove the line")
        wanted = 1 + max(self.place[part] for part in ("file", "class", *self.columns.sides))
        if len(cells) < wanted:
            raise UserError(
                f"{self.path}: line {line}: has {len(cells)} cells of {wanted}, as if the file were cut off, or a"
                " quotation mark left open; correct the line (a picture without an object has empty cells)"
            )
        texts = [self._cell(cells, part) for part in self.columns.sides]
        sides = self._sides(line, texts) if any(texts) else ()
        label = self._cell(cells, "class") if sides else ""
        if sides and not label:
            raise UserError(f"{self.path}: line {line}: has a box and no class; write the name of the class")
        return Row(
            line=line,
            file=self._cell(cells, "file"),
            half=self._half(line, cells),
            label=label,
            sides=sides,
            size=self._size(line, cells),
            is_crowd=int(self._cell(cells, "crowd").lower() in _TRUE),
            others={name: _value(cells[index]) for index, name in self.others.items() if index < len(cells)},
        )

    def _half(self, line, cells) -> str | None:
        if "half" not in self.place:
            return None
        text = self._cell(cells, "half")
        half = half_in(text)
        if half is None:
            raise UserError(
                f"{self.path}: line {line}: is for {short(text)}, and other lines name halves; write train, val or test"
            )
        return half

    def _sides(self, line, texts) -> tuple[float, ...]:
        try:
            sides = tuple(map(float, texts))
            if math.isfinite(sum(sides)):
                return sides
        except ValueError:
            pass  # a decimal comma, or a word
        return tuple(self._number(line, part, text) for part, text in zip(self.columns.sides, texts, strict=True))

    def _cell(self, cells, part) -> str:
        index = self.place.get(part)
        return "" if index is None or index >= len(cells) else cells[index].strip()

    def _number(self, line, part, text) -> float:
        try:
            value = float(text.replace(",", "."))  # 12,5 where columns are parted by semicolons
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            called = self.columns.headers.get(part, part)
            raise UserError(f"{self.path}: line {line}: {called} is {short(text)}; write a number, or none of the four")
        return value

    def _size(self, line, cells) -> tuple[int, int] | None:
        texts = self._cell(cells, "width"), self._cell(cells, "height")
        if not all(texts):
            return None
        width, height = self._number(line, "width", texts[0]), self._number(line, "height", texts[1])
        return (int(width), int(height)) if width >= 1 and height >= 1 else None


def _value(cell: str) -> Any:
    """A cell as a number where it is one that JSON has."""
    for kind in (int, float):
        try:
            value = kind(cell)
        except ValueError:
            continue
        if kind is int or math.isfinite(value):
            return value
    return cell.strip()


def _are_shares(columns: Columns, rows: list[Row]) -> bool:
    """Whether boxes are shares of the picture: by the form, or because none of them has the extent of two pixels."""
    if columns.is_share is not None:
        return columns.is_share
    sides = [side for row in rows for side in row.sides]
    return bool(sides) and max(map(abs, sides)) <= _MOST and not all(side.is_integer() for side in sides)
