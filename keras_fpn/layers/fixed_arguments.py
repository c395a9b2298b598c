"""Settings of a layer that can be read and not changed: a graph that was made with them would not follow."""

import collections.abc
import inspect
from typing import Any

from keras_fpn.parts.read_only import plain, read_only

_OF_KERAS = {"self", "name", "dtype", "trainable", "autocast", "activity_regularizer"}


class FixedArguments:
    """Base of a Keras layer, named before it, that keeps each argument of its constructor under the argument's name.

    Such an attribute is set once, by the constructor; lists and dicts are kept as ones that refuse to be changed. From
    them `get_config` is made, of plain lists and dicts.

    Attributes:
        settings_group: group of a model's settings that the layer is made of; None if it is called like the layer.
        setting_names: names of the arguments, those of the classes below included, without Keras' own.
    """

    settings_group: str | None = None
    setting_names: tuple[str, ...] = ()

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        own = [base for base in reversed(cls.__mro__) if issubclass(base, FixedArguments) and "__init__" in vars(base)]
        cls.setting_names = tuple(dict.fromkeys(name for base in own for name in _arguments(base)))

    def __setattr__(self, name, value):
        if name not in self.setting_names:
            super().__setattr__(name, value)
        elif name in vars(self):
            group = self.settings_group or self.name
            raise AttributeError(
                f"{group}.{name}: what a layer is made of is read when its graph is made and cannot change; where it is"
                f" a setting of the model, model.with_settings({group}={{{name!r}: ...}}) gives a changed copy"
            )
        elif isinstance(value, collections.abc.Mapping | list | tuple):
            # Past Keras' tracking, which would put lists and dicts of its own in the place of these.
            object.__setattr__(self, name, read_only(value))
        else:
            super().__setattr__(name, value)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()  # type: ignore[misc]  # Keras' class comes after this one
        return config | {name: plain(getattr(self, name)) for name in self.setting_names}


def _arguments(cls):
    parameters = inspect.signature(cls.__init__).parameters.values()
    return [p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and p.name not in _OF_KERAS]
