"""Parts of one kind, by name: those of the package, and those that an extension adds."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from keras_fpn.console.errors import UserError
from keras_fpn.console.naming import nearest
from keras_fpn.parts import extensions

_Part = TypeVar("_Part")


@dataclass(frozen=True)
class Part:
    """Part that a name in a configuration stands for.

    Attributes:
        name: in a configuration.
        settings: the `Settings` of its group, readable without what builds it.
        target: what builds it, or "module:name" of that, imported when it is asked for.
        arguments: further ones of the target, that are not settings.
        facts: what others must know of it before it is built, by name.
    """

    name: str
    settings: type
    target: Callable | str
    arguments: Mapping = field(default_factory=dict)
    facts: Mapping = field(default_factory=dict)

    def load(self) -> Callable:
        """Builder of the part."""
        if not isinstance(self.target, str):
            return self.target
        module, name = self.target.split(":")
        return getattr(importlib.import_module(module), name)

    def build(self, *given: Any, **options: Any) -> Any:
        """Call what builds the part with its own arguments and those given."""
        return self.load()(*given, **self.arguments, **options)

    @property
    def origin(self) -> str:
        """Module that the part comes from."""
        return self.target.split(":")[0] if isinstance(self.target, str) else self.target.__module__


class Registry:
    """Parts by name, in the order in which they were added.

    Args:
        kind: what the parts are, in words, such as "neck".
        key: the setting that chooses one, for errors, such as "pyramid.name".
    """

    def __init__(self, kind, key):
        self.kind, self.key = kind, key
        self._parts = {}
        self._families = {}

    def add(self, name: str, part: _Part) -> _Part:
        """Add a part; returns it.

        Raises:
            UserError: another part has the name. The same one may come again, as when a module is imported anew.
        """
        if name in self._parts and _origin(self._parts[name]) != _origin(part):
            raise UserError(f"{self.kind} {name!r}: there is one of this name already; choose another name")
        self._parts[name] = part
        return part

    def add_family(self, prefix: str, make: Callable[[str], _Part]) -> None:
        """Give a part for every name "prefix:anything": what `make` makes of the whole name."""
        self._families[prefix] = make

    def __getitem__(self, name):
        """The part of this name.

        Raises:
            UserError: there is none; names the nearest.
        """
        if name not in self:
            raise UserError(f"{self.key}: unknown {self.kind} {name!r}{nearest(name, self._parts)}")
        return self._parts[name] if name in self._parts else self._families[name.partition(":")[0]](name)

    def __contains__(self, name):
        if not isinstance(name, str):
            return False
        prefix, colon, rest = name.partition(":")
        if colon and rest and prefix in self._families:
            return True
        if name not in self._parts:
            extensions.load_installed()
        return name in self._parts

    def __iter__(self):
        return iter(self._parts.values())

    def names(self) -> list[str]:
        """The names, in the order in which they were added."""
        return list(self._parts)


def _origin(part):
    """Where a part was written: the same place twice is the same part, made again by a second import."""
    origin = getattr(part, "origin", None) or getattr(part, "__module__", None)
    return origin, getattr(part, "__qualname__", type(part).__qualname__)
