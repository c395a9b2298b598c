"""The classes that a detector tells apart: their names, and their ids in the numbering of the data set."""

import numbers
from collections.abc import Sequence
from dataclasses import dataclass

from keras_fpn.console.errors import UserError


@dataclass(frozen=True)
class Classes:
    """K classes; class k is called `class_names[k]` and has the id `category_ids[k]`."""

    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]

    def __len__(self):
        return len(self.class_names)


# Of a model that tells no classes apart: where results need one, everything is this.
OBJECT = Classes(("object",), (0,))


def numbered(
    num_classes: int, class_names: Sequence[str] | None = None, category_ids: Sequence[int] | None = None
) -> Classes:
    """K classes with the names and ids given, or "0".."K-1" and 1..K.

    Raises:
        UserError: they do not number K, a name is no text, or an id is no whole number or given twice.
    """
    names = _one_for_each("class_names", class_names, map(str, range(num_classes)), num_classes)
    ids = _one_for_each("category_ids", category_ids, range(1, num_classes + 1), num_classes)
    for name in names:
        if not isinstance(name, str) or not name:
            raise UserError(f"class_names: {name!r} is no name; give a text for each class")
    for number in ids:
        if not isinstance(number, numbers.Integral) or isinstance(number, bool) or ids.count(number) > 1:
            wrong = "given twice" if ids.count(number) > 1 else "no whole number"
            raise UserError(f"category_ids: {number!r} is {wrong}; give one whole number for each class")
    return Classes(names, tuple(map(int, ids)))


def _one_for_each(key, values, defaults, num_classes):
    values = tuple(defaults if values is None else values)
    if len(values) != num_classes:
        raise UserError(f"{key}: {len(values)} given for {num_classes} classes; give one for each class")
    return values
