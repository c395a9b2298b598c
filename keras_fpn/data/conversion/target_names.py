"""Names of pictures where they are written: those that they had, changed where two would meet."""

import os

from keras_fpn.console.errors import UserError
from keras_fpn.data.formats.picture_folders import is_picture
from keras_fpn.data.objects import shown

_ENDINGS = {"JPEG": ".jpg", "MPO": ".jpg"}


class TargetNames:
    """Names that were given, each once.

    Args:
        by_stem: whether two that differ in their ending alone meet, too: where annotations have a file a picture.
        inside: a folder that all lie in, "" for none.

    Attributes:
        changed: how many are others than the pictures had.
    """

    def __init__(self, by_stem: bool, inside: str = ""):
        self.changed = 0
        self._by_stem, self._inside = by_stem, inside
        self._taken: set[str] = set()

    def take(self, name: str, format: str) -> str:
        """The name of a picture.

        Args:
            name: that it had, with slashes between folders.
            format: of the picture, for an ending where the name has none of a picture.

        Raises:
            UserError: nothing can be called so in a list of names.
        """
        if "\n" in name or "\r" in name:
            raise UserError(f"{shown(name)}: the name has a line break, which lists of names cannot have; rename it")
        wanted = self._plain(name, format) if self._by_stem else name
        start, ending = os.path.splitext(wanted)
        number = 1
        while self._key(wanted) in self._taken:
            number += 1
            wanted = f"{start}_{number}{ending}"
        self._taken.add(self._key(wanted))
        self.changed += wanted != name
        return f"{self._inside}/{wanted}" if self._inside else wanted

    def _key(self, name):
        return os.path.splitext(name)[0] if self._by_stem else name

    def _plain(self, name, format):
        """A name that readers of folders find: with the ending of a picture, and no dot before it or its folders."""
        if not is_picture(name):
            name += _ENDINGS.get(format, f".{format.lower()}")
        return "/".join(part.lstrip(".") or "_" for part in name.split("/"))
