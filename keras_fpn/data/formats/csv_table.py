"""Tables of boxes: comma-separated values, a row an object."""

import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from keras_fpn.console.errors import UserError
from keras_fpn.data.formats import csv_classes, half_names
from keras_fpn.data.formats.csv_classes import Classes
from keras_fpn.data.formats.csv_columns import NoBoxes
from keras_fpn.data.formats.csv_rows import Row, Table, has_pictures_named, read_head, read_table
from keras_fpn.data.formats.format import AnnotationFormat, Half
from keras_fpn.data.formats.gathering import ReadImage, gather
from keras_fpn.data.formats.picture_folders import PictureFolder, picture_size
from keras_fpn.data.formats.spelling import files_ending
from keras_fpn.data.objects import short, shown

log = logging.getLogger(__name__)

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
        if "train" in inside:
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
        if half_names.half_in(Path(images).name) or half_names.beside(path) == [path]:
            _tell_of_others(path, table, pictures)
        return gather(read.values(), classes.categories)


# ------------------------------------------------------------------------------------------------------ places


def _tables(place: Path) -> list[Path]:
    """The tables of boxes in a folder.

    Raises:
        UserError: one that is called as a half is cannot be read; or there is one table alone, which names pictures,
            and no boxes that are clear.
    """
    files = sorted(file for ending in ENDINGS for file in files_ending(place, ending))
    files = [each for each in files if each.name.lower() not in csv_classes.NAMES]
    faults = {file: fault for file in files if (fault := _fault(file)) is not None}
    for file, fault in faults.items():
        if _half_of_name(file) and not isinstance(fault, NoBoxes):
            raise fault
    for file, fault in faults.items():
        if len(files) == 1 and has_pictures_named(file):
            raise fault
    return [file for file in files if file not in faults]


def _fault(path: Path) -> UserError | None:
    try:
        read_head(path)
    except UserError as error:
        return error
    return None


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
    """The first folder that has the pictures of the first rows, or else the one that has most of them."""
    files = list(dict.fromkeys(row.file for row in rows))[:_LOOKED_FOR]
    half = half or _half_of_name(table)
    words = half_names.WORDS.get(half, ()) if half else ()
    starts = dict.fromkeys((folder, table.parent, table.parent.parent))
    there: dict[Path, int] = {}  # how many of the pictures are in a place
    for start in list(starts)[:2]:
        places = [each / word for each in (start, start / "images") for word in words]
        for place in (*places, start / "images", start):
            if place.is_dir():
                pictures = PictureFolder(place)
                there[place] = sum(pictures.find(file) is not None for file in files) if pictures.names else 0
                if pictures.names and there[place] == len(files):
                    return str(place)
    best = max(there, key=there.__getitem__, default=None)
    return str(best) if best is not None and there[best] else None


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


def _tell_of_others(path: Path, table: Table, pictures: PictureFolder) -> None:
    """A line about the pictures that no row of any half names, in a folder that no other table is about."""
    named = {pictures.find(file) for file in {row.file for row in table.rows}}
    left_out = [name for name in pictures.names if name not in named]
    if left_out:
        log.warning(
            "%s: %d of the %d pictures in %s are in no row and are left out, first %s; those without objects need a row"
            " with empty cells",
            path, len(left_out), len(pictures.names), pictures.folder, shown(left_out[0]),
        )  # fmt: skip


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
