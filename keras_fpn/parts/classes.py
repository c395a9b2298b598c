"""The classes that a detector tells apart: their names, and their ids in the numbering of the data set."""

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
        UserError: they do not number K.
    """
    names = _one_for_each("class_names", class_names, map(str, range(num_classes)), num_classes)
    return Classes(names, _one_for_each("category_ids", category_ids, range(1, num_classes + 1), num_classes))


def _one_for_each(key, values, defaults, num_classes):
    values = tuple(defaults if values is None else values)
    if len(values) != num_classes:
        raise UserError(f"{key}: {len(values)} given for {num_classes} classes; give one for each class")
    return values
