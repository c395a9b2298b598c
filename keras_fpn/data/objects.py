"""The objects of an annotation file, as per-object fields read them, and how a wrong one is told."""

import dataclasses
import math
import numbers
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from keras_fpn.console.errors import UserError

_DROP = '--set data.invalid_boxes=drop (from Python invalid_boxes="drop")'


@dataclass(frozen=True, eq=False)
class Objects:
    """The n objects of an annotation file that were found sound so far.

    Attributes:
        path: the annotation file.
        entries: n of its "annotations".
        images: n of its "images": the one that each object is on.
        category_ids: the ids of classes 0..K-1.
        drop_invalid: whether unsound objects are left out; they are refused otherwise.
        columns: `{name: [n, ...]}`, what fields have read before.
    """

    path: Path
    entries: Sequence[dict]
    images: Sequence[dict]
    category_ids: tuple[int, ...]
    drop_invalid: bool = False
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def sizes(self) -> np.ndarray:
        """`[n, 2]` int64 height and width of the image of each object, pixels."""
        return np.array([(image["height"], image["width"]) for image in self.images], np.int64).reshape(-1, 2)

    def name(self, index: int) -> str:
        """File, annotation and image of an object, for the start of an error."""
        image = self.images[index]
        name = f"{entry_name(self.entries[index], index)} of image {image['id']}"
        return f"{self.path}: {name} ({shown(image['file_name'])})"

    def numbers(
        self,
        key: str,
        dtype: str = "float32",
        shape: tuple[int, ...] = (),
        *,
        wanted: str | None = None,
        default: Any = None,
    ) -> np.ndarray:
        """`[n, *shape]`: what each annotation has under a key.

        Args:
            dtype: of the numbers; where it is of whole ones, they must be whole and within its range.
            shape: of one object; nested lists in the file.
            wanted: what to write there, for the error, such as "a whole number".
            default: taken where an annotation has no such key; None if there must be one.

        Raises:
            UserError: an annotation has something else; names the file and the annotation.
        """
        return read_numbers(self.path, self.entries, key, dtype, shape, wanted=wanted, default=default)

    def sound_or_refused(self, is_sound: np.ndarray, wrong: Callable[[int], str], mend: str) -> np.ndarray:
        """`is_sound` `[n]` bool where unsound objects are to be left out.

        Args:
            wrong: what is wrong with the object of an index, such as "its box is empty".
            mend: what to do about it, such as "correct it, or leave such objects out".

        Raises:
            UserError: an object is unsound and is not to be left out.
        """
        if not self.drop_invalid and not is_sound.all():
            first, more = int(np.argmin(is_sound)), int((~is_sound).sum()) - 1
            others = f" (and {more} more of {len(is_sound)} boxes)" if more else ""
            raise UserError(f"{self.name(first)}: {wrong(first)}{others}; {mend}: {_DROP}")
        return is_sound

    def with_column(self, name: str, column: np.ndarray, is_sound: np.ndarray) -> "Objects":
        """The sound ones of these objects, with one more column."""
        columns = {**self.columns, name: column}
        if is_sound.all():
            return dataclasses.replace(self, columns=columns)
        kept = np.flatnonzero(is_sound).tolist()
        return dataclasses.replace(
            self,
            entries=[self.entries[index] for index in kept],
            images=[self.images[index] for index in kept],
            columns={name: column[is_sound] for name, column in columns.items()},
        )


def read_numbers(
    path: str | os.PathLike,
    entries: Sequence[Mapping[str, Any]],
    key: str,
    dtype: str,
    shape: tuple[int, ...] = (),
    *,
    wanted: str | None = None,
    default: Any = None,
) -> np.ndarray:
    """`[n, *shape]`: what n annotations of a file have under a key; see `Objects.numbers`."""
    if not entries:
        return np.zeros((0, *shape), dtype)
    is_whole_number = np.dtype(dtype).kind in "iu"
    try:
        if default is None:
            column = np.array([entry[key] for entry in entries])
        else:
            column = np.array([entry.get(key, default) for entry in entries])
    except (KeyError, ValueError, OverflowError):
        column = np.zeros(0)
    kinds = "i" if is_whole_number else "if"
    if column.shape != (len(entries), *shape) or column.dtype.kind not in kinds or not _fits(column, dtype):
        _refuse_numbers(path, entries, key, dtype, shape, wanted, default)
    with np.errstate(over="ignore"):  # infinite then, and whoever asked looks for that
        return column.astype(dtype)


def _refuse_numbers(path, entries, key, dtype, shape, wanted, default):
    """Find the annotation that could not become a row of numbers, one by one, and name it."""
    is_value = is_whole if np.dtype(dtype).kind in "iu" else is_number
    for index, entry in enumerate(entries):
        value = entry.get(key, default)
        if not _is_of_shape(value, shape, is_value) or (is_value is is_whole and not _fits(np.array(value), dtype)):
            name, wanted = entry_name(entry, index), wanted or _wanted(dtype, shape)
            if is_value is is_whole and isinstance(value, str):
                raise UserError(f'{path}: {name} has the string {short(value)} as "{key}"; write {wanted}')
            raise UserError(f'{path}: {name} has "{key}" {short(value)}; write {wanted}')
        if is_value is is_number and not _is_of_shape(value, shape, _fits_float):
            raise UserError(f'{path}: {entry_name(entry, index)} has "{key}" {short(value)}; write {wanted}')
    raise UserError(f"{path}: the annotations are not all numbers; check them")


def _fits_float(value):
    """Whether a number fits a float: JSON has whole numbers of any length."""
    try:
        float(value)
    except OverflowError:
        return False
    return True


def _fits(column, dtype) -> bool:
    """Whether whole numbers are within the range of their type; of others any are."""
    if np.dtype(dtype).kind not in "iu" or column.dtype.kind not in "iu" or not column.size:
        return True
    limits = np.iinfo(dtype)
    return limits.min <= int(column.min()) and int(column.max()) <= limits.max


def _is_of_shape(value, shape, is_value) -> bool:
    if not shape:
        return is_value(value)
    is_row = isinstance(value, list) and len(value) == shape[0]
    return is_row and all(_is_of_shape(item, shape[1:], is_value) for item in value)


def _wanted(dtype, shape) -> str:
    is_whole_number = np.dtype(dtype).kind in "iu"
    if shape:
        return f"{' x '.join(map(str, shape))} {'whole ' if is_whole_number else ''}numbers"
    if not is_whole_number:
        return "a number"
    limits = np.iinfo(dtype)
    return f"a whole number from {limits.min} to {limits.max}"


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value of a JSON file, or a NumPy scalar, is a number; true and false are not."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def is_finite(value: object) -> TypeGuard[float]:
    """Whether a value of a JSON file, or a NumPy scalar, is a number, not NaN, that a float can hold."""
    return is_number(value) and _fits_float(value) and math.isfinite(value)


def is_whole(value: object) -> TypeGuard[int]:
    """Whether a value of a JSON file, or a NumPy scalar, is a whole number of 64 bits; true and false are not."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and abs(int(value)) < 2**63


def short(value: object, limit: int = 60) -> str:
    """A value for an error, cut to `limit` characters."""
    text = str(list(value)) if isinstance(value, tuple) else repr(value)
    return text if len(text) <= limit else text[: limit - 4] + " ..."


def shown(text: str) -> str:
    """A text of a file for an error: as it is, or, where it would upset a screen, with its odd characters escaped."""
    return text if text.isprintable() else repr(text)


def entry_name(entry: Mapping[str, Any], index: int) -> str:
    """An annotation for an error, by its id or, without one, by its place in the file."""
    number = entry.get("id", f"number {index}")
    return f"annotation {short(number) if not is_whole(number) and 'id' in entry else number}"
