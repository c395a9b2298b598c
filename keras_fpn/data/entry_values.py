"""Values that programs write in another type than COCO's, read where what they mean is clear.

Ids come as "17" or 17.0, "iscrowd" as null, true or 1.0. An entry that has such a value is copied; one that has none is
taken as it is.
"""

import math
import re
from collections.abc import Sequence
from typing import Any

from keras_fpn.console.errors import UserError
from keras_fpn.data.objects import entry_name, is_number, short

_WHOLE = re.compile(r"\s*(-?[0-9]{1,19})(?:\.0*)?\s*", re.ASCII)


def as_whole(value: Any) -> Any:
    """An id as a whole number where it is one in another form: "17", 17.0. Any other value as it is."""
    if isinstance(value, str):
        found = _WHOLE.fullmatch(value)
        return int(found[1]) if found else value
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
        return int(value)
    return value


def with_whole_ids(entries: Sequence[dict], keys: Sequence[str]) -> list[dict]:
    """The entries with what they have under `keys` as whole numbers, see `as_whole`."""
    return [_with_whole(entry, keys) for entry in entries]


def _with_whole(entry, keys):
    changed = {}
    for key in keys:
        value = entry.get(key)
        if type(value) is not int and isinstance(value, str | float):
            whole = as_whole(value)
            if whole is not value:
                changed[key] = whole
    return {**entry, **changed} if changed else entry


def with_plain_crowds(source: str, entries: Sequence[dict]) -> list[dict]:
    """The entries with "iscrowd" as 0 or 1, or absent.

    Raises:
        UserError: it is something else than null, true, false, 0 or 1.
    """
    return [_with_plain_crowd(source, index, entry) for index, entry in enumerate(entries)]


def _with_plain_crowd(source, index, entry):
    value = entry.get("iscrowd", 0)
    if type(value) is int and (value == 0 or value == 1):
        return entry
    plain = as_plain_crowd(value)
    if plain is None:
        raise UserError(f'{source}: {entry_name(entry, index)} has "iscrowd" {short(value)}; write 0 or 1')
    return {**entry, "iscrowd": plain}


def as_plain_crowd(value: Any) -> int | None:
    """0 or 1 of an "iscrowd" that is null, true, false, or either as a number; None of anything else."""
    if value is None:
        return 0
    return int(value) if isinstance(value, bool | int | float) and value in (0, 1) else None


def text_of(name: Any) -> str:
    """A name as text: one that is a number is written out; "" where it is neither."""
    if isinstance(name, str):
        return name.strip()
    if not is_number(name):
        return ""
    return str(name) if isinstance(name, int) or math.isfinite(name) else ""
