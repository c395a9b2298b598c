"""Classes of a table of boxes: of a file that lists them, or the names in the table and its sisters, in order."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from keras_fpn.console.errors import UserError
from keras_fpn.data.formats import class_lists, half_names
from keras_fpn.data.formats.csv_rows import Table, read_table
from keras_fpn.data.formats.spelling import file_called
from keras_fpn.data.objects import short

NAMES = ("classes.csv", "class_names.csv", "class-descriptions-boxable.csv", "class-descriptions.csv",
         "oidv7-class-descriptions-boxable.csv")  # fmt: skip
_HEADERS = ("labelname", "displayname", "class", "class_name", "name", "id", "class_id")


def find_list(table: Path) -> Path | None:
    """The file that lists the classes of a table: beside it, or in the folder above."""
    folders = (table.parent, table.parent.parent)
    found = (file_called(folder, NAMES) for folder in folders)
    return next((file for file in found if file is not None), None) or class_lists.find_list(folders[:1])


class Classes:
    """Classes of a table.

    Attributes:
        categories: entries with "id" and "name".
        source: the file that lists them, or the table.
    """

    def __init__(self, path: Path, table: Table):
        listed = find_list(path)
        self.source = listed or path
        self._ids: dict[str, int] = {}
        if listed is None:
            self._take(sorted(_all_labels(path, table), key=_number_first))
        elif listed.suffix.lower() == ".txt" or listed.suffix.lower() == ".names":
            self._take(class_lists.read_list(listed))
        else:
            self._take_pairs(listed)

    def id_of(self, path: Path, line: int, label: str) -> int:
        """The category id of a label.

        Raises:
            UserError: the list has no such class.
        """
        if label not in self._ids:
            raise UserError(
                f"{path}: line {line}: class {short(label)} is not in {self.source}; correct it, or add it there"
            )
        return self._ids[label]

    def _take(self, names):
        self.categories = [{"id": number, "name": name} for number, name in enumerate(names, 1)]
        self._ids = {name: number for number, name in enumerate(names, 1)}

    def _take_pairs(self, listed: Path) -> None:
        """A name and its number (RetinaNet), or a code and its name (Open Images), a row."""
        rows = [row for row in csv.reader(io.StringIO(class_lists.read_text(listed))) if any(row)]
        cells = [[cell.strip() for cell in row] for row in rows]
        if cells and all(cell.lower() in _HEADERS for cell in cells[0]):
            cells = cells[1:]
        if not cells or any(len(row) not in (1, 2) or not all(row) for row in cells):
            raise UserError(f"{listed}: no list of classes; write a name and its number a line, such as person,0")
        class_lists.check_twice(listed, (row[0] for row in cells))
        if len(cells[0]) == 1:
            self._take([row[0] for row in cells])
        elif all(len(row) == 2 and row[1].isdecimal() for row in cells):
            pairs = sorted((int(row[1]), row[0]) for row in cells)
            self.categories = [{"id": number, "name": name} for number, name in pairs]
            self._ids = {name: number for number, name in pairs}
            if len({number for number, _ in pairs}) < len(pairs):
                raise UserError(f"{listed}: a number is there twice; give each class a number of its own")
        else:
            self._take([row[-1] for row in cells])
            self._ids = {**self._ids, **{row[0]: number for number, row in enumerate(cells, 1)}}


def _number_first(label: str) -> tuple[bool, int, str]:
    """For the order of labels: 2 comes before 10."""
    return (not label.isdecimal(), int(label) if label.isdecimal() else 0, label)


def _all_labels(path: Path, table: Table) -> Iterable[str]:
    labels = {row.label for row in table.rows if row.label}
    for other in half_names.beside(path):
        if other != path:
            labels |= {row.label for row in read_table(other).rows if row.label}
    return labels
