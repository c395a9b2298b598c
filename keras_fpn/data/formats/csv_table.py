"""Tables of boxes: comma-separated values, a row an object."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from keras_fpn.console.errors import UserError
from keras_fpn.data.formats import csv_classes, half_names
from keras_fpn.data.formats.csv_classes import Classes
from keras_fpn.data.formats.csv_rows import Row, Table, has_pictures_named, read_head, read_table
from keras_fpn.data.formats.format import AnnotationFormat, Half
from keras_fpn.data.formats.gathering import ReadImage, gather
from keras_fpn.data.formats.picture_folders import PictureFolder, picture_size
from keras_fpn.data.listing import names_ending
from keras_fpn.data.objects import short, shown

ENDINGS = (".csv", ".tsv")
_DECIMALS = 10  # what float64 adds behind them when two numbers are subtracted is cut off
_LOOKED_FOR = 5  # pictures that tell which folder is meant


class CsvTable(AnnotationFormat):
    """Tables of boxes, by their headers: those of TensorFlow and Roboflow, Open Images, and whatever has a column of
    pictures, of classes and four that make a box; without a header those of RetinaNet and Google's AutoML.

    A table that says the half of each picture has several, "boxes.csv@train". Nearly every program writes tables, so
    that this comes after all formats that know some of them by a header of their own.
    """

    name, title = "csv", "CSV"
    layout = "train*.csv and val*.csv with columns filename, class, xmin, ymin, xmax, ymax"

    def find(self, folder: Path) -> dict[str, Half] | None:
        """See `AnnotationFormat`."""
        halves = half_names.folders_of_halves(folder)
        inside = {half: table for half, place in halves.items() if (table := _only_table(place)) is not None}
        if {"train", "val"} <= set(inside):
            return {half: Half(str(table), str(table.parent)) for half, table in inside.items()}
        for place in (folder, folder / "annotations", folder / "data"):
            found = _tables(place) if place.is_dir() else []
            if found:
                return _halves_of(folder, found)
        return None

    def find_named(self, name: str) -> dict[str, Half] | None:
        """See `AnnotationFormat`: a table."""
        path = Path(name)
        return _halves_of(path.parent, [path]) if path.suffix.lower() in ENDINGS and path.is_file() else None

    def recognises(self, annotations: str) -> bool:
        """See `AnnotationFormat`."""
        return Path(half_names.split(annotations, ENDINGS)[0]).suffix.lower() in ENDINGS

    def images_of(self, annotations: str) -> str | None:
        """See `AnnotationFormat`."""
        name, half = half_names.split(annotations, ENDINGS)
        if not Path(name).is_file():
            return None
        rows = [row for row in read_table(Path(name)).rows if half is None or row.half == half]
        return _image_folder(Path(name).parent, Path(name), half, rows)

    def check_there(self, annotations: str) -> None:
        """See `AnnotationFormat`."""
        super().check_there(half_names.split(annotations, ENDINGS)[0])

    def files(self, annotations: str) -> Iterable[Path]:
        """See `AnnotationFormat`."""
        path = Path(half_names.split(annotations, ENDINGS)[0])
        listed = csv_classes.find_list(path)
        return [path] if listed is None else [listed, path]

    def read(self, annotations: str, images: str) -> dict[str, Any]:
        """See `AnnotationFormat`."""
        self.check_there(annotations)
        name, half = half_names.split(annotations, ENDINGS)
        path = Path(name)
        table = read_table(path)
        classes = Classes(path, table)
        rows = _rows_of(path, table, half)
        pictures = PictureFolder(images)
        groups: dict[str, list[Row]] = {}
        for row in rows:
            groups.setdefault(row.file, []).append(row)
        read: dict[str, ReadImage] = {}
        for file, own in groups.items():
            image = _image(path, file, own, table, classes, pictures)
            if image.file_name in read:
                raise UserError(
                    f"{path}: line {own[0].line}: {short(file)} is {shown(image.file_name)} again, by another name;"
                    " write one name for a picture"
                )
            read[image.file_name] = image
        return gather(read.values(), classes.categories)


# ------------------------------------------------------------------------------------------------------ places


def _tables(place: Path) -> list[Path]:
    """The tables of boxes in a folder.

    Raises:
        UserError: there is one table alone, which names pictures, and no boxes that are clear.
    """
    names = [name for name in names_ending(place, *ENDINGS) if name.lower() not in csv_classes.NAMES]
    files = [place / name for name in names if (place / name).is_file()]
    return [each for each in files if _is_table(each, refuse=len(files) == 1)]


def _is_table(path: Path, refuse: bool) -> bool:
    try:
        read_head(path)
    except UserError:
        if refuse and has_pictures_named(path):
            raise
        return False
    return True


def _only_table(place: Path) -> Path | None:
    found = _tables(place)
    if len(found) > 1:
        raise UserError(f"{place}: has {' and '.join(each.name for each in found)}; name one in the config")
    return found[0] if found else None


def _halves_of(folder: Path, tables: list[Path]) -> dict[str, Half]:
    named: dict[str, Path] = {}
    for table in tables:
        half = _half_of_name(table)
        if half in named:
            raise UserError(f"{table.parent}: has {named[half].name} and {table.name}; name one in the config")
        if half is not None:
            named[half] = table
    if "train" in named:
        return {half: Half(str(named[half]), _folder_for(folder, named[half], half, read_table(named[half]).rows))
                for half in half_names.WORDS if half in named}  # fmt: skip
    if len(tables) > 1:
        raise UserError(f"{folder}: has {' and '.join(each.name for each in tables)}; name one in the config")
    table, rows = tables[0], read_table(tables[0]).rows
    halves = [half for half in half_names.WORDS if any(row.half == half for row in rows)]
    if not halves:
        return {"all": Half(str(table), _folder_for(folder, table, None, rows))}
    return {half: Half(f"{table}@{half}", _folder_for(folder, table, half, [row for row in rows if row.half == half]))
            for half in halves}  # fmt: skip


def _half_of_name(table: Path) -> str | None:
    return half_names.half_in(table.stem)


def _folder_for(folder: Path, table: Path, half: str | None, rows: list[Row]) -> str:
    found = _image_folder(folder, table, half, rows)
    if found is None:
        first = f", such as {short(rows[0].file)}" if rows else ""
        raise UserError(f"{table}: its pictures{first} are not in {folder}; name their folder in the config")
    return found


def _image_folder(folder: Path, table: Path, half: str | None, rows: list[Row]) -> str | None:
    """The first folder that has the pictures of the first rows."""
    files = list(dict.fromkeys(row.file for row in rows))[:_LOOKED_FOR]
    half = half or _half_of_name(table)
    words = half_names.WORDS.get(half, ()) if half else ()
    starts = dict.fromkeys((folder, table.parent, table.parent.parent))
    for start in list(starts)[:2]:
        places = [each / word for each in (start, start / "images") for word in words]
        for place in (*places, start / "images", start):
            if place.is_dir():
                pictures = PictureFolder(place)
                if pictures.names and all(pictures.find(file) is not None for file in files):
                    return str(place)
    return None


# ----------------------------------------------------------------------------------------------------- reading


def _rows_of(path: Path, table: Table, half: str | None) -> list[Row]:
    rows = table.rows
    of_file: dict[str, str | None] = {}
    for row in rows:
        if of_file.setdefault(row.file, row.half) != row.half:
            raise UserError(
                f"{path}: line {row.line}: {short(row.file)} is in {row.half} and in {of_file[row.file]}; name one half"
            )
    if half is not None:
        rows = [row for row in rows if row.half == half]
    if not rows:
        raise UserError(f"{path}: has no row{f' of {half}' if half else ''}; add some")
    return rows


def _image(path, file, rows, table, classes, pictures) -> ReadImage:
    found = pictures.find(file)
    name = file.replace("\\", "/") if found is None else found
    sizes = {row.size for row in rows if row.size is not None}
    if len(sizes) > 1:
        one, other = sorted(sizes)[:2]
        raise UserError(
            f"{path}: line {rows[0].line}: {shown(file)} has {one[0]} x {one[1]} pixels, and {other[0]} x {other[1]} in"
            " another row; correct them"
        )
    if sizes:
        width, height = sizes.pop()
    elif found is None:
        raise UserError(f"{path}: line {rows[0].line}: picture {short(file)} is not in {pictures.folder}; add it")
    else:
        width, height = picture_size(os.path.join(pictures.folder, found))[:2]
    objects = [
        {"category_id": classes.id_of(path, row.line, row.label), "bbox": _box(row, table, width, height),
         "iscrowd": row.is_crowd, **row.others}
        for row in rows if row.sides
    ]  # fmt: skip
    return ReadImage(name, width, height, objects)


def _box(row: Row, table: Table, width: int, height: int) -> list[float]:
    x, y, second_x, second_y = row.sides
    if "x1" in table.columns.place:
        second_x, second_y = second_x - x, second_y - y
    scale_x, scale_y = (width, height) if table.is_share else (1, 1)
    sides = ((x, scale_x), (y, scale_y), (second_x, scale_x), (second_y, scale_y))
    return [round(side * scale, _DECIMALS) for side, scale in sides]
