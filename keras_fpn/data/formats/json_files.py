"""JSON files of a folder that may be annotations, told by how they begin: they can be large, and there can be many."""

import re
from pathlib import Path

from keras_fpn.data.listing import names_ending

MOST = 50  # of a folder: where there are more, each is of one picture
_HEAD = 2**16  # bytes


def json_files(folder: Path) -> list[Path]:
    """The JSON files that lie directly in a folder, by name; none where a file of each picture is there."""
    names = [name for name in names_ending(folder, ".json") if not name.startswith(".")]
    return [folder / name for name in names if (folder / name).is_file()] if len(names) <= MOST else []


def begins_as(file: Path, pattern: re.Pattern[bytes]) -> bool:
    """Whether the first bytes of a file match a pattern from the start; a mark of the byte order is passed over."""
    try:
        with open(file, "rb") as stream:
            return pattern.match(stream.read(_HEAD).removeprefix(b"\xef\xbb\xbf")) is not None
    except OSError:
        return False
