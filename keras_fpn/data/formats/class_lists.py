"""Files that list the classes of a data set, a name a line."""

from collections.abc import Iterable
from pathlib import Path

from keras_fpn.console.errors import UserError
from keras_fpn.data.formats.spelling import file_called
from keras_fpn.data.objects import short

NAMES = ("classes.txt", "labels.txt", "obj.names", "classes.names", "labelmap.txt")
_LABELMAP = "labelmap.txt"  # CVAT's: name:colour:parts:actions


def find_list(folders: Iterable[Path]) -> Path | None:
    """The list of classes in the first of some folders that has one."""
    return next((found for folder in folders if (found := file_called(folder, NAMES)) is not None), None)


def read_list(path: Path) -> list[str]:
    """The names in a list of classes, in its order.

    Raises:
        UserError: it cannot be read, has no name, or one twice.
    """
    names = [line.strip() for line in read_text(path).splitlines()]
    if path.name.lower() == _LABELMAP:
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
    """The content of a text file in UTF-8, or in UTF-16 with a mark of its byte order, as Windows' shell writes.

    Raises:
        UserError: it cannot be read, or is no such text.
    """
    try:
        content = path.read_bytes()
        return content.decode(encoding_of(content))
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file; check the path") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check it") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: no text in UTF-8 (byte {error.start}); write it as UTF-8") from None


def encoding_of(start: bytes) -> str:
    """The encoding of a text by its first bytes, a mark of their order: UTF-16, or else UTF-8."""
    return "utf-16" if start[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
