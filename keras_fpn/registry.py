"""Parts of one kind, by name: those of the package, and those that an extension adds."""

from keras_fpn.errors import UserError
from keras_fpn.naming import nearest


class Registry:
    """Parts by name, in the order in which they were added.

    Args:
        kind: what the parts are, in words, such as "neck".
        key: the setting that chooses one, for errors, such as "pyramid.name".
    """

    def __init__(self, kind, key):
        self.kind, self.key = kind, key
        self._parts = {}

    def add(self, name, part):
        """Add a part; returns it.

        Raises:
            UserError: another part has the name. The same one may come again, as when a module is imported anew.
        """
        if name in self._parts and not _is_same(self._parts[name], part):
            raise UserError(f"{self.kind} {name!r}: there is one of this name already; choose another name")
        self._parts[name] = part
        return part

    def __getitem__(self, name):
        """The part of this name.

        Raises:
            UserError: there is none; names the nearest.
        """
        if name not in self._parts:
            raise UserError(f"{self.key}: unknown {self.kind} {name!r}{nearest(name, self._parts)}")
        return self._parts[name]

    def __contains__(self, name):
        return name in self._parts

    def __iter__(self):
        return iter(self._parts.values())

    def names(self):
        """The names, in the order in which they were added."""
        return list(self._parts)


def _is_same(part, other):
    """Whether two parts are one and the same, made again by a second import of its module."""
    return part is other or _origin(part) == _origin(other) != (None, None)


def _origin(part):
    return getattr(part, "__module__", None), getattr(part, "__qualname__", None)
