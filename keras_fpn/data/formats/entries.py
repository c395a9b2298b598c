"""Entries of a tool's file: what is wrong with one becomes one line that names it."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keras_fpn.console.errors import UserError
from keras_fpn.data.objects import short


@contextlib.contextmanager
def reading(source: str, entry: str) -> Iterator[None]:
    """Within this context a missing key or a value of a wrong kind becomes a `UserError` about the entry.

    Args:
        source: the file.
        entry: name of the entry, such as "region 3 of image 'a.jpg'".
    """
    try:
        yield
    except UserError:
        raise
    except KeyError as error:
        raise UserError(f'{source}: {entry} has no "{error.args[0]}"; add it, or remove the entry') from None
    except (TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        raise UserError(f"{source}: {entry} cannot be read ({error}); correct or remove it") from None


def read_json(path: str | Path) -> Any:
    """Content of a JSON file.

    Raises:
        UserError: there is none, or it is not whole.
    """
    try:
        return json.loads(Path(path).read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such annotation file; check the path") from None
    except OSError as error:
        raise UserError(f"{path}: cannot read the annotation file ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a whole JSON file ({error}); write or download it again") from None


def objects_of(value: Any, what: str) -> list[dict]:
    """A list whose items are JSON objects; None counts as an empty one.

    Raises:
        ValueError: it is something else.
    """
    items = [] if value is None else value
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise ValueError(f"{what} {short(value)} is no list of objects")
    return items


def text(value: Any, what: str) -> str:
    """A text that is not empty, without spaces around it.

    Raises:
        ValueError: it is something else.
    """
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{what} {short(value)} is no name")
    return value.strip()
