"""Settings that can be looked at and not changed: what was built from them would not follow."""

import collections.abc
from typing import Any


def _refuse(self, *args, **kwargs):
    raise TypeError(
        "the settings of a model cannot change, its layers are made of them; model.with_settings(group={...}) gives a"
        " changed copy"
    )


class ReadOnlyDict(dict):
    """A dict that refuses to be changed."""

    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse

    def __deepcopy__(self, memo):
        return plain(self)  # a copy may be changed


class ReadOnlyList(list):
    """A list that refuses to be changed."""

    __setitem__ = __delitem__ = __iadd__ = __imul__ = append = clear = extend = insert = pop = remove = _refuse
    reverse = sort = _refuse

    def __deepcopy__(self, memo):
        return plain(self)


def read_only(value: Any) -> Any:
    """The value with every dict and list inside as one that refuses to be changed."""
    if isinstance(value, collections.abc.Mapping):
        return ReadOnlyDict({key: read_only(item) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return ReadOnlyList(map(read_only, value))
    return value


def plain(value: Any) -> Any:
    """The value with plain dicts and lists inside, that can be changed; the other way round of `read_only`."""
    if isinstance(value, collections.abc.Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
