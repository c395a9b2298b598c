"""Files that list the classes of a data set, a name a line."""

from collections.abc import Iterable
from pathlib import Path

from keras_fpn.console.errors import UserError
from keras_fpn.data.objects import short

NAMES = ("classes.txt", "labels.txt", "obj.names", "classes.names", "labelmap.txt")
_LABELMAP = "labelmap.txt"  # CVAT's: name:colour:parts:actions


def find_list(folders: Iterable[Path]) -> Path | None:
    """The list of classes in the first of some folders that has one."""
    places = (folder / name for folder in folders for name in NAMES)
    return next((place for place in places if place.is_file()), None)


def read_list(path: Path) -> list[str]:
    """The names in a list of classes, in its order.

    Raises:
        UserError: it cannot be read, has no name, or one twice.
    """
    names = [line.strip() for line in read_text(path).splitlines()]
    if path.name == _LABELMAP:
        names = [name.partition(":")[0].strip() for name in names if not name.startswith("#")]
        names = [name for name in names if name.lower() != "background"]
    names = [name for name in names if name]
    if not names:
        raise UserError(f"{path}: has no name of a class; write one a line")
    check_twice(path, names)
    return names


def check_twice(path: Path, names: Iterable[str]) -> None:
    """Refuse a list that has a name twice.

    Raises:
        UserError: it has.
    """
    seen = set()
    for name in names:
        if name in seen:
            raise UserError(f"{path}: class {short(name)} is there twice; remove one, or rename it")
        seen.add(name)


def read_text(path: Path) -> str:
    """The content of a text file in UTF-8, without a mark of its byte order.

    Raises:
        UserError: it cannot be read, or is no such text.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file; check the path") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check it") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: no text in UTF-8 (byte {error.start}); write it as UTF-8") from None
